"""An index on the key, as somebody may lay one for reads of his own: upserts must not need more memory for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from store.record import MAX_ROWS_PER_UPSERT, Batch
from store.workspace import open_workspace

NUM_ROWS, NUM_COLUMNS = 300_000, 24


@pytest.mark.slow
def test_a_btree_on_the_key_does_not_break_an_upsert(tmp_path: Path) -> None:
    """All rows in one upsert exhaust Lance's pool of 300 MB when there is an index: it joins what it would scan."""
    workspace = open_workspace(tmp_path / "workspace")
    keys = pa.array([f"{i:016x}" for i in range(NUM_ROWS)])
    base = {"clip_id": keys, "video_id": keys, "active": pa.array([True] * NUM_ROWS)}

    def commit(names: range, value: float) -> None:
        columns = {f"motion_{c}": pa.array(np.full(NUM_ROWS, value)) for c in names}
        batch = Batch()
        batch.add("signals", pa.table({**base, **columns}))
        workspace.commit(batch)

    commit(range(NUM_COLUMNS), 1.0)
    with workspace.ledger.turn() as turn:
        table = workspace.record.open("signals")
        assert table is not None
        table.create_scalar_index("clip_id", "BTREE")
        indexed = workspace.record.open("signals")
        assert indexed is not None
        turn.publish({"signals": int(indexed.version)})
    assert MAX_ROWS_PER_UPSERT * 4 < NUM_ROWS
    commit(range(2), 2.0)
    with workspace.views() as reader:
        (told,) = reader.sql(
            "SELECT count(*) AS num, count(DISTINCT clip_id) AS keys, min(motion_0) AS new, min(motion_2) AS kept FROM signals"
        ).to_dicts()
    assert told == {"num": NUM_ROWS, "keys": NUM_ROWS, "new": 2.0, "kept": 1.0}
    last = workspace.record.open("signals")
    assert last is not None
    assert [index.name for index in last.describe_indices()] == ["clip_id_idx"]
