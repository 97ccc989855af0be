"""Tiers: clauses, inlining, names of columns, refusals."""

from __future__ import annotations

from typing import Any

import pytest

from store.tier_sql import Tier, guard_select, parse_tier

SIGNALS = ("face_track", "lip_sync", "speech", "speech_quality")
BRONZE = """
SELECT clip_id
FROM clips JOIN signals USING (clip_id)
WHERE duration_s >= 3                    -- source: own measurement, "n = 8"
  AND face_track_face_ratio >= 0.5      -- source: a paper,
                                        -- its table 2
  AND (speech_status = 'ok' OR speech_speech_ratio IS NOT NULL) /* source: own */
"""
SILVER = """
SELECT b.clip_id FROM bronze b
JOIN signals s ON s.clip_id = b.clip_id
JOIN videos v ON v.video_id = s.video_id AND v.state = 'done'
WHERE s.speech_quality_ovrl >= 3 AND abs(s.lip_sync_offset_ms) <= 80
"""
GOLD = "SELECT clip_id FROM signals WHERE clip_id IN (SELECT clip_id FROM silver) AND speech_speech_ratio > 0.5"
MANY = " AND ".join(f"duration_s > {i}" for i in range(61))
DOUBLING = "".join(
    f", a{i} AS (SELECT x.clip_id FROM a{i - 1} x JOIN a{i - 1} y ON x.clip_id = y.clip_id)" for i in range(1, 25)
)
KNOWN = {"bronze": BRONZE, "silver": SILVER, "gold": GOLD}


def tier(sql: str, name: str = "t", known: dict[str, str] | None = None) -> Tier:
    return parse_tier(name, sql, KNOWN if known is None else known, SIGNALS)


def members(query: Any, parsed: Tier) -> list[str]:
    return sorted(query(parsed.inlined)["clip_id"].to_pylist())


def test_clauses_carry_text_source_columns_and_signals() -> None:
    first, second, third = tier(BRONZE, "bronze").clauses
    assert (first.text, first.source) == ("duration_s >= 3", 'own measurement, "n = 8"')
    assert (first.columns, first.signals) == (("clips.duration_s",), ())
    assert second.source == "a paper, its table 2"
    assert second.signals == ("face_track",)
    assert third.text == "speech_status = 'ok' OR speech_speech_ratio IS NOT NULL"
    assert third.sql == "(signals.speech_status = 'ok' OR NOT signals.speech_speech_ratio IS NULL)"
    assert (third.source, third.signals) == ("own", ("speech",))


def test_a_tier_takes_the_clauses_of_those_it_builds_on() -> None:
    gold = tier(GOLD, "gold")
    assert [c.tier for c in gold.clauses] == ["bronze"] * 3 + ["silver"] * 3 + ["gold"]
    assert gold.includes == ("bronze", "silver")
    assert gold.signals == SIGNALS
    assert gold.joins == {"clips": "inner", "signals": "inner", "videos": "inner"}
    assert [c.text for c in gold.clauses[3:5]] == ["v.state = 'done'", "s.speech_quality_ovrl >= 3"]
    assert {c.reads for c in gold.clauses} == {"own"}


