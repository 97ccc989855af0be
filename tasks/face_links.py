"""Which clips' faces lie near each other: by clip its nearest ones, held in `face_links` and kept up to date.

A clip that is new, or whose face changed, is compared with all others once, block by block; it also enters the rows of
those that it is nearer to than their farthest. A row that loses one of its nearest is filled up by comparing its clip again,
if there may be more than the row held. So the rows are always those that comparing everybody with everybody would give,
in whatever order clips came and went.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from store.ledger import Manifest
from store.nearest import matrix_of
from store.record import Batch
from store.schema import FACE_LINKS, embeddings_table
from store.workspace import Reader, Workspace
from tasks.rollout import serving

SIGNAL, VECTOR = "face_embedding", "face"
VECTORS = embeddings_table(SIGNAL, VECTOR)
TABLE = "face_links"
LINK_COSINE = 0.5
"""Two clips with nearer vectors are linked. On 81 clips of 60 people the likest strangers reach 0.43, and the same
person in another recording 0.93."""
MAX_LINKS = 32
"""Each clip's nearest; more would only say again that a person of a thousand clips is one person."""
CHUNK = 2048
"""Clips compared between two commits."""
BLOCK = 2048
PAIRS_AT_ONCE = 16_384
SCALE, PLACES = 100_000, 2**32
"""A cosine counts by five places, so that the last bit of a product, which depends on the block, decides nothing; of two
equal ones that of the lesser id comes first."""
MARGIN = 2e-5
"""By which a product in float32 may miss; what it lets through is multiplied again in float64."""
LINKED_BY = hashlib.sha256(json.dumps(["face_links", 1, SIGNAL, VECTOR, LINK_COSINE, MAX_LINKS]).encode()).hexdigest()[
    :16
]

CLIPS = f"""
    SELECT c.clip_id, c.video_id, s.{SIGNAL}_status AS status, try_cast(s.{SIGNAL}_output_digest AS UBIGINT) AS digest,
           i.identity, i.fingerprint, i.input_digest
    FROM clips c JOIN signals s USING (clip_id) LEFT JOIN _identities i ON i.clip_id = c.clip_id
    WHERE s.{SIGNAL}_status IN ('ok', 'not_applicable', 'failed_permanent') AND s.{SIGNAL}_fingerprint = ?"""
"""Active clips whose face embedding is of the version that serves, with their rows of `identities` as stored."""


