"""The simulated workforce and the load, small: the desk keeps the careful, finds the others, and gives nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import annotation_crowd
from benchmarks.annotation import simulated, tables
from benchmarks.annotation_crowd import KINDS, Kind, World
from benchmarks.annotation_load import Load, measure
from tasks.annotation import answers, calibration, desk

SMALL = {"num_people": 8, "num_days": 1, "answers_per_day": 16, "num_gold": 12, "num_training": 1, "num_exam": 4}


def test_the_loop_keeps_the_careful_and_finds_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "GOLD_RATIO", 0.7)
    monkeypatch.setattr(calibration, "MIN_CHECKS", 3)
    slackens = (Kind("slackens", 0.0, 0.95), 0.1)
    monkeypatch.setattr(
        annotation_crowd, "KINDS", {**{k: KINDS[k] for k in ("careful", "spammer")}, "slackens": slackens}
    )
    # One type alone: with few people on each nobody would meet another.
    on, off = (
        simulated(World(**SMALL, works=("likert",), loop=loop, wrong_gold_share=0.0), tmp_path)
        for loop in (True, False)
    )
    by_kind = {c.kind: c for c in on.crowds}
    assert by_kind["careful"].stages == {"qualified": 6}
    assert (by_kind["spammer"].num_labels, by_kind["spammer"].stages) == (0, {"banned": 1})
    assert by_kind["slackens"].num_pauses >= 1, "good in the exam, and found by the hidden gold"
    assert by_kind["careful"].likeness > 0.9
    assert all(c.euro > 0 for c in on.crowds), "who passes no exam is paid for the time"
    assert {c.kind: c.num_labels > 0 for c in off.crowds} == {"careful": True, "slackens": True, "spammer": True}
    (with_loop,), (without) = on.types, off.types[0]
    assert with_loop.likeness > without.likeness
    assert with_loop.agreement > without.agreement
    assert on.hidden_gold > 0
    assert (off.hidden_gold, on.right_gold_retired) == (0, 0)
    assert f"| likert | without | {without.num_labels:,} |" in tables(on, off)


@pytest.mark.parametrize("task_type", answers.TASK_TYPES)
def test_everybody_gives_answers_that_the_schema_allows(task_type: str) -> None:
    media = [{"clip_id": "c"}]
    body = answers.DEFAULTS[task_type]
    for kind, _ in KINDS.values():
        member = annotation_crowd.Member(1, kind, task_type)
        held = {"task_type": task_type, "media": media, "swapped": False, "purpose": "label"}
        answers.checked(task_type, body, annotation_crowd.answer(member, held), 4.0)
    careful = annotation_crowd.Member(1, annotation_crowd.Kind("faultless", 1.0, 1.0), task_type)
    value = annotation_crowd.answer(careful, held)
    assert annotation_crowd.likeness(task_type, "c", value) == 1.0


def test_the_web_app_under_a_small_load(tmp_path: Path) -> None:
    found = measure(Load(num_people=4, seconds=1.0, think_s=0.05, num_items=50), tmp_path)
    assert (found.double_assignments, found.overfilled_items, found.lost_answers, dict(found.errors)) == (0, 0, 0, {})
    assert min(len(found.claims_s), len(found.submits_s)) >= 4
    assert "errors: none" in found.told()
