"""A training that hears by HuBERT: a tiny checkpoint with random weights, the whole way and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flows import train as steps
from flows.evaluation import run_evaluate
from flows.export import run_export
from flows.hearing import ears_of
from modeling.audio_to_motion import MotionNet
from modeling.recipes.audio_to_motion import VARIANTS, recipe
from modeling.training import Batches, predict, train
from serving.talking import motion_module
from store.workspace import Workspace, open_workspace
from tasks import freeze
from tests.unit.modeling.spoken_corpus import fill_spoken
from tests.unit.modeling.spoken_motion import made_clips

tiny_checkpoints = pytest.importorskip("tests.tiny_checkpoints", reason="hub backends need pip install -e '.[hub]'")
TINY = "audio_to_motion_tiny"


@pytest.fixture(scope="module")
def ears(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tiny_checkpoints.hubert(tmp_path_factory.mktemp("ears") / "hubert"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = open_workspace(tmp_path_factory.mktemp("heard") / "ws")
    fill_spoken(made)
    return made


def test_it_is_trained_judged_and_drawn_but_not_served(place: Workspace, ears: Path) -> None:
    made = recipe(TINY, hearing="hubert", hubert=str(ears), num_features=16, num_steps=4)
    work = steps.prepare(place, made, str(freeze.build(place, "spoken")["snapshot"]))
    assert {c.heard.shape[1] for c in work.stages[0].clips if c.heard is not None} == {16}
    net = steps.train(work, lambda done: None)
    told = steps.publish(place, work, net, *steps.evaluate(work, net))
    assert (told["hearing"]["model"], told["hearing"]["licence"]) == ("hubert", "Apache-2.0")
    assert told["hearing"]["revision"].startswith("folder-")
    anew = run_evaluate(place.settings.workspace, told["id"])
    assert anew["held_people"] == told["metrics"]["held_people"]
    shown = steps.motion_of_clip(place, "ca", told["id"])
    assert list(shown.curves) == ["stored", f"checkpoint {told['id'][:8]}", "rms to mouth"]
    for refuses in (lambda: motion_module(place, told["id"]), lambda: run_export(place.settings.workspace, told["id"])):
        with pytest.raises(ValueError, match="hears by HuBERT, 2 s ahead, so no live session can use it"):
            refuses()
    other = {**told["hearing"], "revision": "folder-0"}
    with pytest.raises(ValueError, match="it learnt from revision folder-0 in float32, here is folder-"):
        ears_of(made, other)


def test_what_is_wrong_with_the_ears_is_told(ears: Path) -> None:
    made = recipe(TINY, hearing="hubert", hubert=str(ears), num_features=768)
    with pytest.raises(ValueError, match="num_features is 768, .* gives 16; --set num_features=16"):
        ears_of(made)
    with pytest.raises(ValueError, match="is not in .*run hf download no/where"):
        ears_of(replace(made, hubert="no/where"))
    with pytest.raises(ValueError, match="hearing 'ears' is none of log_mel, hubert"):
        recipe(TINY, hearing="ears")
    assert ears_of(recipe(TINY)) is None


def test_features_are_what_it_learns_from_and_silence_is_that_of_a_room(tmp_path: Path) -> None:
    """Features that tell the mouth's opening outright: a network that hears them learns it; sound plays no part."""
    made = replace(
        VARIANTS[TINY], hearing="hubert", num_features=3, num_steps=150, batch_size=8, silence_share=0.5, dropout=0.0
    )
    quiet = np.full((40, 3), -1.0, np.float32)
    clips = [replace(c, sound=c.sound * 0, heard=np.repeat(c.motion.values[:, :1], 3, axis=1)) for c in made_clips(4)]
    heard, _, weight, silent = Batches(made, clips, quiet=quiet)(0)
    assert silent.any()
    assert (heard[silent > 0] == -1).all()
    assert not weight[silent > 0].any()
    from modeling.training import Stage, train_stages

    net = train_stages([Stage(made, clips, quiet)], tmp_path / "learnt")
    net.hear = lambda sound: clips[0].heard  # type: ignore[assignment,return-value]
    opening = predict(net, clips[0].sound)[:, 0]
    assert np.corrcoef(opening, clips[0].motion.values[:, 0])[0, 1] > 0.9
    assert isinstance(net, MotionNet)
    other = [replace(c, heard=None if c.heard is None else c.heard + 1) for c in clips]
    with pytest.raises(ValueError, match="another recipe or other clips"):
        train(made, other, tmp_path / "learnt")