@dataclass
class Near:
    """By clip, in order of ids, the places of its nearest clips (-1: none) and their cosines times SCALE, falling; both
    int32 (N, K)."""

    others: np.ndarray
    cosines: np.ndarray

    @classmethod
    def nobody(cls, num: int, most: int) -> Near:
        return cls(np.full((num, most), -1, np.int32), np.zeros((num, most), np.int32))

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(cosine times SCALE, i, j), i < j, of every pair of which one is near to the other, the nearest first."""
        at, rank = np.nonzero(self.others >= 0)
        other, cosine = self.others[at, rank].astype(np.int64), self.cosines[at, rank]
        i, j = np.minimum(at, other), np.maximum(at, other)
        _, first = np.unique(i * len(self.others) + j, return_index=True)
        order = first[np.argsort(-cosine[first], kind="stable")]
        return cosine[order], i[order], j[order]

    def put(self, at_P: np.ndarray, other_P: np.ndarray, cosine_P: np.ndarray) -> None:
        """Makes the rows of the clips `at_P` anew from these pairs, of which each row holds the nearest."""
        most = self.others.shape[1]
        order = np.lexsort((-_score(cosine_P, other_P), at_P))
        at, other, cosine = at_P[order], other_P[order], cosine_P[order]
        rank = _rank(at)
        kept = rank < most
        self.others[at], self.cosines[at] = -1, 0
        self.others[at[kept], rank[kept]], self.cosines[at[kept], rank[kept]] = other[kept], cosine[kept]


def compare(
    near: Near, vectors_ND: np.ndarray, asked_Q: np.ndarray, link: float, standing_N: np.ndarray | None = None
) -> np.ndarray:
    """Compares the clips asked for with all, float32 of length 1, and gives the places of all rows that are made anew:
    theirs, and those of standing ones that have one of them among their nearest now."""
    most = near.others.shape[1]
    low_Q = np.full(len(asked_Q), link - MARGIN, np.float32)
    open_N = None if standing_N is None or not standing_N.any() else _floors(near, standing_N, link)
    floor_N = None if open_N is None else (open_N // PLACES / SCALE - MARGIN).astype(np.float32)
    found: list[tuple[np.ndarray, ...]] = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int32))]
    entering = list(found)
    for start in range(0, len(vectors_ND), BLOCK):
        cosine_QB = vectors_ND[asked_Q] @ vectors_ND[start : start + BLOCK].T
        found.append(_exact(vectors_ND, asked_Q, start, cosine_QB >= low_Q[:, None], link))
        if open_N is not None and floor_N is not None:
            q, n, cosine = _exact(vectors_ND, asked_Q, start, cosine_QB >= floor_N[None, start : start + BLOCK], link)
            beats = _score(cosine, asked_Q[q]) > open_N[n]
            entering.append((asked_Q[q][beats], n[beats], cosine[beats]))
        if sum(len(part[0]) for part in found) > 4 * most * len(asked_Q):
            found = [_pruned(*_joined(found), most, low_Q)]
    near.others[asked_Q], near.cosines[asked_Q] = -1, 0
    q, n, cosine = _joined(found)
    near.put(asked_Q[q], n, cosine)
    return np.union1d(asked_Q, _entered(near, *_joined(entering)))


def nearest_of_all(vectors_ND: np.ndarray, link: float = LINK_COSINE) -> Near:
    """Everybody compared with everybody, at one go."""
    vectors_ND = np.asarray(vectors_ND, np.float32)
    near = Near.nobody(len(vectors_ND), MAX_LINKS)
    for start in range(0, len(vectors_ND), CHUNK):
        compare(near, vectors_ND, np.arange(start, min(start + CHUNK, len(vectors_ND))), link)
    return near


def _score(cosine_P: np.ndarray, other_P: np.ndarray) -> np.ndarray:
    """One number by which a pair comes before another one."""
    return cosine_P.astype(np.int64) * PLACES + (PLACES - 1 - other_P.astype(np.int64))


def _rank(sorted_P: np.ndarray) -> np.ndarray:
    """Of each entry its place within the run of equal ones."""
    first = np.flatnonzero(np.diff(sorted_P, prepend=-1))
    return np.arange(len(sorted_P)) - np.repeat(first, np.diff(first, append=len(sorted_P)))


def _floors(near: Near, standing_N: np.ndarray, link: float) -> np.ndarray:
    """By clip the score that one must beat to enter its row; nothing enters a row that is to be made anew."""
    last = _score(near.cosines[:, -1], near.others[:, -1])
    floor = np.where(near.others[:, -1] >= 0, last, round(link * SCALE) * PLACES)
    return np.where(standing_N, floor, (SCALE + 1) * PLACES)


def _exact(
    vectors_ND: np.ndarray, asked_Q: np.ndarray, start: int, may_be_QB: np.ndarray, link: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(query, place, cosine times SCALE) of those that are linked, multiplied in float64."""
    q, n = np.divmod(np.flatnonzero(may_be_QB), may_be_QB.shape[1])
    n += start
    told = np.zeros(len(q), np.int32)
    for first in range(0, len(q), PAIRS_AT_ONCE):
        some = slice(first, first + PAIRS_AT_ONCE)
        pair = vectors_ND[asked_Q[q[some]]].astype(np.float64), vectors_ND[n[some]].astype(np.float64)
        told[some] = np.rint(np.einsum("pd,pd->p", *pair) * SCALE)
    linked = (told >= round(link * SCALE)) & (asked_Q[q] != n)
    return q[linked], n[linked], told[linked]


