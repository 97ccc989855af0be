"""Runs one checked query, then ends: `python -m store.query_child`, started by store/guard.py.

Reads a JSON request on standard input, writes an Arrow IPC stream on standard output. Files can't be written, no
file is opened but the record's, and memory and time are bounded by the kernel.
"""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import sys
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa

from store.query_words import one_line

ERROR = "query failed: "
_ROWS_PER_BATCH = 10_000
_OVERHEAD_MIB = 512
"""Address space beside DuckDB's own limit: Arrow's and Lance's buffers, stacks of threads."""


def main() -> int:
    request = json.load(sys.stdin)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get between the rows
    try:
        from store import views

        limit_process(request)
        connection = views.connect(request["root"], request["versions"], request["candidates"])
        return answer(connection, request, out)
    except (duckdb.Error, ValueError, OSError) as error:
        return fail(str(error))
    except MemoryError:
        return fail(f"needs more than the {request['memory_mib']} MiB it may use; read fewer rows or columns")


def answer(connection: duckdb.DuckDBPyConnection, request: dict[str, Any], out: BinaryIO) -> int:
    """Runs the query over a connection that has its views, and streams the rows."""
    lock(connection, request["memory_mib"], request["threads"])
    max_rows, max_bytes = request["max_rows"], request["max_result_mib"] * 2**20
    try:
        reader: pa.RecordBatchReader = connection.sql(request["sql"]).to_arrow_reader(_ROWS_PER_BATCH)
        rows = num_bytes = 0
        with pa.ipc.new_stream(out, reader.schema) as writer:
            for batch in reader:
                rows += batch.num_rows
                num_bytes += batch.nbytes
                if rows > max_rows:
                    return fail(f"more than {max_rows} rows; add a clause or LIMIT, or allow more rows")
                if num_bytes > max_bytes:
                    return fail(f"more than {request['max_result_mib']} MiB of rows; read fewer columns or rows")
                writer.write_batch(batch)
        out.close()
    except (duckdb.OutOfMemoryException, MemoryError):
        return fail(f"needs more than the {request['memory_mib']} MiB it may use; read fewer rows or columns")
    return 0


def lock(connection: duckdb.DuckDBPyConnection, memory_mib: int, threads: int) -> None:
    """Takes from a connection whatever reaches beyond its views; can't be undone."""
    for setting in (
        f"memory_limit = '{int(memory_mib)}MiB'",
        f"threads = {int(threads)}",
        "temp_directory = ''",
        "python_enable_replacements = false",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "allow_community_extensions = false",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")


def limit_process(request: dict[str, Any]) -> None:
    """Bounds by the kernel, should DuckDB's own not hold: address space, time, and no file can grow."""
    signal.alarm(math.ceil(request["wall_s"]) + 1)  # ends the child should its parent be gone
    _at_most(resource.RLIMIT_CPU, math.ceil(request["cpu_s"]) * request["threads"] + 1, grace=1)
    _at_most(resource.RLIMIT_FSIZE, 0)
    _at_most(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":
        with open("/proc/self/statm") as statm:
            used = int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        _at_most(resource.RLIMIT_AS, used + (request["memory_mib"] + _OVERHEAD_MIB) * 2**20)


def _at_most(kind: int, value: int, grace: int = 0) -> None:
    """`grace` beyond it the kernel kills; at it, it only says so: the signal then tells which limit was met."""
    _, hard = resource.getrlimit(kind)
    most = value + grace if hard == resource.RLIM_INFINITY else min(value + grace, hard)
    resource.setrlimit(kind, (min(value, most), most))


def fail(message: str) -> int:
    sys.stderr.write(f"\n{ERROR}{one_line(message)}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
