"""Vectors near a vector, over an embeddings table at a pinned version: exactly, or by an index once the table is large.

Lance keeps the index beside the table; rows that came after it are searched one by one, so an old index misses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from store.ledger import Ledger
from store.record import ROWS_PER_PIECE, Record

COLUMN = "vector"
INDEX_NAME = "vector_idx"
INDEX_FROM_ROWS = 200_000
"""Below it a pass over all vectors for a few thousand new ones takes less time than an index is worth."""
VECTORS_PER_PARTITION, ROUNDS = 40, 10
"""What the index's partitions and codes are learnt from, and how long: by Lance's own 256 and 50 a million vectors of 1280
take most of an hour on one core, and no neighbour more is found (`python -m benchmarks.dedup`)."""
NUM_PROBES = 32
REFINE_FACTOR = 4
"""By the index four times as many are found as are asked for, and then ordered by their exact cosine."""
BLOCK_ROWS = 8192


@dataclass(frozen=True)
class Near:
    """One clip near another one, and the cosine of their vectors."""

    clip: str
    other: str
    cosine: float


def vectors_of(
    record: Record, versions: Mapping[str, int], table: str, clip_ids: Sequence[str]
) -> dict[str, np.ndarray]:
    """By clip id: its vector, float32 (D,); clips without one are left out."""
    dataset = _opened(record, versions, table)
    if dataset is None or not clip_ids:
        return {}
    told = ", ".join("'" + c.replace("'", "''") + "'" for c in clip_ids)
    rows = dataset.to_table(columns=["clip_id", COLUMN], filter=f"clip_id IN ({told}) AND {COLUMN} IS NOT NULL")
    return dict(zip(rows["clip_id"].to_pylist(), _matrix(rows[COLUMN]), strict=True))


def matrix_of(
    record: Record, versions: Mapping[str, int], table: str, clip_ids: pa.Array
) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of these clips in their order, float32 (N, D), and which of them have one, bool (N,)."""
    dataset = _opened(record, versions, table)
    there_N = np.zeros(len(clip_ids), bool)
    if dataset is None:
        return np.zeros((len(clip_ids), 0), np.float32), there_N
    dim = dataset.schema.field(COLUMN).type.list_size
    made_ND = np.zeros((len(clip_ids), dim), np.float32)
    names = clip_ids.cast(pa.string())
    for batch in dataset.to_batches(
        columns=["clip_id", COLUMN], filter=f"{COLUMN} IS NOT NULL", batch_size=ROWS_PER_PIECE
    ):
        at = pc.index_in(batch["clip_id"], value_set=names)
        asked = np.asarray(at.is_valid())
        places = at.fill_null(0).to_numpy(zero_copy_only=False)[asked]
        made_ND[places] = _matrix(pa.chunked_array([batch[COLUMN]]))[asked]
        there_N[places] = True
    return made_ND, there_N


def nearest(
    record: Record,
    versions: Mapping[str, int],
    table: str,
    asked: Mapping[str, np.ndarray],
    *,
    k: int,
    apart: Mapping[str, str],
    least: float,
) -> list[Near]:
    """For each clip asked the `k` nearest of a cosine of at least `least`, among clips that `apart` names and puts into
    another group (a clip's video, say).

    Vectors have length 1. The index, where there is one, finds most of them; without it all are found.
    """
    dataset = _opened(record, versions, table)
    if dataset is None or not asked:
        return []
    if _is_indexed(dataset):
        return _by_index(dataset, asked, k, apart, least)
    return _exact(dataset, asked, k, apart, least)


