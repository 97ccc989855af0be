"""A session that is drawn by a renderer: the warp, and what the network adds to the mouth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from modeling.renderer_export import OnnxRenderer, TorchRenderer, export
from serving.checkpoints import Split, checkpoint_of
from serving.engine import Chunk, Module, Session
from serving.join import held_by
from serving.refined_face import Drawing, RefinedFace, renderer_module
from serving.render import render
from serving.talking import talking
from store import registry
from store.workspace import open_workspace
from tests.unit.modeling.spoken_motion import made_clip
from tests.unit.serving.faces import SIDE, net, publish, warp
from tests.unit.serving.talker import IDLE, head, promoted, published, tiny
from tests.unit.serving.test_render import portrait


def moving(num: int = 12) -> np.ndarray:
    motion = np.zeros((num, 9), np.float32)
    motion[:, 0] = 2 + 2 * np.sin(np.arange(num) / 2)
    return motion


def test_untrained_it_draws_the_warp_and_trained_the_mouth_alone() -> None:
    plain = net(painted=0.0)
    face = RefinedFace(warp(), Drawing(plain, TorchRenderer(plain)))
    painted = net()
    other = RefinedFace(warp(), Drawing(painted, TorchRenderer(painted)))
    for row in moving():
        picture = warp().draw(row)
        assert np.array_equal(face.draw(row), picture)
        changed = np.abs(other.draw(row).astype(int) - picture).max(axis=2)
        assert changed.max() > 5
        assert changed[: SIDE // 4].max() == 0, "above the nose"
        assert changed[:, :4].max() == 0


def test_it_goes_on_for_ever_and_a_session_keeps_one_frame_of_state() -> None:
    painted = net()
    face = RefinedFace(warp(), Drawing(painted, TorchRenderer(painted)))
    still = np.zeros(9, np.float32)
    pictures = np.stack([face.draw(still) for _ in range(30)]).astype(int)
    assert np.abs(np.diff(pictures[8:], axis=0)).max() <= 1, "a mouth that is held still does not quiver"
    for row in moving(200):
        face.draw(row)
    after = [face.draw(still) for _ in range(30)][-1].astype(int)
    assert np.abs(after - pictures[-1]).max() <= 1, "however long it went on, the face has not drifted"


def test_the_graph_draws_what_torch_draws() -> None:
    painted = net()
    by_torch = RefinedFace(warp(), Drawing(painted, TorchRenderer(painted)))
    by_graph = RefinedFace(warp(), Drawing(painted, OnnxRenderer(export(painted, {}))))
    for row in moving(6):
        assert np.abs(by_torch.draw(row).astype(int) - by_graph.draw(row)).max() <= 1


def test_pairs_share_what_they_have_in_common_and_a_renderer_of_its_own_draws_whatever_is_wanted(
    tmp_path: Path,
) -> None:
    place = open_workspace(tmp_path / "ws")
    other, motion = published(place, note="another"), published(place)
    drawn, canary = publish(place, net(0)), publish(place, net(1))
    told = held_by(place)
    assert set(told.pipelines) == {motion}
    told.follow(Split(f"{motion}+{drawn}", f"{other}+{drawn}", 0.5, 1))
    told.follow(Split(f"{motion}+{drawn}", f"{motion}+{canary}", 0.5, 2))
    held = {name: pipeline.modules for name, pipeline in told.pipelines.items()}
    assert held[motion][0] is held[f"{motion}+{drawn}"][0] is held[f"{motion}+{canary}"][0]
    assert held[f"{motion}+{drawn}"][1] is held[f"{other}+{drawn}"][1]
    assert held[f"{motion}+{canary}"][1].checkpoint == canary
    promoted(place, drawn, "renderer")
    for pinned, pair in ((canary[:6], f"{motion}+{canary}"), ("none", motion)):
        own = held_by(place, renderer=pinned)
        assert set(own.pipelines) == {pair}
        assert own.own(Split(f"{motion}+{drawn}", f"{motion}+{canary}", 0.5, 2)) == Split(pair, "", 0.0, 2)
        assert own.own(Split(motion, other, 0.5, 3)).canary == pair.replace(motion, other)
    assert set(held_by(place, other).pipelines) == {f"{other}+{drawn}"}


def test_a_pipeline_is_known_by_its_motion_and_draws_by_its_renderer() -> None:
    painted = net()
    drawing = Module("renderer", "r0", Drawing(painted, TorchRenderer(painted)))
    motion = Module("audio_to_motion", "c0", (tiny(), IDLE))
    sound = (20_000 * made_clip("c", "p", 0.4).sound).astype(np.int16)

    def frames(*more: Module[Drawing]) -> list[np.ndarray]:
        made = talking(motion, *more)
        assert checkpoint_of(made) == ("c0+r0" if more else "c0")
        running = made.open(Session(head(), 0))
        chunks = [*running.step(Chunk(0, sound)), *running.end()]
        return [f for c in chunks for f in c.frames]

    plain, drawn = frames(), frames(drawing)
    assert len(plain) == len(drawn) == 10
    assert not np.array_equal(plain[5], drawn[5])


def test_what_is_given_draws_else_what_is_deployed_else_the_warp(tmp_path: Path) -> None:
    place = open_workspace(tmp_path / "ws")
    published(place)
    soundfile.write(tmp_path / "said.wav", made_clip("c", "p", 0.2).sound, 16_000)
    person = str(portrait(tmp_path))

    def said(name: str | None = None) -> str:
        told = render(place, tmp_path / "said.wav", person, tmp_path / "out.mp4", side_px=96, renderer=name)
        return str(told["renderer"])

    assert said() == ""
    first, second = publish(place, net(0)), publish(place, net(1))
    assert said() == "", "it is published, not deployed"
    assert said(first) == first
    promoted(place, second, "renderer")
    assert said() == second
    assert said("none") == ""
    held = held_by(place)
    assert [m.checkpoint for m in next(iter(held.pipelines.values())).modules][1:] == [second]
    assert len(next(iter(held_by(place, renderer="none").pipelines.values())).modules) == 1


def test_a_renderer_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    place = open_workspace(tmp_path / "ws")
    with pytest.raises(ValueError, match="no checkpoint"):
        renderer_module(place, "abcdef")
    with pytest.raises(ValueError, match="is of kind 'audio_to_motion', not renderer"):
        renderer_module(place, published(place))
    name = publish(place, net(0))
    place.objects.put_bytes(export(net(1), {}), registry.exported_key(name))
    with pytest.raises(ValueError, match="its graph is of other weights"):
        renderer_module(place, name)
    place.objects.put_bytes(b"rubbish", registry.exported_key(name))
    with pytest.raises(ValueError, match=f"checkpoint {name}: its graph can't be read"):
        renderer_module(place, name)
