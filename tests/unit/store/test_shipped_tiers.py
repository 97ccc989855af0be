"""The shipped tiers: they parse, build on each other, name their sources, and read columns that signals declare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from store import label_views, tier_sql
from store.guard import in_process
from store.tier_sql import Tier, parse_tier
from tasks.signals import discover
from tests.unit.store.conftest import connect

FOLDER = Path(tier_sql.__file__).parent / "tiers"
TEXTS = {f.stem: f.read_text() for f in FOLDER.glob("*.sql")}
CLIP_SIGNALS = {n: s.spec for n, s in discover().items() if s.spec.grain == "clip"}


def tier(name: str) -> Tier:
    return parse_tier(name, TEXTS[name], TEXTS, CLIP_SIGNALS)


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_every_clause_names_its_source(name: str) -> None:
    assert [c.text for c in tier(name).clauses if len(c.source) < 5] == []


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_every_column_is_declared_by_its_signal(name: str) -> None:
    declared = {f"{s}_{c.name}" for s, spec in CLIP_SIGNALS.items() for c in spec.columns}
    declared |= {f"{s}_{c}" for s in CLIP_SIGNALS for c in ("status", "reason")}
    read = {c.removeprefix("signals.") for c in tier(name).columns if c.startswith("signals.")}
    assert sorted(read - declared) == []


GOOD: dict[str, Any] = {
    "face_track_face_ratio": 1.0, "face_track_main_face_height_px": 400.0, "face_track_mouth_visible_ratio": 1.0,
    "face_track_num_faces_mean": 1.0, "face_track_coverage": 1.0, "motion_static_ratio": 0.0,
    "motion_camera_speed": 0.0, "speech_speech_ratio": 0.9, "speech_num_words": 20, "speech_quality_ovrl_mos": 4.0,
    "lip_sync_confidence": 1.0, "lip_sync_offset_ms": 0.0, "visual_quality_quality": 5.0,
    "visual_quality_quality_min": 5.0, "overlay_text_text_ratio": 0.0, "overlay_text_over_face_ratio": 0.0,
}  # fmt: skip


@pytest.mark.parametrize("metal", ["bronze", "silver", "gold"])
def test_a_bad_case_that_people_saw_keeps_a_clip_out_of_audio_to_video(metal: str) -> None:
    ids = ["flagged", "clean", "rated", "unseen"]
    tables = {
        "clips": [{"clip_id": c, "video_id": "v", "duration_s": 10.0} for c in ids],
        "signals": [{"clip_id": c, **GOOD} for c in ids],
        "videos": [{"video_id": "v", "state": "done"}],
        "labels": [{"clip_id": c, "flags": f} for c, f in zip(ids, ("teeth", "", None), strict=False)],
    }
    connection = connect({name: pa.Table.from_pylist(rows) for name, rows in tables.items()})
    found = in_process(connection)(tier(f"a2v_{metal}").inlined)
    assert sorted(found["clip_id"].to_pylist()) == ["clean", "rated", "unseen"]


def test_no_signal_declares_a_column_that_labels_have() -> None:
    declared = {f"{s}_{c.name}" for s, spec in CLIP_SIGNALS.items() for c in spec.columns}
    assert declared & label_views.COLUMNS == set()


def test_gold_builds_on_silver_and_silver_on_bronze() -> None:
    bronze, silver, gold = (tier(f"a2v_{metal}") for metal in ("bronze", "silver", "gold"))
    assert (silver.includes, gold.includes) == (("a2v_bronze",), ("a2v_bronze", "a2v_silver"))
    assert gold.clauses[: len(silver.clauses)] == silver.clauses
    assert silver.clauses[: len(bronze.clauses)] == bronze.clauses
    assert {c.reads for c in gold.clauses} == {"own"}


def members(name: str, **tables: list[dict[str, Any]]) -> list[str]:
    """Clips of a tier: the ids that `clips` gives, fit for every tier but for what is said otherwise."""
    told = {
        "signals": [{"clip_id": c["clip_id"], **GOOD, **c.get("signals", {})} for c in tables["clips"]],
        "videos": [{"video_id": v, "state": "done"} for v in {c["video_id"] for c in tables["clips"]}],
        "labels": [{"clip_id": "nobody", "flags": ""}],
        "duplicates": [{"clip_id": c["clip_id"], "kept": c.get("kept", True)} for c in tables["clips"]],
        "identities": [{"clip_id": c["clip_id"], "identity": c["who"]} for c in tables["clips"] if "who" in c]
        or [{"clip_id": "nobody", "identity": "nobody"}],
        "pairs": tables.get("pairs", [{"clip_a": "nobody", "clip_b": "nobody either"}]),
        "clips": [{"duration_s": 10.0, **{k: c[k] for k in ("clip_id", "video_id")}} for c in tables["clips"]],
    }
    for row, clip in zip(told["clips"], tables["clips"], strict=True):
        row["duration_s"] = clip.get("duration_s", 10.0)
    connection = connect({name: pa.Table.from_pylist(rows) for name, rows in told.items()})
    return sorted(in_process(connection)(tier(name).inlined)["clip_id"].to_pylist())


def test_a_clip_is_of_identity_pairs_only_with_one_that_is_too() -> None:
    clips = [{"clip_id": c, "video_id": f"v{c}"} for c in "abde"]
    bad = [{"clip_id": "c", "video_id": "vc", "kept": False}]
    pairs = [{"clip_a": a, "clip_b": b} for a, b in ("ab", "cd")]
    assert members("identity_pairs", clips=[*clips, *bad], pairs=pairs) == ["a", "b"], "d has only a copy beside it"


def test_nobody_and_no_recording_has_more_than_its_share_of_the_balanced_tier() -> None:
    star = [
        {
            "clip_id": f"s{i:03}",
            "video_id": f"v{i // 4}",
            "who": "star",
            "signals": {"visual_quality_quality": 2 + i / 100},
        }
        for i in range(190)
    ]
    long = [
        {"clip_id": f"l{i:02}", "video_id": "long", "signals": {"visual_quality_quality": 5 - i / 10}}
        for i in range(12)
    ]
    kept = members("pretrain_balanced", clips=[*star, *long])
    assert [c for c in kept if c[0] == "s"] == [f"s{i:03}" for i in range(5, 190)], "the best 185"
    assert [c for c in kept if c[0] == "l"] == [f"l{i:02}" for i in range(8)]


def test_people_compare_clips_that_are_short_and_no_copies() -> None:
    clips: list[dict[str, Any]] = [
        {"clip_id": "short", "video_id": "v"},
        {"clip_id": "long", "video_id": "v", "duration_s": 12.04},
        {"clip_id": "copy", "video_id": "v", "kept": False},
        {"clip_id": "off", "video_id": "v", "signals": {"lip_sync_offset_ms": 300.0}},
    ]
    assert members("preference_pool", clips=clips) == ["short"]
