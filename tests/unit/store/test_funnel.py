"""explain and funnel against counts made by hand from the made world."""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc
import pytest

from store.funnel import explain, funnel
from store.guard import in_process
from store.tier_sql import parse_tier
from tests.unit.store.conftest import SIGNALS, connect, world

TIER = (
    "SELECT clip_id FROM clips JOIN signals USING (clip_id) "
    "WHERE duration_s >= 3 -- source: own\n AND face_track_face_ratio >= 0.5 AND speech_quality_ovrl >= 3.1 "
    "AND (lip_sync_status <> 'ok' OR abs(lip_sync_offset_ms) <= 80)"
)
# c0 2 s; c1 quality 2; c2 face 0.2, quality 3; c3 quality 3; c4 nothing; c5 in; c6 offset 200; c7 quality waits


def tier(sql: str = TIER) -> Any:
    return parse_tier("t", sql, {}, SIGNALS)


def test_explain_gives_each_clause_its_values_and_verdict(query: Any) -> None:
    verdicts = explain(query, tier(), "c4")
    assert [v.passed for v in verdicts] == [True, None, None, True]
    assert verdicts[0].values == {"clips.duration_s": 6.0}
    assert verdicts[0].clause.source == "own"
    assert verdicts[3].values == {"signals.lip_sync_status": "not_applicable", "signals.lip_sync_offset_ms": None}
    assert [v.passed for v in explain(query, tier(), "c5")] == [True] * 4


@pytest.mark.parametrize("clip_id", ["nobody", "c1' OR '1'='1"])
def test_explain_knows_only_present_clips(query: Any, clip_id: str) -> None:
    with pytest.raises(ValueError, match="is none of the present clips"):
        explain(query, tier(), clip_id)


def test_funnel_counts_alone_in_order_and_only(query: Any) -> None:
    told = funnel(query, tier())
    assert (told.clips, told.members) == (8, 1)
    assert [c.alone for c in told.clauses] == [7, 6, 3, 7]
    assert [c.removed_alone for c in told.clauses] == [1, 2, 5, 1]
    assert [c.cumulative for c in told.clauses] == [7, 5, 2, 1]
    assert [c.removed_after for c in told.clauses] == [1, 2, 3, 1]
    assert [c.removed_only for c in told.clauses] == [1, 0, 3, 1]
    assert told.hours * 3600 == pytest.approx(sum(range(2, 10)))
    assert told.clauses[2].hours_cumulative * 3600 == pytest.approx(7 + 8)
    assert told.clauses[2].hours_removed_only * 3600 == pytest.approx(3 + 5 + 9)
    assert told.member_hours * 3600 == pytest.approx(7)


def test_null_is_no_pass_and_says_why(query: Any) -> None:
    counts = funnel(query, tier()).clauses
    assert [c.unknown for c in counts] == [0, 1, 2, 0]
    assert counts[1].why_unknown == {"face_track: no face": 1}
    assert counts[2].why_unknown == {"speech_quality: no audio": 1, "speech_quality: not computed": 1}


def test_the_price_of_a_clause_is_what_it_alone_makes_us_compute(query: Any) -> None:
    counts = funnel(query, tier(), {"face_track": 0.1, "speech_quality": 0.5, "lip_sync": 1.0}).clauses
    seconds = [0, 42, 32, 15]  # of the clips that reach the clause
    assert [c.cpu_s for c in counts] == pytest.approx([0, 0.1 * seconds[1], 0.5 * seconds[2], seconds[3]])


def test_other_thresholds_say_what_they_would_bring(query: Any) -> None:
    found = funnel(query, tier()).clauses[2].thresholds
    # c0 fails on its length and c6 on its offset: this clause alone decides c1 (2.0), c3 (3.0), c5 (3.1), not c7 (NULL)
    assert [(t.value, t.clips, t.tighter) for t in found] == [
        (2.0, 3, False),
        (3.0, 2, False),
        (pytest.approx(3.1), 1, False),
    ]
    assert found[0].hours * 3600 == pytest.approx(3 + 5 + 7)
    assert funnel(query, tier(), thresholds=False).clauses[2].thresholds == ()


@pytest.mark.parametrize(
    ("clause", "values", "tighter"),
    [
        ("duration_s < 5", [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], [True] * 3 + [False] * 5),
        ("5 > duration_s", [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], [True] * 3 + [False] * 5),
        ("-duration_s >= -5", [-9.0, -8.0, -7.0, -6.0, -5.0, -4.0, -3.0, -2.0], [False] * 5 + [True] * 3),
        ("duration_s <> 5", [], []),
        ("(duration_s < 3 OR duration_s > 8)", [], []),
    ],
)
def test_thresholds_of_any_comparison_with_a_number(
    query: Any, clause: str, values: list[float], tighter: list[bool]
) -> None:
    found = funnel(query, tier(f"SELECT clip_id FROM clips WHERE {clause}")).clauses[0].thresholds
    assert {t.value for t in found} <= set(values)
    assert bool(found) == bool(values)
    assert [t.tighter for t in found] == [dict(zip(values, tighter, strict=True))[t.value] for t in found]


def test_a_selection_is_counted_as_the_whole_tier(query: Any) -> None:
    sql = (
        "SELECT clip_id FROM clips WHERE duration_s >= 3 "
        "QUALIFY row_number() OVER (PARTITION BY video_id ORDER BY duration_s DESC, clip_id) = 1"
    )
    told = funnel(query, tier(sql))
    assert [(c.alone, c.cumulative, c.removed_after) for c in told.clauses] == [(7, 7, 1), (4, 4, 3)]
    assert [v.passed for v in explain(query, tier(sql), "c2")] == [True, False]


def test_a_missing_row_of_a_joined_relation_is_said(query: Any) -> None:
    assert [c.clause.text for c in funnel(query, tier()).clauses][-1].startswith("lip_sync_status <>")
    tables = world()
    some = tables["signals"].filter(pc.not_equal(tables["signals"]["clip_id"], "c5"))
    told = funnel(in_process(connect({**tables, "signals": some})), tier())
    assert told.members == 0
    assert (told.clauses[-1].clause.text, told.clauses[-1].removed_alone) == ("has a row in signals", 1)
    assert explain(in_process(connect({**tables, "signals": some})), tier(), "c5")[-1].passed is False


def test_a_tier_of_all_clips_has_no_clauses(query: Any) -> None:
    told = funnel(query, tier("SELECT clip_id FROM clips"))
    assert (told.clips, told.members, told.clauses) == (8, 8, ())


def test_no_clips_no_counts(query: Any) -> None:
    tables = {name: t.slice(0, 0) for name, t in world().items()}
    told = funnel(in_process(connect(tables)), tier())
    assert (told.clips, told.hours, [c.alone for c in told.clauses]) == (0, 0, [0, 0, 0, 0])