def test_the_longest_signal_name_owns_a_column() -> None:
    assert tier(SILVER, "silver").clauses[4].signals == ("speech_quality",)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (BRONZE, ["c1", "c3", "c5", "c6", "c7"]),
        (SILVER, ["c3"]),
        ("SELECT clip_id FROM bronze", ["c1", "c3", "c5", "c6", "c7"]),
        ("SELECT clip_id FROM bronze WHERE clip_id <> 'c1'", ["c3", "c5", "c6", "c7"]),
        ("SELECT clip_id FROM clips WHERE clip_id NOT IN (SELECT clip_id FROM bronze)", ["c0", "c2", "c4"]),
        (
            "SELECT clip_id FROM clips WHERE clip_id IN (SELECT clip_id FROM label_values WHERE task_type = 'flags')",
            ["c0", "c3"],
        ),
        ("SELECT clip_id FROM clips JOIN label_values USING (clip_id) WHERE duration_s > 3", ["c3"]),
        ("SELECT DISTINCT clips.clip_id FROM clips JOIN label_values l ON l.clip_id = clips.clip_id", ["c0", "c3"]),
        ("SELECT clip_id FROM clips ORDER BY duration_s DESC LIMIT 2", ["c6", "c7"]),
        (
            "SELECT clip_id FROM clips WHERE duration_s < 9 QUALIFY row_number() OVER "
            "(PARTITION BY video_id ORDER BY duration_s DESC, clip_id) = 1",
            ["c1", "c3", "c5", "c6"],
        ),
        (
            "SELECT clip_id FROM clips JOIN rights USING (video_id) WHERE licence LIKE 'CC-BY%' AND consent = 'yes'",
            ["c2", "c3", "c4", "c5", "c6", "c7"],
        ),
        (
            "WITH long AS (SELECT clip_id FROM clips WHERE duration_s > 7) SELECT clip_id FROM signals "
            "WHERE clip_id IN (SELECT clip_id FROM long)",
            ["c6", "c7"],
        ),
        (
            "SELECT c.clip_id FROM clips c WHERE EXISTS (SELECT * FROM label_values l WHERE l.clip_id = c.clip_id)",
            ["c0", "c3"],
        ),
        ("SELECT clip_id FROM clips LEFT JOIN signals USING (clip_id) WHERE lip_sync_status IS NULL", []),
        (
            "SELECT clip_id FROM signals GROUP BY clip_id HAVING max(speech_quality_ovrl) > 3.1",
            ["c0", "c6"],
        ),
    ],
)
def test_members_are_those_of_the_query_as_written(query: Any, connection: Any, sql: str, expected: list[str]) -> None:
    parsed = tier(sql)
    assert members(query, parsed) == expected
    for name, body in (("bronze", BRONZE), ("silver", SILVER)):
        connection.execute(f"CREATE VIEW {name} AS {body}")
    assert sorted({row[0] for row in connection.execute(sql).fetchall()}) == expected


def test_layout_and_comments_do_not_change_the_hash() -> None:
    spaced = BRONZE.replace("\n", "\n\n").replace("-- source: own measurement", "-- source: elsewhere")
    assert tier(spaced).sha256 == tier(BRONZE).sha256
    assert tier(BRONZE.replace("0.5", "0.6")).sha256 != tier(BRONZE).sha256


def test_what_needs_other_clips_is_one_clause_of_its_own() -> None:
    parsed = tier(
        "SELECT clip_id FROM clips WHERE duration_s > 2 "
        "QUALIFY row_number() OVER (PARTITION BY video_id ORDER BY duration_s, clip_id) <= 2"
    )
    assert [c.reads for c in parsed.clauses] == ["own", "selection"]
    assert parsed.clauses[1].text.startswith("QUALIFY ROW_NUMBER()")


def test_equal_clauses_are_kept_once() -> None:
    parsed = tier("SELECT clip_id FROM bronze JOIN clips USING (clip_id) WHERE clips.duration_s >= 3")
    assert len(parsed.clauses) == 3


