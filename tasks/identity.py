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
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl

from store.record import Batch, table_of
from store.schema import IDENTITIES
from store.workspace import Reader, Workspace
from tasks import face_links
from tasks.face_links import LINK_COSINE, MAX_LINKS, SIGNAL, VECTOR, Faces, Near, nearest_of_all
from tasks.rollout import serving
from tasks.signals import discover

JOIN_COSINE = 0.45
"""Two groups are joined by a link only if all their pairs have at least this cosine on average."""
LINKS_AT_ONCE = 4096
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
        f"SELECT bit_xor(xor(md5_number_lower(clip_id), digest)) FROM ({face_links.CLIPS})",
        [serving(reader, [SIGNAL])[SIGNAL]],
    ).item()
    return [] if told is None else [(FINGERPRINT, int(told))]


def assign(workspace: Workspace) -> int:
    """Brings `face_links` and `identities` up to date; gives the number of clips whose identity was written, none when
    nothing changed.

    Killed at any point, the next run goes on behind the last commit. Raises ValueError when others commit all the time.
    """
    tries = 0
    while True:
        with workspace.views() as reader:
            if not has_stale(reader):
                return 0
            faces = face_links.read(workspace, reader)
            if faces.is_behind:
                if tries == MAX_TRIES:
                    raise ValueError("clips come and go, or are being erased, all the time; run it again")
                face_links.bring_up_to_date(workspace, reader, faces)
                tries += 1
                continue
            rows = changed_rows(reader, faces)
            batch = Batch()
            batch.add("identities", rows.select(IDENTITIES.names).to_arrow().cast(IDENTITIES))
            stamp = [
                {"clip_id": WATERMARK, "fingerprint": f, "input_digest": d, "computed_at": time.time()}
                for f, d in _watermark(reader)
            ]
            batch.add("identities", table_of(stamp, IDENTITIES))
            if batch.empty:
                return 0
            try:
                # Names depend on the rows that were read: were others written since, it is done again.
                workspace.commit(batch, expected=reader.manifest)
                return len(rows)
            except ValueError:
                tries += 1
                if tries >= MAX_TRIES:
                    raise


def changed_rows(reader: Reader, faces: Faces) -> pl.DataFrame:
    """Rows of `identities` that differ from those stored, for all active clips with a current face embedding."""
    groups_N = grouped(faces.vectors, faces.near)
    told = faces.shown.select("clip_id", before="identity").with_columns(group=pl.Series(groups_N, dtype=pl.Int64))
    names = told.select("clip_id", now=names_of(told, reader))
    changed = faces.clips.join(names, on="clip_id", how="left").filter(
        pl.col("now").ne_missing(pl.col("identity"))
        | pl.col("fingerprint").ne_missing(pl.lit(FINGERPRINT))
        | pl.col("input_digest").ne_missing(pl.col("digest"))
    )
    stamp = {"fingerprint": pl.lit(FINGERPRINT), "computed_at": pl.lit(time.time())}
    return changed.select("clip_id", "video_id", identity="now", input_digest="digest", **stamp).sort("clip_id")


def groups_of(vectors_ND: np.ndarray, link: float = LINK_COSINE, join: float = JOIN_COSINE) -> np.ndarray:
    """Number of the group (N,) of each vector of length 1; -1 for `join` gives plain connected components."""
    return grouped(vectors_ND, nearest_of_all(vectors_ND, link), join)