def keep_indexed(record: Record, ledger: Ledger, table: str) -> bool:
    """Builds the index once the table is large, and again when as many rows have come since as it holds.

    It is built beside the table, for minutes, and published in a short commit turn; killed before, nothing has
    changed. Gives whether one was published.
    """
    dataset = record.open(table)
    if dataset is None or dataset.count_rows() < INDEX_FROM_ROWS:
        return False
    if _is_indexed(dataset):
        stats = dataset.stats.index_stats(INDEX_NAME)
        if stats["num_unindexed_rows"] <= stats["num_indexed_rows"]:
            return False
    fragments = [f.fragment_id for f in dataset.get_fragments()]
    dim = dataset.schema.field(COLUMN).type.list_size
    segment = dataset.create_index_uncommitted(
        COLUMN,
        "IVF_PQ",
        name=INDEX_NAME,
        metric="cosine",
        replace=True,
        num_partitions=max(1, int(np.sqrt(dataset.count_rows()))),
        num_sub_vectors=max(d for d in (1, 2, 4, 8, 16, 32, 40, 80) if dim % d == 0),
        fragment_ids=fragments,
        sample_rate=VECTORS_PER_PARTITION,
        max_iters=ROUNDS,
    )
    with ledger.turn() as turn:
        now = record.open(table)
        assert now is not None
        if not {f.fragment_id for f in now.get_fragments()}.issuperset(fragments):
            return False  # compacted meanwhile: the segment speaks of rows that have moved
        turn.check()
        turn.publish({table: now.commit_existing_index_segments(INDEX_NAME, COLUMN, [segment]).version})
    return True


def _opened(record: Record, versions: Mapping[str, int], table: str) -> lance.LanceDataset | None:
    return record.open(table, versions[table]) if table in versions else None


def _is_indexed(dataset: lance.LanceDataset) -> bool:
    return any(index.name == INDEX_NAME for index in dataset.describe_indices())


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    array = column.combine_chunks()
    return np.asarray(array.flatten().to_numpy(zero_copy_only=False)).reshape(-1, column.type.list_size)


def _by_index(
    dataset: lance.LanceDataset, asked: Mapping[str, np.ndarray], k: int, apart: Mapping[str, str], least: float
) -> list[Near]:
    found = []
    for clip, vector in asked.items():
        # The clips of its own video are among the nearest and are none of its copies: then it looks farther.
        for wider in (2, 16):
            query = {"column": COLUMN, "q": vector, "k": wider * k, "metric": "cosine"}
            query |= {"nprobes": NUM_PROBES, "refine_factor": REFINE_FACTOR}
            rows = dataset.to_table(columns=["clip_id", "_distance"], nearest=query)
            told = zip(rows["clip_id"].to_pylist(), (1 - rows["_distance"].to_numpy()).tolist(), strict=True)
            near = [Near(clip, other, round(cosine, 4)) for other, cosine in told if cosine >= least]
            others = [n for n in near if n.other in apart and apart[n.other] != apart[clip]]
            if len(others) >= k or len(near) < wider * k:
                break
        found += sorted(others, key=lambda n: (-n.cosine, n.other))[:k]
    return found


def _exact(
    dataset: lance.LanceDataset, asked: Mapping[str, np.ndarray], k: int, apart: Mapping[str, str], least: float
) -> list[Near]:
    """Pass over the table block by block; what is held at a time does not grow with it."""
    clips = list(asked)
    queries_QD = np.stack([asked[c] for c in clips])
    groups = np.array([apart[c] for c in clips])
    best_QK = np.full((len(clips), k), -1.0)
    names_QK = np.full((len(clips), k), None, object)
    for batch in dataset.to_batches(columns=["clip_id", COLUMN], filter=f"{COLUMN} IS NOT NULL", batch_size=BLOCK_ROWS):
        ids = np.array(batch["clip_id"].to_pylist(), object)
        own = np.array([apart.get(i, "") for i in ids])
        vectors_ND = np.asarray(batch[COLUMN].flatten().to_numpy(zero_copy_only=False)).reshape(len(ids), -1)
        # Rounded, so that the last bit of a product, which depends on the block, decides nothing.
        cosine_QN = np.round(queries_QD @ vectors_ND.T, 4).astype(np.float64)
        cosine_QN[(cosine_QN < least) | (own == "")[None] | (own[None] == groups[:, None])] = -1.0
        for q in np.flatnonzero(cosine_QN.max(axis=1) > best_QK.min(axis=1)):
            cosines = np.concatenate([best_QK[q], cosine_QN[q]])
            first = np.argpartition(-cosines, k - 1)[:k]
            best_QK[q], names_QK[q] = cosines[first], np.concatenate([names_QK[q], ids])[first]
    found = []
    for clip, cosines, names in zip(clips, best_QK, names_QK, strict=True):
        told = [Near(clip, n, float(c)) for c, n in zip(cosines, names, strict=True) if n is not None and c > -1]
        found += sorted(told, key=lambda n: (-n.cosine, n.other))
    return found