def test_a_limit_is_decided_by_clip_id_among_equals(query: Any) -> None:
    parsed = tier("SELECT clip_id FROM clips ORDER BY source_width_px LIMIT 3")
    assert members(query, parsed) == ["c0", "c1", "c2"]


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT clip_id, duration_s FROM clips", "yields clip_id, duration_s; a tier yields clip_id and nothing else"),
        ("SELECT video_id FROM clips", "yields video_id"),
        ("SELECT 'x' AS clip_id FROM clips", "yields 'x' AS clip_id"),
        ("SELECT clip_id FROM clips UNION SELECT clip_id FROM signals", "UNION at the top is not one SELECT"),
        ("SELECT clip_id FROM clips LIMIT 5", "LIMIT without ORDER BY takes rows by chance"),
        ("SELECT clip_id FROM clips ORDER BY 1 LIMIT 2 + 3", "LIMIT must be a whole number"),
        ("SELECT clip_id FROM (SELECT clip_id FROM clips) ORDER BY clip_id OFFSET (SELECT 1)", "LIMIT must be"),
        ("SELECT DISTINCT ON (video_id) clip_id FROM clips", "DISTINCT ON takes rows by chance"),
        ("SELECT * FROM clips", r"\* is not allowed; name the columns"),
        ("SELECT clip_id FROM clips, signals", "joins without a condition"),
        ("SELECT clip_id FROM clips NATURAL JOIN signals", "is not allowed; tiers join by JOIN or LEFT JOIN"),
        ("SELECT clip_id FROM clips ANTI JOIN signals USING (clip_id)", "is not allowed; tiers join by JOIN"),
        ("SELECT clip_id FROM clips FULL JOIN signals USING (clip_id)", "is not allowed; tiers join by JOIN"),
        ("SELECT clip_id FROM clips LEFT JOIN bronze USING (clip_id)", "a tier can't be joined by LEFT JOIN"),
        (
            "SELECT c.clip_id FROM clips c LEFT JOIN signals s ON s.clip_id = c.clip_id AND speech_status = 'ok'",
            "LEFT JOIN takes only its key in ON",
        ),
        ("SELECT clip_id FROM videos", "FROM names no relation of clips"),
        ("SELECT clip_id", "no FROM"),
        (
            "SELECT clip_id FROM clips WHERE speech_status = 'ok'",
            r"column speech_status is in none of clips; add JOIN signals",
        ),
        ("SELECT clip_id FROM clips WHERE licence = 'x'", r"add JOIN rights USING \(video_id\)"),
        ("SELECT clip_id FROM signals WHERE speach_status = 'ok'", "did you mean speech_status"),
        (
            "SELECT clip_id FROM clips JOIN videos USING (video_id) WHERE duration_s > 1",
            r"is in clips and videos; write clips\.",
        ),
        ("SELECT clip_id FROM clips WHERE x.duration_s > 1", "no relation is called x"),
        ("SELECT clip_id FROM clips c WHERE c.lenght > 1", "column lenght is in none of"),
        (
            "SELECT clip_id FROM clips c WHERE EXISTS (SELECT 1 FROM clips WHERE clips.video_id = c.video_id)",
            "means a row outside the subquery",
        ),
        (
            "SELECT clip_id FROM clips QUALIFY row_number() OVER (ORDER BY duration_s) = 1",
            "end its ORDER BY in clip_id",
        ),
        (
            "SELECT clip_id FROM signals WHERE speech_speech_ratio = (SELECT any_value(speech_status) FROM signals)",
            "any_value depends on the order of rows",
        ),
        (
            "WITH a AS (SELECT clip_id FROM b), b AS (SELECT clip_id FROM clips) SELECT clip_id FROM a",
            "WITH b is read before it is written",
        ),
        ("WITH clips AS (SELECT 1) SELECT clip_id FROM clips", "WITH clips takes the name of another relation"),
        ("SELECT clip_id FROM nowhere", "unknown relation 'nowhere'"),
        ("SELECT clip_id FROM clips WHERE " + MANY, "61 clauses, at most 60"),
        ("WITH a0 AS (SELECT clip_id FROM clips)" + DOUBLING + " SELECT clip_id FROM a24", "grows beyond"),
    ],
)
def test_what_a_tier_may_not_say(sql: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as refused:
        tier(sql)
    assert str(refused.value).startswith("tier t: ")
    assert "\n" not in str(refused.value)


def test_a_circle_of_tiers_is_named() -> None:
    known = {
        "a": "SELECT clip_id FROM b",
        "b": "SELECT clip_id FROM clips WHERE clip_id NOT IN (SELECT clip_id FROM c)",
        "c": "SELECT clip_id FROM a",
    }
    with pytest.raises(ValueError, match="a -> b -> c -> a"):
        parse_tier("a", known["a"], known)
    with pytest.raises(ValueError, match="d -> d"):
        parse_tier("d", "SELECT clip_id FROM d", {})


@pytest.mark.parametrize("name", ["clips", "Gold", "a-b", "", "x" * 64])
def test_a_tier_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="a name has lower-case letters"):
        parse_tier(name, "SELECT clip_id FROM clips", {})


def test_without_signal_names_columns_still_find_their_relation() -> None:
    parsed = parse_tier("t", "SELECT clip_id FROM clips JOIN signals USING (clip_id) WHERE any_thing > 1", {})
    assert parsed.clauses[0].columns == ("signals.any_thing",)
    assert parsed.signals == ()


def test_looking_around_is_free_in_columns_and_order(query: Any) -> None:
    rows = query("SELECT video_id, count(*) AS n, any_value(clip_id) FROM clips GROUP BY ALL ORDER BY n LIMIT 3")
    assert rows.num_rows == 3
    assert guard_select("SELECT * FROM bronze LIMIT 1", KNOWN).startswith('SELECT * FROM (SELECT "clips"."clip_id"')


def test_a_failing_query_answers_in_one_line(query: Any) -> None:
    with pytest.raises(ValueError, match=r"sql: .*nothing_like_it") as failed:
        query("SELECT nothing_like_it FROM clips")
    assert "\n" not in str(failed.value)
    with pytest.raises(ValueError, match="; did you mean duration_s"):
        query("SELECT duration FROM clips")
