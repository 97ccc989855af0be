"""Who is who over all clips: faces that belong together, under an id that stays as footage comes.

Clips whose face vectors lie near each other are linked, the surest link first, and linked groups are joined, as
connected components are, but only while the groups as a whole are alike: a single link, by a blurred face or one
that resembles two people, can not chain them into one. The table `identities` holds one row per clip, and what the row
was made from, so that a run plans from it like from every other table.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from store.record import Batch, table_of
from store.schema import IDENTITIES, embeddings_table
from store.workspace import Reader, Workspace
from tasks.rollout import serving
from tasks.signals import discover

SIGNAL, VECTOR = "face_embedding", "face"
LINK_COSINE = 0.5
"""Two clips with nearer vectors are linked. On 81 clips of 60 people the likest strangers reach 0.43, and the same
person in another recording 0.93."""
JOIN_COSINE = 0.45
"""Two groups are joined by a link only if all their pairs have at least this cosine on average."""
MAX_LINKS = 32
"""Each clip's nearest; more would only say again that a person of a thousand clips is one person."""
BLOCK = 2048
MAX_TRIES = 5
WATERMARK = "*"
"""Key of the one row that is no clip: the digest of all clips and vectors that the table was made from."""

FINGERPRINT = hashlib.sha256(
    json.dumps(["identities", 1, SIGNAL, VECTOR, LINK_COSINE, JOIN_COSINE, MAX_LINKS]).encode()
).hexdigest()[:16]


def has_stale(reader: Reader) -> bool:
    """Whether the clips that take part, their vectors or the recipe are others than when the table was written."""
    if not _has_faces(reader):
        return False
    return (
        _watermark(reader)
        != reader.sql("SELECT fingerprint, input_digest FROM _identities WHERE clip_id = ?", [WATERMARK]).rows()
    )


def _watermark(reader: Reader) -> list[tuple[str, int]]:
    """What the row WATERMARK must hold; empty when no clip takes part."""
    told = reader.sql(
        f"SELECT bit_xor(xor(md5_number_lower(clip_id), digest)) FROM ({_CLIPS})", [serving(reader, [SIGNAL])[SIGNAL]]
    ).item()
    return [] if told is None else [(FINGERPRINT, int(told))]


def assign(workspace: Workspace) -> int:
    """Brings `identities` up to date; gives the number of clips written, none when nothing changed.

    Raises ValueError when others commit all the time.
    """
    for attempt in range(MAX_TRIES):
        with workspace.views() as reader:
            rows = changed_rows(workspace, reader) if has_stale(reader) else []
            if not rows:
                return 0
            batch = Batch()
            batch.add("identities", table_of(rows, IDENTITIES))
            try:
                # Names depend on the rows that were read: were others written since, it is done again.
                workspace.commit(batch, expected=reader.manifest)
                return len(rows) - 1  # one is the watermark
            except ValueError:
                if attempt == MAX_TRIES - 1:
                    raise
    raise AssertionError("not reached")


def changed_rows(workspace: Workspace, reader: Reader) -> list[dict[str, object]]:
    """Rows of `identities` that differ from those stored, for all active clips with a current face embedding, and the
    watermark."""
    clips = reader.sql(f"SELECT * FROM ({_CLIPS}) ORDER BY clip_id", [serving(reader, [SIGNAL])[SIGNAL]])
    told = workspace.record.read(reader.manifest, embeddings_table(SIGNAL, VECTOR), ["clip_id", "vector"])
    vectors = pl.DataFrame(told).filter(pl.col("vector").is_not_null())
    seen = clips.filter(pl.col("status") == "ok").join(vectors, on="clip_id").sort("clip_id")
    names: dict[str, str] = {}
    if len(seen):
        vectors_ND = np.stack(seen["vector"].to_list()).astype(np.float64)
        before = dict(reader.sql("SELECT clip_id, identity FROM identities").iter_rows())
        names = named(seen["clip_id"].to_list(), groups_of(vectors_ND), before)
    stamp = {"fingerprint": FINGERPRINT, "computed_at": time.time()}
    made = [
        {
            "clip_id": row["clip_id"],
            "video_id": row["video_id"],
            "identity": name,
            "input_digest": row["digest"],
            **stamp,
        }
        for row in clips.iter_rows(named=True)
        if (name := names.get(row["clip_id"])) != row["identity"]
        or (row["fingerprint"], row["input_digest"]) != (FINGERPRINT, row["digest"])
    ]
    return [*made, *({"clip_id": WATERMARK, **stamp, "input_digest": d} for _, d in _watermark(reader))]


