"""Escapes from guarded SQL: refused by the reader, and again by the locked connection; bombs end in bounded time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import duckdb
import lance
import pyarrow as pa
import pytest

from store.guard import Limits, in_child, in_process, run
from store.query_child import lock
from store.schema import BASE_SCHEMAS
from store.tier_sql import guard_select
from tests.unit.store.conftest import connect, world

ESCAPES = {
    # files
    "SELECT * FROM 'secret.csv'": "unknown relation 'secret.csv'",
    'SELECT * FROM "secret.parquet"': "unknown relation 'secret.parquet'",
    "SELECT * FROM '/etc/passwd'": "unknown relation '/etc/passwd'",
    "SELECT * FROM 's3://bucket/key.parquet'": "unknown relation",
    "SELECT * FROM read_csv('/etc/passwd')": r"table function READ_CSV|function read_csv is not allowed",
    "SELECT * FROM read_csv_auto('x')": "read_csv_auto|READ_CSV_AUTO",
    "SELECT * FROM read_parquet('x')": "function read_parquet|READ_PARQUET",
    "SELECT * FROM read_text('/etc/passwd')": "read_text|READ_TEXT",
    "SELECT * FROM read_blob('/etc/passwd')": "read_blob|READ_BLOB",
    "SELECT * FROM read_json('x')": "read_json|READ_JSON",
    "SELECT * FROM glob('/*')": "glob|GLOB",
    "SELECT * FROM sniff_csv('x')": "sniff_csv|SNIFF_CSV",
    "SELECT * FROM parquet_metadata('x')": "parquet_metadata|PARQUET_METADATA",
    "SELECT (SELECT content FROM read_text('/etc/passwd'))": "read_text|READ_TEXT",
    "COPY clips TO 'out.csv'": "COPY is not allowed",
    "COPY (SELECT 1) TO 'out.csv'": "COPY is not allowed",
    "EXPORT DATABASE 'out'": "can't be read as SQL",
    "IMPORT DATABASE 'out'": "can't be read as SQL",
    # the database itself
    "ATTACH 'other.db'": "ATTACH is not allowed",
    "INSTALL httpfs": "INSTALL is not allowed",
    "LOAD httpfs": "LOAD is not allowed",
    "SET memory_limit = '1TB'": "SET is not allowed",
    "RESET memory_limit": "RESET is not allowed",
    "PRAGMA enable_external_access": "PRAGMA is not allowed",
    "CALL pragma_version()": "CALL is not allowed",
    "USE other": "USE is not allowed",
    "CREATE TABLE t AS SELECT 1": "CREATE is not allowed",
    "CREATE MACRO f(x) AS x": "CREATE is not allowed",
    "CREATE SECRET s (TYPE s3)": "CREATE is not allowed",
    "INSERT INTO clips VALUES (1)": "INSERT is not allowed",
    "UPDATE clips SET clip_id = 'x'": "UPDATE is not allowed",
    "DELETE FROM clips": "DELETE is not allowed",
    "DROP VIEW clips": "DROP is not allowed",
    "ALTER TABLE clips ADD COLUMN x INT": "ALTER is not allowed",
    "PREPARE p AS SELECT 1": "PREPARE is not allowed|can't be read",
    "EXECUTE p": "EXECUTE is not allowed",
    "BEGIN": "BEGIN is not allowed",
    "CHECKPOINT": "CHECKPOINT is not allowed|can't be read",
    "VACUUM": "VACUUM is not allowed|can't be read",
    "DESCRIBE clips": "DESCRIBE is not allowed",
    "SHOW TABLES": "SHOW is not allowed",
    "SUMMARIZE clips": "SUMMARIZE is not allowed",
    "EXPLAIN ANALYZE SELECT 1": "EXPLAIN is not allowed",
    "SELECT 1; DROP VIEW clips": "2 statements",
    "SELECT 1; SELECT 2": "2 statements",
    "": "0 statements",
    "-- nothing": "0 statements|nothing is not allowed|is not allowed, only SELECT",
    # what lies behind the views
    "SELECT * FROM _clips": "unknown relation '_clips'",
    "SELECT * FROM main.clips": "names a schema or file",
    "SELECT * FROM memory.main.clips": "names a schema or file",
    "SELECT * FROM information_schema.tables": "names a schema or file",
    "SELECT * FROM pg_catalog.pg_class": "names a schema or file",
    "SELECT * FROM sqlite_master": "unknown relation",
    "SELECT * FROM duckdb_settings()": "duckdb_settings|DUCKDB_SETTINGS",
    "SELECT * FROM duckdb_secrets()": "duckdb_secrets|DUCKDB_SECRETS",
    "SELECT * FROM pragma_table_info('clips')": "pragma_table_info|PRAGMA_TABLE_INFO",
    "SELECT * FROM query('SELECT 1')": "query|QUERY",
    "SELECT * FROM query_table('clips')": "query_table|QUERY_TABLE",
    "SELECT * FROM clips AT (VERSION => 1)": "is not allowed",
    # the session, the moment, chance
    "SELECT getenv('HOME')": "function getenv is not allowed",
    "SELECT current_setting('home_directory')": "current_setting changes from run to run",
    "SELECT getvariable('x')": "function getvariable is not allowed",
    "SELECT version()": "function version is not allowed",
    "SELECT now()": "now changes from run to run",
    "SELECT current_timestamp": "current_timestamp changes from run to run",
    "SELECT current_date": "current_date changes from run to run",
    'SELECT "current_date" FROM clips': "current_date changes from run to run",
    "SELECT localtime": "localtime changes from run to run",
    "SELECT today()": "current_date changes from run to run",
    "SELECT random()": "random changes from run to run",
    "SELECT uuid()": "uuid changes from run to run",
    "SELECT gen_random_uuid()": "uuid changes from run to run",
    "SELECT setseed(0.1)": "setseed changes from run to run",
    "SELECT nextval('s')": "nextval changes from run to run",
    "SELECT current_user": "current_user changes from run to run",
    "SELECT session_user": "function session_user is not allowed",
    "SELECT CAST('2026-01-01' AS TIMESTAMPTZ)": "type TIMESTAMPTZ is not allowed",
    "SELECT * FROM clips TABLESAMPLE 10%": "TABLESAMPLE is not allowed",
    "SELECT * FROM clips USING SAMPLE 10": "TABLESAMPLE is not allowed",
    # grammar beyond a SELECT
    "WITH RECURSIVE r AS (SELECT 1 n UNION ALL SELECT n + 1 FROM r) SELECT n FROM r": "WITH RECURSIVE is not allowed",
    "SELECT * FROM range(1000000000000)": "range|RANGE",
    "SELECT * FROM generate_series(1, 1000000000000)": "generate_series|GENERATE_SERIES",
    "SELECT unnest(range(1000000000000))": "unnest|range",
    "SELECT repeat('x', 1000000000000)": "function repeat is not allowed",
    "SELECT lpad('x', 1000000000, 'y')": "lpad is not allowed|PAD is not allowed",
    "SELECT list_transform([1], x -> x + 1)": "is not allowed",
    "SELECT [x FOR x IN [1, 2]]": "is not allowed",
    "SELECT COLUMNS('.*') FROM clips": "columns is not allowed",
    "SELECT ?": "a placeholder",
    "SELECT $1": "a placeholder",
    "SELECT CAST('x' AS regclass)": "is not allowed",
    "SELECT error('x')": "function error is not allowed",
    "SELECT write_log('x')": "function write_log is not allowed",
    "SELECT 1 INTO t": "SELECT INTO is not allowed|can't be read",
    "SELECT * FROM clips FOR UPDATE": "is not allowed",
    "SELECT * FROM (VALUES (1)) t(x)": "VALUES is not allowed",
    "PIVOT clips ON video_id": "PIVOT is not allowed",
    # a name that a WITH elsewhere gives is a relation of the database here
    'SELECT s.* FROM (WITH "_timelines" AS (SELECT 1 AS q FROM clips) SELECT * FROM _timelines) x, "_timelines" s': "outside of its query",
    "WITH _timelines AS (SELECT * FROM _timelines) SELECT * FROM _timelines": "outside of its query",
    "WITH a AS (SELECT * FROM sqlite_master), sqlite_master AS (SELECT 1) SELECT * FROM a": "read before it is written",
    "SELECT 1" + " + 1" * 3000: "words nested",
    "SELECT " + "(" * 100 + "1" + ")" * 100: "words nested",
    "SELECT " + "NOT " * 400 + "TRUE": "words nested",
    "SELECT '" + "x" * 60_000 + "'": "characters of SQL",
    "SELECT (((": "can't be read as SQL",
    "SELECT \x00": "NUL character",
}


@pytest.mark.parametrize("sql", ESCAPES)
def test_an_escape_is_refused_by_name(sql: str) -> None:
    began = time.monotonic()
    with pytest.raises(ValueError, match=ESCAPES[sql]) as refused:
        guard_select(sql)
    assert time.monotonic() - began < 5
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 1200


RAW = [
    "SELECT * FROM read_csv('/etc/hostname')",
    "SELECT * FROM read_text('/etc/hostname')",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM '/etc/hostname'",
    "COPY (SELECT 1) TO '/tmp/headroom_escape.csv'",
    "EXPORT DATABASE '/tmp/headroom_escape'",
    "ATTACH '/tmp/headroom_escape.db'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "SET memory_limit = '1TB'",
    "SET lock_configuration = false",
    "SET temp_directory = '/tmp'",
    "RESET memory_limit",
    "PRAGMA enable_profiling",
    "SELECT * FROM hidden",
]


@pytest.mark.parametrize("sql", RAW)
def test_the_locked_connection_holds_without_the_reader(sql: str) -> None:
    hidden = pa.table({"x": [1]})  # a variable that DuckDB would otherwise find by its name
    connection = connect(world())
    lock(connection, 256, 1)
    with pytest.raises(duckdb.Error):
        connection.execute(sql).fetchall()
    assert connection.sql("SELECT count(*) FROM clips").fetchall() == [(8,)]
    assert hidden.num_rows == 1
    assert not list(Path("/tmp").glob("headroom_escape*"))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, int]]:
    """20,000 clips in Lance tables, enough for bombs."""
    root = tmp_path_factory.mktemp("record")
    num = 20_000
    ids = [f"{i:06d}" for i in range(num)]
    made = {
        "clips": {"clip_id": ids, "video_id": ids, "duration_s": [i % 10 for i in range(num)], "active": [True] * num},
        "signals": {"clip_id": ids, "video_id": ids, "active": [True] * num, "x_y": [i / num for i in range(num)]},
    }
    versions = {}
    for table, columns in made.items():
        schema = BASE_SCHEMAS[table]
        types = {f.name: f.type for f in schema}
        arrays = {n: pa.array(c, types.get(n, pa.float32())) for n, c in columns.items()}
        nulls = {f.name: pa.nulls(num, f.type) for f in schema if f.name not in arrays}
        versions[table] = lance.write_dataset(pa.table({**arrays, **nulls}), str(root / f"{table}.lance")).version
    return str(root), versions


def child(record: tuple[str, dict[str, int]], **limits: Any) -> Any:
    told: dict[str, Any] = {"memory_mib": 512, "wall_s": 30.0, "cpu_s": 30.0, "threads": 1, **limits}
    return in_child(*record, Limits(**told), {"long": "SELECT clip_id FROM clips WHERE duration_s >= 9"})


def test_a_child_reads_the_record_through_tiers(record: tuple[str, dict[str, int]]) -> None:
    query = child(record)
    rows = query("SELECT count(*) AS n, max(x_y) AS top FROM long JOIN signals USING (clip_id) WHERE x_y < 0.5")
    assert rows.to_pylist() == [{"n": 1000, "top": pytest.approx(0.49995)}]
    assert query("SELECT clip_id FROM clips WHERE duration_s > 100").column_names == ["clip_id"]


@pytest.mark.parametrize(
    ("sql", "limits", "told"),
    [
        ("SELECT clip_id FROM clips", {"max_rows": 100}, "more than 100 rows; add a clause or LIMIT"),
        ("SELECT a.*, b.* FROM clips a, clips b", {"max_result_mib": 1}, "more than 1 MiB of rows"),
        ("SELECT count(*) FROM clips a, clips b, clips c WHERE a.clip_id || b.clip_id || c.clip_id LIKE '%x%'",
         {"wall_s": 3.0}, "not done after 3 s; read fewer rows"),
        ("SELECT count(*) FROM clips a, clips b, clips c WHERE a.clip_id || b.clip_id || c.clip_id LIKE '%y%'",
         {"cpu_s": 1.0}, "not done after 1 s of computing; read fewer rows"),
        ("SELECT list(a.clip_id || b.clip_id) FROM clips a, clips b", {}, "needs more than the 512 MiB it may use"),
        ("SELECT a.clip_id || b.clip_id AS x FROM clips a, clips b ORDER BY x", {"memory_mib": 200},
         "needs more than the 200 MiB"),
        ("SELECT nothing FROM clips", {}, "column nothing is in none of the relations that are read there"),
        ("SELECT CAST(clip_id AS DATE) FROM clips", {}, "the query can't be run: invalid date|the text 'c0' is not a DATE"),
    ],
)  # fmt: skip
def test_bombs_and_mistakes_end_in_one_line(
    record: tuple[str, dict[str, int]], sql: str, limits: dict[str, Any], told: str
) -> None:
    began = time.monotonic()
    with pytest.raises(ValueError, match=told) as failed:
        child(record, **limits)(sql)
    assert "\n" not in str(failed.value)
    assert str(failed.value).startswith("sql: ")
    assert time.monotonic() - began < 30


def test_an_unreadable_version_is_said(record: tuple[str, dict[str, int]]) -> None:
    root, versions = record
    with pytest.raises(ValueError, match="version 99 can't be read"):
        in_child(root, {**versions, "clips": 99}, Limits(wall_s=30))("SELECT 1 AS one")


def test_a_child_that_dies_is_said(record: tuple[str, dict[str, int]]) -> None:
    request = {"root": record[0], "versions": record[1]}  # without its limits the child can't begin
    with pytest.raises(ValueError, match=r"sql: ended without an answer \(KeyError"):
        run("SELECT 1", request, Limits(wall_s=30))


def test_the_kernel_ends_a_child_whose_parent_is_gone() -> None:
    import subprocess
    import sys

    code = (
        "import time; from store.query_child import limit_process\n"
        "limit_process({'wall_s': 0.5, 'cpu_s': 0.5, 'threads': 1, 'memory_mib': 64})\n"
        "try:\n    open('/tmp/headroom_escape.txt', 'w').write('x' * 9999)\nexcept OSError as e:\n    print(e.errno)\n"
        "try:\n    b = bytearray(2_000_000_000)\nexcept MemoryError:\n    print('memory', flush=True)\n"
        "time.sleep(30)\n"
    )
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    Path("/tmp/headroom_escape.txt").unlink(missing_ok=True)
    assert ended.stdout.split() == ["27", "memory"]  # EFBIG
    assert ended.returncode == -14  # SIGALRM
    assert time.monotonic() - began < 10


def test_our_own_connection_refuses_too() -> None:
    with pytest.raises(ValueError, match="unknown relation 'secret'"):
        in_process(connect(world()))("SELECT * FROM secret")