def grouped(vectors_ND: np.ndarray, near: Near, join: float = JOIN_COSINE) -> np.ndarray:
    """The same from links that are known.

    They are taken by falling cosine. The mean cosine of all pairs of two groups is the product of the sums of their vectors
    over that of their sizes, so the check costs the same whatever their size.
    """
    parent = list(range(len(vectors_ND)))
    sums: dict[int, np.ndarray] = {}
    sizes: dict[int, int] = {}

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def total(i: int) -> np.ndarray:
        return sums[i] if i in sums else vectors_ND[i].astype(np.float64)

    _, first, second = near.pairs()
    start, step = 0, LINKS_AT_ONCE
    while start < len(first):
        # Most links are within a group by the time they are met: these are passed over at once.
        now = _roots(parent)
        ones, others = now[first[start : start + step]], now[second[start : start + step]]
        apart = ones != others
        for i, j in zip(ones[apart].tolist(), others[apart].tolist(), strict=True):
            a, b = sorted((root(i), root(j)))
            if a == b:
                continue
            sum_a, sum_b, pairs = total(a), total(b), sizes.get(a, 1) * sizes.get(b, 1)
            if round(float(sum_a @ sum_b / pairs), 5) < join:
                continue
            parent[b] = a
            sums[a] = sum_a + sum_b
            sizes[a] = sizes.get(a, 1) + sizes.pop(b, 1)
            sums.pop(b, None)
        start, step = start + step, 2 * step
    return _roots(parent)


def _roots(parent: list[int]) -> np.ndarray:
    now = np.array(parent, np.int64)
    while (farther := now[now]).tobytes() != now.tobytes():
        now = farther
    return now


def names_of(told: pl.DataFrame, reader: Reader) -> pl.Series:
    """By row of (clip_id, group, before: the id it had) the id of its group, as `named` gives it."""
    had = told.filter(pl.col("before").is_not_null())
    by_group = had.group_by("group").agg(olds=pl.col("before").n_unique(), name=pl.col("before").first())
    by_name = had.group_by(name="before").agg(groups=pl.col("group").n_unique())
    # Of nearly all groups all had one id, and nobody else had it.
    settled = by_group.filter(pl.col("olds") == 1).join(by_name.filter(pl.col("groups") == 1), on="name")
    names = told.join(settled.select("group", "name"), on="group", how="left", maintain_order="left")["name"]
    open_N = names.is_null()
    if not open_N.any():
        return names
    taken = set(reader.sql("SELECT DISTINCT identity FROM identities")["identity"]) | set(had["before"].unique())
    rest = told.filter(open_N)
    clips, before = rest["clip_id"].to_list(), dict(rest.select("clip_id", "before").iter_rows())
    made = named(clips, rest["group"].to_numpy(), before, taken)
    at = np.flatnonzero(open_N.to_numpy())
    return names.scatter(at, [made[clip] for clip in clips])


def named(
    clip_ids: Sequence[str], groups: np.ndarray, before: Mapping[str, str | None], taken: Iterable[str] = ()
) -> dict[str, str]:
    """By clip: the id of its group.

    A group keeps the id that most of its clips had; of two groups that lay together the larger keeps it. A new group
    is named for the least of its clips' ids, so that the same footage gives the same names; never by one that is `taken`.
    """
    members: dict[int, list[str]] = {}
    for clip, group in zip(clip_ids, groups.tolist(), strict=True):
        members.setdefault(group, []).append(clip)
    shared = Counter((old, g) for g, clips in members.items() for c in clips if (old := before.get(c)))
    least = {g: min(clips) for g, clips in members.items()}
    names: dict[int, str] = {}
    kept: set[str] = set()
    for (old, group), _ in sorted(shared.items(), key=lambda kv: (-kv[1], kv[0][0], least[kv[0][1]])):
        if group not in names and old not in kept:
            names[group] = old
            kept.add(old)
    used = {*kept, *taken, *(old for old in before.values() if old)}
    for group in sorted(members.keys() - names.keys(), key=least.__getitem__):
        names[group] = _new_name(least[group], used)
        used.add(names[group])
    return {clip: names[group] for group, clips in members.items() for clip in clips}


def _new_name(founder: str, taken: set[str]) -> str:
    for number in range(len(taken) + 1):
        name = hashlib.sha256(f"identity:{founder}:{number}".encode()).hexdigest()[:16]
        if name not in taken:
            break
    return name


def _has_faces(reader: Reader) -> bool:
    """Whether the workspace has face embeddings at all; a set of signals without them makes no identities."""
    return SIGNAL in discover() and f"{SIGNAL}_status" in reader.columns("signals")
