"""What a signal declares is what is stored; digests follow values, not layouts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tasks.digest import ContractError, between, declared_row, declared_table, digest, digest_of_table, pack, unpack
from tasks.signal import Column

SPEED = Column("speed", pa.float32(), "ratio", "how fast", low=0, high=10, decimals=2)
COUNT = Column("count", pa.int32(), "count", "how many", low=0)
LANGUAGE = Column("language", pa.string(), "", "nullable: ISO code")


def lines(frames: list[int], speeds: list[float | None]) -> pa.Table:
    return pa.table({"frame": pa.array(frames, pa.int32()), "speed": pa.array(speeds, pa.float32())})


def test_a_row_is_rounded_to_its_decimals() -> None:
    made = declared_row([SPEED, COUNT, LANGUAGE], {"speed": 1.23456, "count": 3, "language": None})
    assert made == {"speed": float(np.float32(1.23)), "count": 3, "language": None}


def test_minus_zero_is_zero() -> None:
    assert str(declared_row([Column("x", pa.float64(), "", "x", decimals=1)], {"x": -0.01})["x"]) == "0.0"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"speed": float("nan"), "count": 1}, "speed holds nan; only finite"),
        ({"speed": float("inf"), "count": 1}, "speed holds inf; only finite"),
        ({"speed": 10.5, "count": 1}, "speed holds 10.5, declared 0 to 10"),
        ({"speed": 1.0, "count": -1}, "count holds -1, declared 0 to None"),
        ({"speed": None, "count": 1}, "speed is None"),
        ({"speed": 1.0}, "returned columns"),
        ({"speed": 1.0, "count": 1, "more": 2}, "returned columns"),
    ],
)
def test_a_row_that_breaks_its_declaration_is_refused(row: dict[str, object], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        declared_row([SPEED, COUNT], row)


def test_a_float_without_decimals_is_refused() -> None:
    with pytest.raises(ContractError, match="declares no decimals"):
        declared_row([Column("x", pa.float32(), "", "x")], {"x": 1.0})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (lines([0, 1], [1.0, float("nan")]), "only finite"),
        (lines([0, 1], [1.0, 11.0]), "declared 0 to 10"),
        (lines([1, 0], [1.0, 1.0]), "not sorted"),
        (pa.table({"frame": [0]}), "timeline has columns"),
        (pa.table({"frame": [0], "speed": ["fast"]}), "does not fit"),
    ],
)
def test_a_timeline_that_breaks_its_declaration_is_refused(table: pa.Table, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        declared_table([SPEED], table)


def test_a_timeline_keeps_its_nulls() -> None:
    made = declared_table([SPEED], lines([0, 1], [1.239, None]))
    assert made["speed"].to_pylist() == [pytest.approx(1.24), None]


def test_a_digest_follows_values_not_chunks_or_offsets() -> None:
    whole = lines([0, 1, 2, 3], [1.0, None, 3.0, 4.0])
    chunked = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])
    offset = pa.concat_tables([lines([9], [9.0]), whole]).combine_chunks().slice(1)
    assert digest_of_table(whole) == digest_of_table(chunked) == digest_of_table(offset)
    assert digest_of_table(whole) != digest_of_table(lines([0, 1, 2, 3], [1.0, None, 3.0, 4.5]))
    assert digest_of_table(whole) != digest_of_table(lines([0, 1, 2, 3], [1.0, 0.0, 3.0, 4.0]))


def test_a_digest_of_lists_sees_where_one_ends() -> None:
    def table(values: list[list[int]]) -> pa.Table:
        return pa.table({"frame": pa.array([0, 1], pa.int32()), "points": pa.array(values, pa.list_(pa.int16()))})

    assert digest_of_table(table([[1], [2, 3]])) != digest_of_table(table([[1, 2], [3]]))


def test_a_packed_timeline_comes_back() -> None:
    table = lines([0, 5, 10], [1.0, 2.0, None])
    assert unpack(pack(table)).equals(table)
    assert between(table, 5, 10)["frame"].to_pylist() == [5]


def test_a_digest_is_what_sql_computes() -> None:
    import duckdb

    (told,) = duckdb.sql("SELECT md5_number_lower(concat_ws('|', 'a', 12, '', 'b,c'))").fetchall()
    assert digest("a", 12, "", "b,c") == told[0]
