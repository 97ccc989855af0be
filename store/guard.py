"""The door for SQL written by people: checked, then run where it can neither read, write nor outlast anything.

`in_child` runs a query in a process of its own (store/query_child.py) with limits on memory, time and rows.
`in_process` runs our own texts, and tiers already accepted, over a connection at hand; the check is the same.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from store.query_words import one_line
from store.tier_sql import guard_select

Query = Callable[[str], pa.Table]
"""Gives the rows of one checked SELECT."""


@dataclass(frozen=True)
class Limits:
    """What one query may use: `cpu_s` on each of its threads. `wall_s` counts from the child's start and is longer,
    so that a query is not refused for what else the machine is doing."""

    memory_mib: int = 2048
    cpu_s: float = 60.0
    wall_s: float = 600.0
    max_rows: int = 1_000_000
    max_result_mib: int = 512
    threads: int = 2


def in_child(
    root: str,
    versions: Mapping[str, int],
    limits: Limits = Limits(),
    known_tiers: Mapping[str, str] | None = None,
    candidates: Mapping[str, str] | None = None,
) -> Query:
    """Queries over the views of the record at `root`, each in a child process. See `run` for what it raises, and
    store.views.connect for `candidates`."""

    def query(sql: str) -> pa.Table:
        request = {"root": root, "versions": dict(versions), "candidates": dict(candidates or {}), **asdict(limits)}
        return run(guard_select(sql, known_tiers), request, limits)

    return query


def in_process(connection: Any, known_tiers: Mapping[str, str] | None = None) -> Query:
    """Queries over a connection that has the views. Raises ValueError for SQL that is refused or fails."""
    import duckdb

    def query(sql: str) -> pa.Table:
        checked = guard_select(sql, known_tiers)
        try:
            return connection.sql(checked).to_arrow_table()
        except duckdb.Error as error:
            raise ValueError(f"sql: {one_line(str(error))}") from None

    return query


def run(sql: str, request: Mapping[str, Any], limits: Limits, *, module: str = "store.query_child") -> pa.Table:
    """Runs a checked query in a child process.

    Raises ValueError with one line when the query fails, takes longer than its time, needs more than its memory,
    or has more rows than allowed.
    """
    above = str(Path(__file__).resolve().parents[1])
    paths = [above, *([told] if (told := os.environ.get("PYTHONPATH")) else [])]
    # One arena of malloc: each takes 64 MiB of address space, which is what the child's limit counts.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "MALLOC_ARENA_MAX": "1"}
    child = subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    message = json.dumps({**request, "sql": sql}).encode()
    try:
        out, err = child.communicate(message, timeout=limits.wall_s)
    except subprocess.TimeoutExpired:
        raise ValueError(f"sql: {_too_long(limits)}") from None
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()
    if child.returncode == 0:
        with pa.ipc.open_stream(out) as reader:
            return reader.read_all()
    raise ValueError(f"sql: {_failure(child.returncode, err.decode(errors='replace'), limits)}")


def _too_long(limits: Limits) -> str:
    return f"not done after {limits.wall_s:g} s; read fewer rows, or ask when the machine is less busy"


def _failure(code: int, err: str, limits: Limits) -> str:
    """The child's own last word, or what its end says."""
    from store.query_child import ERROR

    spoken = [line.removeprefix(ERROR) for line in err.splitlines() if line.startswith(ERROR)]
    if spoken:
        return spoken[-1]
    if code == -signal.SIGXCPU:
        return f"not done after {limits.cpu_s:g} s of computing; read fewer rows"
    if code == -signal.SIGALRM:
        return _too_long(limits)
    last = one_line(err.strip().split("\n")[-1]) or f"exit {code}"
    return f"ended without an answer ({last}), most likely for memory; it may use {limits.memory_mib} MiB"
