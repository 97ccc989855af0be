"""Held-out clips drawn by the engine itself, beside their source: what is there to be seen, what is told of it, and of whom."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from dashboards import motion_trained
from flows import drawn as steps
from flows.evaluation import baselines_of, parts_of, run_evaluate
from flows.motion_data import read
from modeling.made_motion import network
from modeling.side_by_side import LABEL_PX
from modeling.true_faces import later, stranger
from serving.avatar import of_clip
from store import drawn, registry
from store.frozen import frozen
from store.workspace import Workspace, open_workspace
from tasks import freeze
from tasks.trace import trace
from tests.unit.flows import test_renderer, test_train
from tests.unit.flows.talking_corpus import fill_talking
from tests.unit.flows.talking_pictures import SIDE


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("drawn")
    made = open_workspace(folder / "ws")
    fill_talking(made, folder)
    return made


@pytest.fixture(scope="module")
def snapshot(place: Workspace) -> str:
    return str(freeze.build(place, "spoken")["snapshot"])


@pytest.fixture(scope="module")
def motion(place: Workspace, snapshot: str) -> str:
    return str(test_train.whole_way(place, snapshot)[0]["id"])


@pytest.fixture(scope="module")
def painter(place: Workspace, snapshot: str) -> str:
    return str(test_renderer.whole_way(place, snapshot)[0]["id"])


@pytest.fixture(scope="module")
def whole(place: Workspace, motion: str, painter: str) -> dict[str, Any]:
    """From sound to picture: the motion's checkpoint, drawn by the renderer's."""
    return run_evaluate(place.settings.workspace, motion, videos=2, renderer=painter)


def test_the_whole_chain_is_measured_beside_the_warp_and_the_loudness(
    place: Workspace,
    motion: str,
    painter: str,
    whole: dict[str, Any],
    snapshot: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = whole["drawn"]
    assert (told["motion"], told["renderer"]) == (motion, painter)
    measures = told["held_people"]["measures"]
    assert {"ours", "warp", "copy", "rms_to_mouth", "true"} <= set(measures)
    assert set(told["held_people"]["ahead"]) == {"warp", "copy", "rms_to_mouth"}
    for measure in ("landmark_error", "psnr", "mouth_psnr", "ssim", "mouth_flicker", "identity", "silence_quiver"):
        assert measures["ours"][measure]["n"] == 1
        assert np.isfinite(measures["ours"][measure]["value"])
    assert 0 < measures["ours"]["landmark_error"]["value"] < 0.3
    assert registry.evaluation(place, motion, snapshot) == whole
    motion_trained.evaluated(whole)
    out = capsys.readouterr().out
    assert "landmark_e" in out
    assert "silence" in out


def test_a_video_shows_source_baselines_and_ours_with_the_sound(place: Workspace, whole: dict[str, Any]) -> None:
    for uri in whole["drawn"]["videos"]:
        with av.open(str(place.objects.local(uri))) as film:
            assert (film.streams.video[0].width, film.streams.video[0].height) == (4 * SIDE, SIDE + LABEL_PX)
            assert len(film.streams.audio) == 1
            pictures = [f.to_ndarray(format="rgb24") for f in film.decode(video=0)]
    assert len(pictures) == 75, "what comes after the frames that the person is known by"
    columns = [pictures[10][LABEL_PX:, at * SIDE : (at + 1) * SIDE].astype(int) for at in range(4)]
    assert np.abs(columns[0] - columns[3]).mean() > 1
    assert np.abs(columns[2] - columns[3]).mean() > 0.01, "the renderer paints over the warp"
    assert place.objects.local(whole["drawn"]["sheet"]).read_bytes()[:2] == b"\xff\xd8"


def test_it_is_traced_from_the_clip_and_from_the_checkpoint(
    place: Workspace, motion: str, whole: dict[str, Any]
) -> None:
    [clip] = {c["clip_id"] for of in drawn.drawn_by(place, motion) for c in of["clips"]}
    assert clip in trace(place, motion).to_dict()["drew"]
    node = trace(place, clip).to_dict()
    below = [c for child in node["children"] for c in child.get("children", [])]
    seen = [c for c in below if c["kind"] == "drawn"]
    assert [c["checkpoint"] for c in seen] == [motion]


def test_a_renderer_alone_draws_the_true_mesh_and_tells_the_store_of_each_clip(place: Workspace, painter: str) -> None:
    told = run_evaluate(place.settings.workspace, painter, videos=2)
    of = told["drawn"]["held_people"]
    assert told["drawn"]["motion"] == ""
    assert "rms_to_mouth" not in of["measures"]
    assert of["measures"]["warp"]["landmark_error"]["value"] < of["measures"]["copy"]["landmark_error"]["value"]
    assert "silence_open" not in of["measures"]["ours"], "nothing was drawn beyond the clip"
    with av.open(str(place.objects.local(told["drawn"]["videos"][0]))) as film:
        assert film.streams.video[0].width == 3 * SIDE
    with place.views() as reader:
        query = f"SELECT clip_id, {told['signal']}_checkpoint c, {told['signal']}_avatar_mouth_psnr p FROM signals"
        rows = {r["clip_id"]: r for r in reader.sql(query).iter_rows(named=True) if r["c"]}
    assert {r["c"] for r in rows.values()} == {painter}
    mean = told["held_people"]["plates"]["avatar"]["measures"]["ours"]["mouth_psnr"]["value"]
    assert np.mean([r["p"] for r in rows.values()]) == pytest.approx(mean, abs=1e-3)


def test_nobody_whom_the_renderer_learnt_from_is_drawn_by_it(
    place: Workspace, snapshot: str, motion: str, painter: str
) -> None:
    found, drawing = registry.load(place, motion), registry.load(place, painter)
    held = frozen(place, snapshot)
    data = read(place, held)
    parts = parts_of(found, data, held, network(found).recipe)
    assert [of.clip.who for of in steps._chosen(data, parts, 9, drawing)[0]] == [c.who for c in parts.held_people]
    strangers = [c.who for c in parts.held_people]
    card = json.loads(json.dumps(drawing.told["data"]))
    card["people"]["train"] = strangers
    judged, left_out = steps._chosen(data, parts, 9, replace(drawing, told={**drawing.told, "data": card}))
    assert judged == []
    assert set(left_out.values()) == {f"renderer {painter} learnt from it"}


def test_what_is_judged_was_not_shown(place: Workspace, snapshot: str) -> None:
    data = read(place, frozen(place, snapshot))
    clip = data.clips[0]
    made = stranger(clip)
    assert made is not None
    assert made.plate == (clip.first_frame, made.clip.first_frame)
    assert stranger(clip.cut(0, 30)) is None, "too short"
    end = later(clip, clip.cut(70, 100))
    assert end is not None
    assert (end.plate, len(end.clip), end.held_out) == ((0, 70), 30, "time")


def test_the_persons_picture_is_of_the_frames_that_may_be_shown(place: Workspace, snapshot: str) -> None:
    clip = read(place, frozen(place, snapshot)).clips[0].clip_id
    shut, wide = (of_clip(place, clip, within=(at, at + 1)).plate for at in (0, 4))
    gap = [p.points[14, 1] - p.points[13, 1] for p in (shut, wide)]
    assert gap[1] > gap[0] + 4
    assert np.array_equal(of_clip(place, clip, within=(0, 4)).plate.picture, shut.picture), (
        "the one with the lips closed"
    )
    with pytest.raises(ValueError, match="no mesh is stored"):
        of_clip(place, clip, within=(500, 510))


def test_what_can_not_be_drawn_says_why(place: Workspace, motion: str, painter: str) -> None:
    root = place.settings.workspace
    with pytest.raises(ValueError, match=f"--renderer draws for motion, checkpoint {painter} is a renderer"):
        run_evaluate(root, painter, renderer="none")
    with pytest.raises(ValueError, match="is of kind|kind"):
        run_evaluate(root, motion, videos=1, renderer=motion)
    found = registry.load(place, motion)
    held = frozen(place, str(found.told["snapshot"]["id"]))
    data = read(place, held)
    parts = parts_of(found, data, held, network(found).recipe)
    broken = replace(found, id="0" * 16)
    with pytest.raises(ValueError, match="nothing could be drawn: .*no checkpoint"):
        steps.draw_motion(place, broken, held, data, parts, baselines_of(found), 1, "none")
    assert not list(Path(root / "scratch").glob("drawn-*")), "nothing is left of it"
