"""A query that fails is answered in our words: what is wrong, where, and what to do; never in the database's."""

from __future__ import annotations

import duckdb
import pytest

from store.query_words import one_line


@pytest.fixture
def tables() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:")
    connection.execute("CREATE TABLE clips (clip_id VARCHAR, duration_s DOUBLE)")
    connection.execute("CREATE TABLE signals (clip_id VARCHAR, sharpness DOUBLE)")
    connection.execute("INSERT INTO clips VALUES ('c0', 4.0), ('c1', 5.0)")
    return connection


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT clip_idd FROM clips", "column clip_idd is in none of the relations that are read there; did you mean clip_id"),
        ("SELECT c.foo FROM clips c", "c has no column foo; name one that it has"),
        ("SELECT x.clip_id FROM clips", "no relation is called x there; name it in FROM or JOIN"),
        ("SELECT clip_id FROM clips JOIN signals ON true", "column clip_id is in several relations; write clips.clip_id or signals.clip_id"),
        ("SELECT clip_id, count(*) FROM clips", "column clip_id is neither grouped nor counted; add GROUP BY clip_id, or take min(clip_id)"),
        ("SELECT clip_id FROM clips WHERE duration_s > clip_id", "a number is compared with a text; compare like with like, or CAST one of them"),
        ("SELECT clip_id FROM clips WHERE duration_s = 'abc'", "the text 'abc' is not a number; compare it as a text, or use TRY_CAST"),
        ("SELECT 1 FROM clips WHERE (SELECT clip_id FROM clips) = 'a'", "a subquery that stands for one value gives several rows"),
        ("SELECT sum(clip_id) FROM clips", "sum can't be taken of a text; CAST it, or take another function"),
        ("SELECT 'a' + 1", "+ can't be used on a text and a whole number; CAST them to one type"),
        ("SELECT CAST(clip_id AS DATE) FROM clips", "the query can't be run: invalid date field format"),
        ("SELECT nope(1)", "the query can't be run: "),
    ],
)  # fmt: skip
def test_what_duckdb_says_is_worded_anew(tables: duckdb.DuckDBPyConnection, sql: str, told: str) -> None:
    with pytest.raises(duckdb.Error) as failed:
        tables.execute(sql).fetchall()
    said = one_line(str(failed.value))
    assert said.startswith(told)
    assert not any(raw in said for raw in ("Error:", "FROM clause", "\n", "LINE 1", "Candidate"))


def test_our_own_words_pass_and_none_is_too_long() -> None:
    assert one_line("needs more than the 200 MiB it may use; read fewer rows\nmore") == (
        "needs more than the 200 MiB it may use; read fewer rows"
    )
    assert len(one_line("Binder Error: " + "x" * 1000)) == 400
