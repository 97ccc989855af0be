"""The renderer's training elsewhere: spread over two processes, in bfloat16, compiled; it learns the same and goes on anywhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from modeling.ranks import CPU, Machine
from modeling.recipes.renderer import VARIANTS, renderer
from modeling.renderer import RendererNet, Unrolled
from modeling.renderer_training import Batches, Weights, losses_of, network_in, train, train_on
from modeling.training import Progress
from tests.unit.modeling.drawn_lips import face_clip
from tests.unit.modeling.test_ranks import values

TINY = replace(VARIANTS["renderer_tiny"], num_steps=8)
PERSONAL = replace(TINY, name="renderer_personal", learning_rate=5e-4)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def begun() -> Weights:
    """Weights of a renderer that changes what it sees, for one person's own to go on from."""
    torch.manual_seed(3)
    net = RendererNet(TINY)
    torch.nn.init.normal_(net.leave.weight, std=0.2)
    return net.state_dict()


@pytest.mark.slow
def test_two_processes_train_what_one_does_and_are_cut_off_and_go_on(tmp_path: Path) -> None:
    """One person's own, which has all that another training has, and weights to begin with."""
    recipe, start, clips = PERSONAL, begun(), [face_clip()]
    alone = train(recipe, clips, tmp_path / "alone", start=start)

    def cut(done: Progress) -> None:
        if done.step == 6:  # saved at 4; the others go on meanwhile, and are ended
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_on(Machine("cpu", 2), recipe, clips, tmp_path / "two", cut, start)
    state = torch.load(tmp_path / "two" / "state.pt", weights_only=True)
    then: list[Progress] = []
    two = train_on(Machine("cpu", 2), recipe, clips, tmp_path / "two", then.append, start)
    assert [d.step for d in then] == list(range(state["step"] + 1, 9))
    by_step: dict[int, list[object]] = {}
    for line in (tmp_path / "two" / "losses.jsonl").read_text().splitlines():
        by_step.setdefault(json.loads(line)["step"], []).append(line)
    assert all(row == rows[0] for rows in by_step.values() for row in rows), "what was done again came out the same"
    np.testing.assert_allclose(values(tmp_path / "two"), values(tmp_path / "alone"), rtol=2e-4, atol=1e-6)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value, rtol=1e-3, atol=2e-4, msg=name)
    # A run of two goes on as one, and its moments are whole.
    state = torch.load(tmp_path / "two" / "state.pt", weights_only=True)
    weights = list(RendererNet(recipe).parameters())
    assert all(state["optimiser"]["state"][i]["exp_avg"].shape == w.shape for i, w in enumerate(weights))


def test_ranks_take_their_rows_of_the_same_batch() -> None:
    recipe, clips = replace(TINY, batch_size=4), [face_clip(), face_clip("c1", "p1", seed=1)]
    whole = Batches(recipe, clips)(5)
    parts = [Batches(recipe, clips, rank, 2)(5) for rank in range(2)]
    for all_rows, even, odd in zip(whole, *parts, strict=True):
        assert torch.equal(all_rows[0::2], even)
        assert torch.equal(all_rows[1::2], odd)


def test_what_can_not_be_shared_or_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batch_size 2 can't be shared by 3 processes"):
        train_on(Machine("cpu", 3), TINY, [face_clip()], tmp_path)
    with pytest.raises(ValueError, match="no clip has 2 frames in a row"):
        train_on(Machine("cpu", 2), TINY, [], tmp_path)
    with pytest.raises(ValueError, match="precision 'int8' is none of float32, bfloat16"):
        renderer(precision="int8")
    with pytest.raises(ValueError, match="compile 'x' is none of nothing, inductor, aot_eager"):
        renderer(compile="x")
    assert network_in(tmp_path) is None
    train(replace(TINY, num_steps=1), [face_clip()], tmp_path)
    with pytest.raises(ValueError, match="another recipe or other clips"):
        train_on(Machine("cpu", 2), TINY, [face_clip()], tmp_path)


def test_in_bfloat16_it_learns_nearly_the_same_and_keeps_float32(tmp_path: Path) -> None:
    exact = train(TINY, [face_clip()], tmp_path / "float32")
    train(replace(TINY, precision="bfloat16"), [face_clip()], tmp_path / "bfloat16")
    near, true = values(tmp_path / "bfloat16"), values(tmp_path / "float32")
    assert not np.array_equal(near, true)
    np.testing.assert_allclose(near[:, 1], true[:, 1], rtol=0.03)
    state = torch.load(tmp_path / "bfloat16" / "state.pt", weights_only=True)
    assert {v.dtype for v in state["net"].values()} == {torch.float32}
    assert {v.dtype for v in exact.state_dict().values()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_compiled_it_learns_the_same(tmp_path: Path) -> None:
    from torch._dynamo.utils import counters

    recipe = replace(TINY, num_steps=3)
    counters.clear()
    plain = train(recipe, [face_clip()], tmp_path / "plain")
    assert not counters["stats"]
    compiled = train(replace(recipe, compile="aot_eager"), [face_clip()], tmp_path / "compiled")
    # The blocks of 48, 24 and 12 px, and those of a person's picture, which has no gradient before them.
    assert 3 <= counters["stats"]["unique_graphs"] <= 4, "blocks of one size share their graph"
    np.testing.assert_allclose(values(tmp_path / "compiled"), values(tmp_path / "plain"), rtol=1e-4, atol=1e-6)
    assert compiled.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_it_learns_the_same(tmp_path: Path) -> None:
    train(TINY, [face_clip()], tmp_path / "cpu")
    train_on(Machine("cuda"), TINY, [face_clip()], tmp_path / "cuda")
    np.testing.assert_allclose(values(tmp_path / "cuda"), values(tmp_path / "cpu"), rtol=2e-3, atol=1e-5)


def test_the_loss_of_a_batch_is_the_mean_over_its_ranks() -> None:
    """What two processes would reduce, done here by hand: the ranks' weights differ, and so must their shares."""
    net, clips = RendererNet(TINY), [face_clip(), replace(face_clip("c1", "p1", seed=1), face=face_clip().face * 0)]
    net.load_state_dict(begun())
    unrolled, sums = Unrolled(net), list[torch.Tensor]()

    class Half:
        device, rank, world_size = CPU, 0, 2

        @staticmethod
        def mean(mine: torch.Tensor) -> torch.Tensor:
            sums.append(mine)
            return torch.stack(sums[:2]).mean(dim=0)

    recipe = replace(TINY, seed=2)
    given, reference, true, weight = Batches(recipe, clips)(0)
    whole = losses_of(recipe, unrolled(given, reference), true, weight)
    halves = [(given[i::2], reference[i::2], true[i::2], weight[i::2]) for i in range(2)]
    assert not torch.allclose(halves[0][3].sum(), halves[1][3].sum())
    told = [
        losses_of(recipe, unrolled(g, r), t, w, Half())  # type: ignore[arg-type]
        for _ in range(2)  # the first time both tell their sums
        for g, r, t, w in halves
    ][2:]
    for name, value in whole.items():
        torch.testing.assert_close((told[0][name] + told[1][name]) / 2, value, rtol=1e-4, atol=1e-6)
