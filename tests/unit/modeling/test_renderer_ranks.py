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
@pytest.mark.parametrize("personal", [False, True], ids=["renderer", "renderer_personal"])
def test_two_processes_train_what_one_does_and_are_cut_off_and_go_on(personal: bool, tmp_path: Path) -> None:
    recipe, start = (PERSONAL, begun()) if personal else (TINY, None)
    clips = [face_clip()] if personal else [face_clip(f"c{i}", f"p{i}", seed=i) for i in range(2)]
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
