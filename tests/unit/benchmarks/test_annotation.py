"""The simulated workforce and the load, small: the desk keeps the careful, finds the others, and gives nothing twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks import annotation_crowd, annotation_load
from benchmarks.annotation import Type, simulated, tables
from benchmarks.annotation_crowd import BENCHMARK, KINDS, Kind, World
from benchmarks.annotation_load import Load, Measured, Run, measure
from store.annotation_database import Database
from tasks.annotation import answers, calibration, desk
from tests.annotators import Crew, clips, rated

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


def test_who_clicks_through_is_banned_within_days_and_the_careful_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the calibration that is shipped, 20 and 40 items: three exams are failed in the minutes of three days."""
    kinds = {k: KINDS[k] for k in ("careful", "spammer", "left-clicker")}
    monkeypatch.setattr(annotation_crowd, "KINDS", kinds)
    assert kinds["spammer"][0].num_a_day(12) == 80
    assert kinds["careful"][0].num_a_day(12) == 12
    world = World(num_people=6, num_days=5, num_gold=60, wrong_gold_share=0.0, works=("likert",))
    by_kind = {c.kind: c for c in simulated(world, tmp_path).crowds}
    for kind in ("spammer", "left-clicker"):
        assert (by_kind[kind].stages, by_kind[kind].num_labels) == ({"banned": 1}, 0), kind
        assert by_kind[kind].euro < by_kind["careful"].euro / 4, "paid for the minutes, and no more of them"
    assert by_kind["careful"].stages == {"qualified": 4}


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


def test_the_web_app_under_a_small_load_and_killed_once(tmp_path: Path) -> None:
    load = Load(num_people=4, seconds=1.0, think_s=0.1, num_items=200, rate_hz=20.0, num_kills=1, num_clips=1)
    found = measure(load, tmp_path)
    assert (found.double_assignments, found.overfilled_items, found.lost_answers) == (0, 0, 0)
    assert [run.name for run in found.runs] == ["thinking", "with media", "rate", "kills"]
    assert all(run.claims_s and run.submits_s for run in found.runs)
    assert [run.errors for run in found.runs] == [Counter()] * 4
    assert len(found.runs[1].ranges_s) >= 2 * len(found.runs[1].claims_s), "a clip takes two ranges"
    assert found.num_kills == 1
    assert len(found.acknowledged) >= sum(len(run.submits_s) for run in found.runs) - 4
    assert "errors: none" in found.told()


def test_a_figure_beyond_its_limit_is_named() -> None:
    quick = Run("thinking", claims_s=[0.005] * 99 + [0.1], submits_s=[1.0])
    fine = Measured("sqlite", [quick, Run("rate", [0.2] * 9, [0.29] * 9), Run("kills", [9.0], [9.0])])
    assert fine.beyond() == []
    slow = Run("thinking", claims_s=[0.011] * 98 + [0.2] * 2, submits_s=[0.0])
    rate = Run("rate", [0.1] * 9, [0.1] * 8 + [0.9], errors=Counter({"500 at claim": 2}))
    wrong = Measured("sqlite", [slow, rate], double_assignments=1, overfilled_items=2, lost_answers=3)
    assert wrong.beyond() == [
        "rate: 2 x 500 at claim", "1 double assignments, allowed 0", "2 overfilled items, allowed 0",
        "3 lost answers, allowed 0", "thinking: p50 11.0 ms, wanted under 10 ms",
        "thinking: p99 200.0 ms, wanted under 150 ms", "rate: p99 764.0 ms, wanted under 300 ms",
    ]  # fmt: skip


def test_an_answer_that_was_acknowledged_and_is_not_there_is_counted(tmp_path: Path) -> None:
    crew = Crew(Database(f"sqlite:///{tmp_path / 'annotation.sqlite'}"))
    one, schema = crew.person("one"), crew.schema()
    crew.batch(schema, clips(1))
    crew.ready(one, schema)
    (held,) = crew.claim(one)
    crew.submit(one, held["token"], rated(3))
    measured = Measured("sqlite", acknowledged={held["token"]: rated(3), "gone": rated(3)})
    crew.database.read(lambda c: annotation_load._checked(c, measured))
    assert measured.lost_answers == 1
    measured.acknowledged = {held["token"]: rated(4)}
    crew.database.read(lambda c: annotation_load._checked(c, measured))
    assert measured.lost_answers == 1, "another answer than the one that was sent"
    crew.database.close()


def test_a_benchmark_of_systems_is_simulated_blind(tmp_path: Path) -> None:
    result = simulated(World(**{**SMALL, "num_people": 6}, works=(BENCHMARK,), loop=False), tmp_path)
    (told,) = result.types
    assert (told.work, told.num_set_aside) == (BENCHMARK, 0)
    assert told.num_labels > 0
    assert 0 < told.agreement <= 1


def test_agreement_holds_above_the_target_with_its_floor_alone() -> None:
    def told(work: str, agreement: float, alpha: float) -> bool:
        return Type(work, 1, 2, 0, agreement, agreement, alpha, 1.0, 0, 1.0).holds

    assert told("likert", 0.86, 0.67)
    assert not told("likert", 0.85, 0.9)
    assert not told("flags", 0.9, 0.66)
    assert told(BENCHMARK, 0.9, 0.6)
    assert not told("pairwise", 0.9, 0.59)