def groups_of(vectors_ND: np.ndarray, link: float = LINK_COSINE, join: float = JOIN_COSINE) -> np.ndarray:
    """Number of the group (N,) of each vector of length 1; -1 for `join` gives plain connected components.

    Links are taken by falling cosine. The mean cosine of all pairs of two groups is the product of the sums of
    their vectors over that of their sizes, so the check costs the same whatever their size.
    """
    parent = list(range(len(vectors_ND)))
    sums, sizes = vectors_ND.astype(np.float64).copy(), np.ones(len(vectors_ND))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for _, i, j in links(vectors_ND, link):
        a, b = sorted((root(i), root(j)))
        if a == b or round(float(sums[a] @ sums[b] / (sizes[a] * sizes[b])), 5) < join:
            continue
        parent[b] = a
        sums[a] += sums[b]
        sizes[a] += sizes[b]
    return np.array([root(i) for i in range(len(vectors_ND))], int)


def links(vectors_ND: np.ndarray, link: float) -> list[tuple[float, int, int]]:
    """(-cosine, i, j), i < j, of each vector's MAX_LINKS nearest of at least `link`, the surest first."""
    found: set[tuple[float, int, int]] = set()
    for start in range(0, len(vectors_ND), BLOCK):
        # Rounded, so that the last bit of a product, which depends on the block, decides nothing.
        cosine = np.round(vectors_ND[start : start + BLOCK] @ vectors_ND.T, 5)
        for i, row in enumerate(cosine, start):
            row[i] = -1
            near = np.flatnonzero(row >= link)
            if len(near) > MAX_LINKS:
                near = near[np.argsort(-row[near], kind="stable")[:MAX_LINKS]]
            found |= {(-float(row[j]), min(i, int(j)), max(i, int(j))) for j in near}
    return sorted(found)


def named(clip_ids: Sequence[str], groups: np.ndarray, before: Mapping[str, str | None]) -> dict[str, str]:
    """By clip: the id of its group.

    A group keeps the id that most of its clips had; of two groups that lay together the larger keeps it. A new group
    is named for the least of its clips' ids, so that the same footage gives the same names.
    """
    members: dict[int, list[str]] = {}
    for clip, group in zip(clip_ids, groups.tolist(), strict=True):
        members.setdefault(group, []).append(clip)
    shared = Counter((old, g) for g, clips in members.items() for c in clips if (old := before.get(c)))
    names: dict[int, str] = {}
    for (old, group), _ in sorted(shared.items(), key=lambda kv: (-kv[1], kv[0][0], min(members[kv[0][1]]))):
        if group not in names and old not in names.values():
            names[group] = old
    taken = {*names.values(), *(old for old in before.values() if old)}
    for group in sorted(members.keys() - names.keys(), key=lambda g: min(members[g])):
        names[group] = _new_name(min(members[group]), taken)
        taken.add(names[group])
    return {clip: names[group] for group, clips in members.items() for clip in clips}


def _new_name(founder: str, taken: set[str]) -> str:
    for number in range(len(taken) + 1):
        name = hashlib.sha256(f"identity:{founder}:{number}".encode()).hexdigest()[:16]
        if name not in taken:
            break
    return name


_CLIPS = f"""
    SELECT c.clip_id, c.video_id, s.{SIGNAL}_status AS status, try_cast(s.{SIGNAL}_output_digest AS UBIGINT) AS digest,
           i.identity, i.fingerprint, i.input_digest
    FROM clips c JOIN signals s USING (clip_id) LEFT JOIN _identities i ON i.clip_id = c.clip_id
    WHERE s.{SIGNAL}_status IN ('ok', 'not_applicable', 'failed_permanent') AND s.{SIGNAL}_fingerprint = ?"""
"""Active clips whose face embedding is of the version that serves, with their rows as stored."""


def _has_faces(reader: Reader) -> bool:
    """Whether the workspace has face embeddings at all; a set of signals without them makes no identities."""
    return SIGNAL in discover() and f"{SIGNAL}_status" in reader.columns("signals")
