"""Flags become a detector: it learns what was planted, judged on people it did not see, and its scores are a column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import headroom
from flows.detector import run_detector
from flows.evaluation import run_evaluate
from infra.clip_features import Linear
from modeling.detector import auc
from store import registry
from store.record import Batch, table_of
from store.schema import CLIPS, IDENTITIES, LABELS, SIGNALS_BASE, VIDEOS, embedding_schema, signal_fields
from store.workspace import Workspace, open_workspace
from tasks import tier as tiers
from tasks.trace import trace

LAST = f"c{60:015d}"
KNOWN = 60
"""Clips that were looked at, three of each of 20 people; a last one was not."""


def fill(place: Workspace, told: float, flagged: Callable[[int], bool] = lambda i: i % 2 == 0) -> None:
    """Sixty-one clips: every second one has a bad case, which a column and a direction of the vector tell by `told`."""
    from tasks.signals import discover

    rng = np.random.default_rng(0)
    column = next(c for c in discover()["visual_quality"].spec.columns if c.name == "noise")
    batch, clips, wide, vectors, labels, who = Batch(), [], [], [], [], []
    way = rng.normal(size=1280)
    for i in range(KNOWN + 1):
        bad = i % 2 == 0
        at = {"clip_id": f"c{i:015d}", "video_id": f"a{i:015d}"}
        clips.append({**at, "start_frame": 0, "end_frame": 100, "duration_s": 4.0, "active": True})
        who.append({**at, "identity": f"b{i // 3:015d}"})
        value = float(np.clip(10 + told * bad + rng.normal(), 0, 200))
        stamp = {"status": "ok", "fingerprint": discover()["visual_quality"].fingerprint, "attempts": 1}
        wide.append({**at, "active": True, **{f"visual_quality_{k}": v for k, v in {"noise": value, **stamp}.items()}})
        vector = rng.normal(size=1280) + told * bad * way / 6
        vectors.append({**at, "vector": vector.astype(np.float32), "fingerprint": "f"})
        if i < KNOWN:
            said = {"question": "teeth", "number": float(flagged(i)), "task_type": "flags", "how": "consensus"}
            own = {"item": f"i{i}", "version": 1, "schema": "s", "schema_version": 1, "num_raters": 2, "active": True}
            labels.append({"key": f"i{i}:0:teeth", **at, "start_frame": 0, "end_frame": 100, **said, **own})
    batch.add(
        "videos",
        table_of(
            [
                {
                    "video_id": c["video_id"],
                    "state": "done",
                    "proxy_uri": "p",
                    "name": f"{c['video_id']}.mp4",
                    "uri": f"file:///x/{c['video_id']}.mp4",
                }
                for c in clips
            ],
            VIDEOS,
        ),
    )
    batch.add("clips", table_of(clips, CLIPS))
    batch.add("identities", table_of(who, IDENTITIES))
    fields = pa.schema([*SIGNALS_BASE, *signal_fields("visual_quality", [("noise", column.dtype)])])
    batch.add("signals", table_of(wide, fields))
    batch.add("embeddings_embedding_video", table_of(vectors, embedding_schema(1280)))
    batch.add("labels", table_of(labels, LABELS))
    place.commit(batch)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = open_workspace(tmp_path_factory.mktemp("detector") / "ws")
    fill(made, told=1.5)
    return made


@pytest.fixture(scope="module")
def told(place: Workspace) -> dict[str, Any]:
    return run_detector(place.settings.workspace, "teeth")


def scores(place: Workspace) -> dict[str, float]:
    with place.views() as reader:
        return dict(reader.sql("SELECT clip_id, detector_teeth_score FROM signals").iter_rows())


def test_it_finds_what_was_planted_beside_what_is_simpler(told: dict[str, Any]) -> None:
    of = told["metrics"]["held_people"]
    assert (of["num_clips"], of["num_flagged"], of["num_groups"]) == (60, 30, 20)
    ours, column, everything = (of["measures"][k] for k in ("ours", "one_column", "all_flagged"))
    assert ours["auc"]["low"] > column["auc"]["value"], "the vector adds to the column"
    assert 0.6 < column["auc"]["value"] < 0.95
    assert (everything["auc"]["value"], everything["precision"]["value"], everything["recall"]["value"]) == (
        0.5,
        0.5,
        1.0,
    )
    for measure in ours.values():
        assert measure["low"] <= measure["value"] <= measure["high"]


def test_the_checkpoint_is_published_and_traced_and_gives_the_scores_again(
    place: Workspace, told: dict[str, Any]
) -> None:
    from safetensors.numpy import load

    found = registry.load(place, "detector_teeth")
    assert found.id == told["id"]
    assert trace(place, found.id).to_dict()["recipe"] == "detector_teeth"
    model = Linear.from_arrays(load(found.weights))
    assert model.weights.shape == model.inputs.centre.shape
    with pytest.raises(ValueError, match="is a detector model, judged as it was trained"):
        run_evaluate(place.settings.workspace, found.id)
    assert told["data"]["licences"] == {"unknown, consent unknown": 60}


def test_its_scores_are_a_column_of_tiers_and_a_clip_nobody_saw_has_one(place: Workspace, told: dict[str, Any]) -> None:
    held = scores(place)
    assert told["scored"] == len(held) == 61
    assert held[LAST] > 0.5, "the last clip has the bad case and was never looked at"
    folder = place.settings.workspace / "tiers"
    (folder / "fit.sql").write_text(
        "SELECT clip_id FROM clips JOIN signals USING (clip_id) WHERE detector_teeth_score < 0.5"
    )
    assert LAST not in tiers.members(place, "fit")["clip_id"].to_list()
    again = run_detector(place.settings.workspace, "teeth")
    assert (again["id"], scores(place)) == (told["id"], held), "the same labels give the same detector"


def test_with_nothing_to_learn_it_is_told_and_scores_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = open_workspace(tmp_path / "ws")
    fill(made, told=0.0)
    with pytest.raises(SystemExit) as end:
        headroom.main(["train", "detector", "--flag", "teeth", "--workspace", str(tmp_path / "ws")])
    assert end.value.code == 0
    assert "no better than chance, so no clip is scored" in " ".join(capsys.readouterr().out.split())
    with made.views() as reader:
        assert "detector_teeth_score" not in reader.columns("signals")


@pytest.mark.parametrize(
    ("flagged", "told"),
    [
        (
            lambda i: i < 12,
            "12 clips of 4 people or videos are flagged and 48 clips of 16 people or videos are looked at",
        ),
        (lambda i: i >= 15, "45 clips of 15 people or videos are flagged and 15 clips of 5 people"),
    ],
)
def test_too_few_are_refused_with_counts(tmp_path: Path, flagged: Callable[[int], bool], told: str) -> None:
    fill(open_workspace(tmp_path / "ws"), told=1.0, flagged=flagged)
    with pytest.raises(ValueError, match=f"detector teeth: {told}.*it takes 20 clips of 5"):
        run_detector(tmp_path / "ws", "teeth")
    with pytest.raises(ValueError, match=r"nobody was asked about 'hands'; flags are teeth \(\d+ flagged\)"):
        run_detector(tmp_path / "ws", "hands")


def test_what_can_not_be_meant_is_refused(place: Workspace) -> None:
    root = place.settings.workspace
    for changed, why in (({"depth": 3}, "has no value 'depth'"), ({"l2": "much"}, "is no float"), ({"l2": 0}, "below")):
        with pytest.raises(ValueError, match=why):
            run_detector(root, "teeth", changed=changed)
    with pytest.raises(ValueError, match="one of them"):
        run_detector(root, "teeth", tier="looked_at", snapshot="x")
    for given in (["train", "detector"], ["train", "audio_to_motion", "--flag", "teeth"]):
        with pytest.raises(SystemExit) as end:
            headroom.main([*given, "--workspace", str(root)])
        assert end.value.code == 2


def test_auc_counts_ties_half() -> None:
    assert auc(np.array([1.0, 1.0, 0.0, 2.0]), np.array([True, False, False, True])) == 0.875
