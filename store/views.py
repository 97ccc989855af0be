"""The views of tier SQL and `headroom sql`: DuckDB, in memory, over Lance at the versions of one manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb
import pyarrow as pa

from store import label_views
from store.record import Record
from store.schema import BASE_SCHEMAS, columns_of

VIEWS = {
    "clips": "SELECT * EXCLUDE (active) FROM _clips WHERE active",
    "signals": "SELECT * EXCLUDE (active, video_id) FROM _signals WHERE active",  # the video is told by clips, once
    "videos": "SELECT * EXCLUDE (rejected), rejected AS prefilter_reason FROM _videos",
    "rights": "SELECT * FROM _rights",
    "timelines": "SELECT * EXCLUDE (payload) FROM _timelines",
    "clipping": "SELECT p.*, coalesce(c.active, false) AS active FROM _clipping p LEFT JOIN _clips c USING (clip_id)",
    "log": "SELECT * FROM _log",
    "identities": """SELECT i.clip_id, i.identity FROM _identities i JOIN _clips c USING (clip_id)
                     WHERE c.active AND i.identity IS NOT NULL""",
    "duplicates": """SELECT d.clip_id, d.cluster, d.kept, d.best, d.reason
                     FROM _duplicates d JOIN _clips c USING (clip_id) WHERE c.active AND d.kept IS NOT NULL""",
    "pairs": """SELECT p.clip_a, p.clip_b, p.identity, p.face_similarity, p.background_similarity,
                least(a.duration_s, b.duration_s) AS duration_s, least(a.source_width_px, a.source_height_px,
                b.source_width_px, b.source_height_px) AS short_side_px
                FROM _pairs p JOIN _clips a ON a.clip_id = p.clip_a JOIN _clips b ON b.clip_id = p.clip_b
                WHERE p.held AND p.clip_a < p.clip_b AND a.active AND b.active""",
    "label_values": label_views.VALUES,
    "labels": label_views.per_clip(),
}
"""What SQL may read, by name; `_name` is the Lance table itself."""


def connect(
    root: str, versions: Mapping[str, int], candidates: Mapping[str, str] | None = None
) -> duckdb.DuckDBPyConnection:
    """A connection with every view registered over the tables at `versions`; tables that don't exist yet are empty.

    Lance takes filters and projections pushed down through Arrow. `root` is the record's folder or s3:// prefix.
    `candidates` names narrow tables by signal: `signals` then holds their rows in place of those that readers see, NULL
    where there is none, so that one version is seen and not two.
    """
    record = Record(root)
    connection = duckdb.connect(":memory:")
    # A Lance scan can split a filter on a dictionary of strings badly; the order of rows is asked for where it matters.
    connection.execute("SET preserve_insertion_order = false")
    for table, schema in BASE_SCHEMAS.items():
        dataset = record.open(table, versions[table]) if table in versions else None
        _register(connection, f"_{table}", schema, dataset)
    for name, query in VIEWS.items():
        # Clips need not be read to find out that nobody labelled one.
        nobody = " LIMIT 0" if name == "label_values" and "labels" not in versions else ""
        connection.execute(f"CREATE VIEW {name} AS {query}{nobody}")
    if candidates:
        wide = [str(row[0]) for row in connection.execute("DESCRIBE _signals").fetchall()]
        told, joins, out = [], "", ["active", "video_id"]
        for i, (signal, table) in enumerate(sorted(candidates.items())):
            dataset = record.open(table, versions[table])
            assert dataset is not None, table
            connection.register(f"_candidate{i}", dataset)
            out += columns_of(signal, wide)
            told += [f"k{i}.{n}" for n in dataset.schema.names if n not in ("clip_id", "video_id")]
            joins += f" LEFT JOIN _candidate{i} k{i} ON k{i}.clip_id = s.clip_id"
        columns = ", ".join([f"s.* EXCLUDE ({', '.join(out)})", *told])
        connection.execute(f"CREATE OR REPLACE VIEW signals AS SELECT {columns} FROM _signals s{joins} WHERE s.active")
    return connection


def _register(connection: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema, dataset: Any) -> None:
    """A table that nothing was written to since its schema got a column has it as NULL."""
    held = schema.empty_table() if dataset is None else dataset
    later = [f.name for f in schema if f.name not in held.schema.names]
    connection.register(f"{name}_held" if later else name, held)
    if later:
        connection.register(f"{name}_nobody", schema.empty_table())
        unknown = ", ".join(f"(SELECT {column} FROM {name}_nobody) AS {column}" for column in later)
        connection.execute(f"CREATE VIEW {name} AS SELECT *, {unknown} FROM {name}_held")