def _joined(parts: list[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    a, b, c = (np.concatenate(column) for column in zip(*parts, strict=True))
    return a, b, c


def _pruned(
    q: np.ndarray, n: np.ndarray, cosine: np.ndarray, most: int, low_Q: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each query's nearest so far; what is farther than the last of a full row need not be looked at any more."""
    order = np.lexsort((-_score(cosine, n), q))
    rank = _rank(q[order])
    last = order[rank == most - 1]
    low_Q[q[last]] = cosine[last] / SCALE - MARGIN
    kept = order[rank < most]
    return q[kept], n[kept], cosine[kept]


def _entered(near: Near, new: np.ndarray, at: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """Puts clips into the rows `at` of clips that stand; gives the places of these rows."""
    known = np.zeros(len(at), bool)
    for start in range(0, len(at), PAIRS_AT_ONCE):
        some = slice(start, start + PAIRS_AT_ONCE)
        known[some] = (near.others[at[some]] == new[some, None]).any(axis=1)
    new, at, cosine = new[~known], at[~known], cosine[~known]
    rows: np.ndarray = np.unique(at)
    held_at, rank = np.nonzero(near.others[rows] >= 0)
    held = rows[held_at]
    others, cosines = near.others[held, rank], near.cosines[held, rank]
    near.put(np.concatenate([held, at]), np.concatenate([others, new]), np.concatenate([cosines, cosine]))
    return rows


@dataclass
class Faces:
    """All clips that take part, as the store held them, by id; and of those with a face (`shown`) the vectors, the rows of
    the nearest, and which are to be compared."""

    clips: pl.DataFrame
    shown: pl.DataFrame
    vectors: np.ndarray
    near: Near
    asking: np.ndarray
    gone: pa.Table
    """(clip_id, video_id) of rows whose clip has left, or has no face any more."""

    @property
    def is_behind(self) -> bool:
        return bool(self.asking.any() or self.gone.num_rows)


def read(workspace: Workspace, reader: Reader) -> Faces:
    clips = reader.sql(f"SELECT * FROM ({CLIPS}) ORDER BY clip_id", [serving(reader, [SIGNAL])[SIGNAL]])
    shown = clips.filter(pl.col("status") == "ok", pl.col("digest").is_not_null())
    vectors_ND, there_N = matrix_of(workspace.record, reader.manifest.versions, VECTORS, shown["clip_id"].to_arrow())
    if not there_N.all():
        shown, vectors_ND = shown.filter(pl.Series(there_N)), vectors_ND[there_N]
    ids, digests = shown["clip_id"].to_arrow().cast(pa.string()), shown["digest"].to_numpy()
    near, asking, gone = Near.nobody(len(shown), MAX_LINKS), np.ones(len(shown), bool), []
    columns = ["clip_id", "video_id", "digest", "fingerprint", "others", "cosines", "digests"]
    for batch in workspace.record.pieces(reader.manifest, TABLE, columns):
        gone.append(_placed(batch, ids, digests, near, asking))
    told = pa.Table.from_batches(gone, pa.schema([FACE_LINKS.field("clip_id"), FACE_LINKS.field("video_id")]))
    return Faces(clips, shown, vectors_ND, near, asking, told)


def _placed(
    batch: pa.RecordBatch, ids: pa.Array, digests: np.ndarray, near: Near, asking: np.ndarray
) -> pa.RecordBatch:
    """Puts stored rows where they belong, as far as they hold; gives (clip_id, video_id) of those that name nobody."""
    at = _places(batch["clip_id"], ids)
    stored = batch["digest"].fill_null(0).to_numpy(zero_copy_only=False)
    told = pc.and_(batch["digest"].is_valid(), pc.equal(batch["fingerprint"], LINKED_BY)).fill_null(False)
    holds = (at >= 0) & np.asarray(told) & (digests[at] == stored if len(digests) else False)
    others = batch["others"]
    lengths = others.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    row = np.repeat(np.arange(batch.num_rows), lengths)
    other = _places(others.flatten(), ids)
    as_it_was = batch["digests"].flatten().to_numpy(zero_copy_only=False).view(np.uint64)
    fits = (other >= 0) & (digests[other] == as_it_was if len(digests) else False)
    lost = np.bincount(row[~fits], minlength=batch.num_rows) > 0
    asking[at[holds]] = (lost & (lengths >= near.others.shape[1]))[holds]
    kept = fits & holds[row]
    cosine = np.rint(batch["cosines"].flatten().to_numpy(zero_copy_only=False).astype(np.float64) * SCALE)
    near.put(at[row[kept]], other[kept], cosine[kept].astype(np.int32))
    left = pa.array((at < 0) & np.asarray(batch["digest"].is_valid()))
    return pa.RecordBatch.from_arrays(
        [batch["clip_id"].filter(left), batch["video_id"].filter(left)], ["clip_id", "video_id"]
    )


def _places(names: pa.Array, ids: pa.Array) -> np.ndarray:
    return np.asarray(pc.index_in(names, value_set=ids).fill_null(-1).to_numpy(zero_copy_only=False), np.int64)


def bring_up_to_date(workspace: Workspace, reader: Reader, faces: Faces) -> bool:
    """Compares the clips that ask, and commits their rows chunk by chunk; False when others wrote such rows meanwhile: then
    it is to be read anew. Killed at any point, the next run goes on behind the last commit."""
    held: Manifest | None = None

    def commit(rows: pa.Table) -> bool:
        nonlocal held
        written = False

        def make(newest: Manifest) -> Batch:
            nonlocal written
            # Rows of others, or an erasure, which takes rows that name its clips, would be written over.
            before = held or reader.manifest
            same = newest.versions.get(TABLE) == before.versions.get(TABLE)
            written = same and (TABLE in newest.versions or newest.id == before.id)
            batch = Batch()
            if written:
                batch.add(TABLE, rows)
            return batch

        held = workspace.commit_next(make)
        return written

    # Emptied, not deleted: whoever comes back is compared again, as one who is new.
    left = pa.Table.from_pylist(faces.gone.to_pylist(), FACE_LINKS) if faces.gone.num_rows else None
    if left is not None and not commit(left):
        return False
    asking = np.flatnonzero(faces.asking)
    for start in range(0, len(asking), CHUNK):
        asked = asking[start : start + CHUNK]
        changed = compare(faces.near, faces.vectors, asked, LINK_COSINE, ~faces.asking)
        if not commit(_rows(faces, changed)):
            return False
    return True


def _rows(faces: Faces, at_R: np.ndarray) -> pa.Table:
    some = faces.shown[at_R]
    at, rank = np.nonzero(faces.near.others[at_R] >= 0)
    lengths = np.bincount(at, minlength=len(at_R))
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    others = faces.shown[faces.near.others[at_R][at, rank]]
    cosines = (faces.near.cosines[at_R][at, rank] / SCALE).astype(np.float32)

    def listed(values: pa.Array) -> pa.Array:
        return pa.ListArray.from_arrays(offsets, values)

    num = len(some)
    columns = {
        "clip_id": some["clip_id"].to_arrow().cast(pa.string()),
        "video_id": some["video_id"].to_arrow().cast(pa.string()),
        "digest": some["digest"].to_arrow(),
        "others": listed(others["clip_id"].to_arrow().cast(pa.string())),
        "cosines": listed(pa.array(cosines)),
        "digests": listed(pa.array(others["digest"].to_numpy().view(np.int64))),
        "fingerprint": pa.array([LINKED_BY] * num, pa.string()),
        "computed_at": pa.array([time.time()] * num, pa.float64()),
    }
    return pa.table(columns, schema=FACE_LINKS)
