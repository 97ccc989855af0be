"""Near-duplicates over all clips: re-encoded, cropped, mirrored and re-timed copies; the best of them is kept.

Two steps, so that nothing is compared twice. *Comparing* takes the clips that are new, or whose picture or movement
changed, finds by the stored embeddings what looks like them, and by their temporal signatures what shows the same
moment; each pair found is a row of `duplicate_pairs` that holds as long as both clips are what they were. *Choosing*
goes over the pairs alone: the best clip first, each is kept unless it is a copy of one that is kept. So a clip whose
better copy is retired, quarantined, erased or graded lower comes back by itself, and a chain of clips that overlap
by parts never drops one that no kept clip shows.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from store.nearest import keep_indexed, nearest, vectors_of
from store.record import Batch, table_of
from store.schema import DUPLICATE_PAIRS, DUPLICATES, MADE_FROM, embeddings_table
from store.timelines import unpacked
from store.workspace import Reader, Workspace
from tasks.rollout import serving
from tasks.signals import discover
from tasks.temporal_match import CHANNELS, OVERLAP_RATIO, SPEEDS, STILL, agreement

SIGNALS = MADE_FROM["duplicates"]
EMBEDDING, SIGNATURE, QUALITY = SIGNALS
TABLE = embeddings_table(EMBEDDING, "video")
MIN_COSINE = 0.75
"""Looks alike at all: of 10 people who appear in no scorecard, at 224 px, copies coded anew at half the size with JPEG 25
whose movements agree have 0.757 and more but for one (0.722), and movements of two people agree by chance below 0.745."""
MIN_AGREEMENT = 0.62
"""Same moment: on the same people copies agree by 0.64 and more, other moments of one scene by 0.60 at most."""
MAX_CANDIDATES = 64
QUALITY_STEP = 0.5
"""Of 5. Grades in one step are equal, and the larger picture wins: a smaller copy coded anew is graded up to 0.4 higher
than what it was made from, since enlargement and grain hide in it."""
OUT_OF_COMPETITION = "its video is quarantined or removed"
CHUNK = 2000
"""Clips compared between two commits."""
MAX_TRIES = 5
WATERMARK = "*"
"""Key of the one row of `duplicates` that is no clip: the digest of all that the table was made from."""

COMPARED_BY = hashlib.sha256(
    json.dumps(
        ["duplicate_pairs", 1, *SIGNALS[:2], MIN_COSINE, MIN_AGREEMENT, MAX_CANDIDATES, SPEEDS, OVERLAP_RATIO, STILL]
    ).encode()
).hexdigest()[:16]
FINGERPRINT = hashlib.sha256(json.dumps(["duplicates", 2, COMPARED_BY, QUALITY, QUALITY_STEP]).encode()).hexdigest()[
    :16
]


@dataclass(frozen=True)
class Clip:
    """What choosing knows of a clip. `grade` None where quality says nothing."""

    clip_id: str
    grade: float | None
    pixels: int
    duration_s: float
    has_sound: bool = True
    competes: bool = True
    """False while its video is quarantined or removed."""

    @property
    def rank(self) -> tuple[float, int, bool, float, str]:
        """Smaller is better: quality in steps, then resolution, sound, length, and the id so that it is always decided."""
        steps = -1 if self.grade is None else round(self.grade / QUALITY_STEP)
        return -steps, -self.pixels, not self.has_sound, -self.duration_s, self.clip_id


@dataclass(frozen=True)
class Choice:
    cluster: str | None
    kept: bool
    best: str | None = None
    reason: str | None = None


def has_stale(reader: Reader) -> bool:
    """Whether the clips that take part, what they hold or the recipe are others than when the tables were written."""
    if not _has_signals(reader):
        return False
    held = "SELECT fingerprint, input_digest FROM _duplicates WHERE clip_id = ?"
    return _watermark(reader) != reader.sql(held, [WATERMARK]).rows()


def bring_up_to_date(workspace: Workspace) -> int:
    """Compares the clips that were not yet, then chooses; gives the number of clips compared, 0 when none changed.

    Killed at any point, the next run goes on behind the last commit. Raises ValueError when others commit all the time.
    """
    with workspace.views() as reader:
        if not has_stale(reader):
            return 0
    keep_indexed(workspace.record, workspace.ledger, TABLE)
    num_compared = 0
    while num := compare(workspace):
        num_compared += num
    choose(workspace)
    return num_compared


def compare(workspace: Workspace, chunk: int = CHUNK) -> int:
    """Compares up to `chunk` clips with all that stand, and commits the pairs; gives how many there were."""
    with workspace.views() as reader:
        clips = _clips(reader)
        fresh = (pl.col("compared_digest") != pl.col("digest")) | (pl.col("compared_by") != COMPARED_BY)
        asked = clips.filter("comparable", fresh.fill_null(True)).sort("clip_id").head(chunk)
        if asked.is_empty():
            return 0
        now = time.time()
        digests = dict(clips.select("clip_id", "digest").iter_rows())
        batch = Batch()
        batch.add("duplicate_pairs", table_of(_pairs(workspace, reader, clips, asked, digests, now), DUPLICATE_PAIRS))
        marks = [
            {"clip_id": c, "video_id": v, "compared_digest": digests[c], "compared_by": COMPARED_BY}
            for c, v in asked.select("clip_id", "video_id").iter_rows()
        ]
        batch.add("duplicates", table_of(marks, DUPLICATES).select(list(marks[0])))
    workspace.commit(batch)
    return len(asked)


def _pairs(
    workspace: Workspace,
    reader: Reader,
    clips: pl.DataFrame,
    asked: pl.DataFrame,
    digests: Mapping[str, int],
    now: float,
) -> list[dict[str, object]]:
    record, versions = workspace.record, reader.manifest.versions
    videos = dict(clips.filter("comparable").select("clip_id", "video_id").iter_rows())
    vectors = vectors_of(record, versions, TABLE, asked["clip_id"].to_list())
    near = nearest(record, versions, TABLE, vectors, k=MAX_CANDIDATES, apart=videos, least=MIN_COSINE)
    cosines = {(min(n.clip, n.other), max(n.clip, n.other)): n.cosine for n in near}
    signatures = _signatures(reader, {c for pair in cosines for c in pair})
    rows: list[dict[str, object]] = []
    for (a, b), cosine in sorted(cosines.items()):
        if (agreed := agreement(signatures[a], signatures[b])) >= MIN_AGREEMENT:
            told = {"key": f"{a}:{b}", "clip_a": a, "clip_b": b, "cosine": cosine, "agreement": agreed}
            told |= {"digest_a": digests[a], "digest_b": digests[b], "fingerprint": COMPARED_BY, "computed_at": now}
            rows.append(told)
    return rows


def _signatures(reader: Reader, clips: Iterable[str]) -> dict[str, np.ndarray]:
    """By clip: its temporal signature, float64 (T, C)."""
    reader.with_table("asked_clips", pa.table({"clip_id": pa.array(sorted(clips), pa.string())}))
    rows = reader.arrow(
        "SELECT clip_id, payload FROM _timelines JOIN asked_clips USING (clip_id) WHERE name = ?", [SIGNATURE]
    )
    made = {}
    for clip, payload in zip(rows["clip_id"].to_pylist(), rows["payload"].to_pylist(), strict=True):
        table = unpacked(payload)
        made[clip] = np.stack([table[c].to_numpy() for c in CHANNELS], axis=1).astype(np.float64)
    return made


def choose(workspace: Workspace) -> int:
    """Brings `duplicates` up to date from the pairs that hold; gives the number of clips whose row changed."""
    for attempt in range(MAX_TRIES):
        with workspace.views() as reader:
            rows = changed_rows(reader)
            batch = Batch()
            batch.add("duplicates", rows.select(DUPLICATES.names).to_arrow().cast(DUPLICATES))
            stamp = [
                {"clip_id": WATERMARK, "fingerprint": f, "input_digest": d, "computed_at": time.time()}
                for f, d in _watermark(reader)
            ]
            batch.add("duplicates", table_of(stamp, DUPLICATES))
            try:
                # The choice rests on the rows that were read: were others written since, it is made again.
                workspace.commit(batch, expected=reader.manifest)
                return len(rows)
            except ValueError:
                if attempt == MAX_TRIES - 1:
                    raise
    raise AssertionError("not reached")


def changed_rows(reader: Reader) -> pl.DataFrame:
    """Rows of `duplicates` that differ from those stored, over all clips that are decided."""
    clips = _clips(reader)
    pairs = reader.sql(
        "SELECT clip_a, clip_b, digest_a, digest_b FROM _duplicate_pairs WHERE fingerprint = ?", [COMPARED_BY]
    )
    now = clips.filter("comparable").select("clip_id", "digest")
    for side in "ab":
        pairs = pairs.join(now, left_on=[f"clip_{side}", f"digest_{side}"], right_on=["clip_id", "digest"], how="semi")
    paired = pl.DataFrame({"clip_id": pl.concat([pairs["clip_a"], pairs["clip_b"]])})
    told = [
        Clip(row["clip_id"], row["grade"], row["pixels"], row["duration_s"], row["has_sound"], row["competes"])
        for row in clips.join(paired, on="clip_id", how="semi").iter_rows(named=True)
    ]
    choices = chosen(told, pairs.select("clip_a", "clip_b").iter_rows())
    schema = {"clip_id": pl.String, "cluster": pl.String, "kept": pl.Boolean, "best": pl.String, "reason": pl.String}
    made = pl.DataFrame([(c, *vars(choice).values()) for c, choice in choices.items()], schema, orient="row")
    stored = clips.rename({c: f"stored_{c}" for c in schema if c != "clip_id"})
    # A clip without a copy needs no choice: it is kept, unless it does not compete.
    rows = stored.join(made, on="clip_id", how="left", maintain_order="left").with_columns(
        kept=pl.coalesce("kept", "competes"),
        reason=pl.when("competes").then("reason").otherwise(pl.lit(OUT_OF_COMPETITION)),
    )
    changed = [pl.col(c).ne_missing(pl.col(f"stored_{c}")) for c in schema if c != "clip_id"]
    return rows.filter(pl.any_horizontal(*changed, pl.col("fingerprint").ne_missing(pl.lit(FINGERPRINT)))).with_columns(
        fingerprint=pl.lit(FINGERPRINT), computed_at=pl.lit(time.time()), input_digest=pl.lit(None, pl.UInt64)
    )


def chosen(clips: Sequence[Clip], pairs: Iterable[tuple[str, str]]) -> dict[str, Choice]:
    """Which of the clips are kept: in order of rank each one of which no copy is kept yet. `pairs` are the copies."""
    by_id = {c.clip_id: c for c in clips}
    copies: dict[str, set[str]] = {}
    for a, b in pairs:
        if by_id[a].competes and by_id[b].competes:
            copies.setdefault(a, set()).add(b)
            copies.setdefault(b, set()).add(a)
    cluster = _clusters(copies)
    made: dict[str, Choice] = {}
    for clip in sorted(clips, key=lambda c: c.rank):
        name = cluster.get(clip.clip_id)
        better = [by_id[c] for c in copies.get(clip.clip_id, ()) if c in made and made[c].kept]
        if not clip.competes:
            made[clip.clip_id] = Choice(None, False, None, OUT_OF_COMPETITION)
        elif better:
            best = min(better, key=lambda c: c.rank)
            made[clip.clip_id] = Choice(name, False, best.clip_id, reason(clip, best))
        else:
            made[clip.clip_id] = Choice(name, True)
    return made


def reason(clip: Clip, best: Clip) -> str:
    """Why `best` is kept in place of its copy."""
    grades = [None if c.grade is None else round(c.grade / QUALITY_STEP) for c in (clip, best)]
    if grades[0] != grades[1]:
        told = ["no quality" if c.grade is None else f"quality {c.grade:.2f}" for c in (clip, best)]
    elif clip.pixels != best.pixels:
        told = [f"{c.pixels:,} px" for c in (clip, best)]
    elif clip.has_sound != best.has_sound:
        told = ["sound" if c.has_sound else "no sound" for c in (clip, best)]
    elif clip.duration_s != best.duration_s:
        told = [f"{c.duration_s:.2f} s" for c in (clip, best)]
    else:
        return f"copy of {best.clip_id}, equal in all, of the lesser id"
    return f"copy of {best.clip_id}: {told[0]} against {told[1]}"


def _clusters(copies: Mapping[str, set[str]]) -> dict[str, str]:
    """By clip that has a copy: the least id of all that copies connect with it."""
    names: dict[str, str] = {}
    for first in sorted(copies):
        queue = [first] if first not in names else []
        while queue:
            clip = queue.pop()
            if clip not in names:
                names[clip] = first
                queue.extend(copies[clip])
    return names


def _watermark(reader: Reader) -> list[tuple[str, int]]:
    """What the row WATERMARK must hold."""
    told = reader.sql(f"SELECT bit_xor(xor(md5_number_lower(clip_id), choice_digest)) FROM ({_decided(reader)})").item()
    return [(FINGERPRINT, int(told or 0))]


def _clips(reader: Reader) -> pl.DataFrame:
    return reader.sql(f"SELECT * FROM ({_decided(reader)}) ORDER BY clip_id")


def _decided(reader: Reader) -> str:
    """Active clips whose three signals have ended, with their rows as stored."""
    ended = " AND ".join(
        f"s.{n}_status IN ('ok', 'not_applicable', 'failed_permanent') AND s.{n}_fingerprint = '{fingerprint}'"
        for n, fingerprint in serving(reader, SIGNALS).items()
    )
    return f"""
        SELECT *, md5_number_lower(concat_ws('|', digest, coalesce(grade, -1), pixels, duration_s, has_sound, competes,
            comparable)) AS choice_digest
        FROM (SELECT c.clip_id, c.video_id, c.duration_s, s.{QUALITY}_quality AS grade,
            coalesce(c.source_width_px::BIGINT * c.source_height_px, 0) AS pixels,
            coalesce(v.has_audio, false) AS has_sound, v.state NOT IN ('quarantined', 'removed') AS competes,
            s.{EMBEDDING}_status = 'ok' AND s.{SIGNATURE}_status = 'ok' AS comparable,
            md5_number_lower(concat_ws('|', s.{EMBEDDING}_output_digest, s.{SIGNATURE}_output_digest)) AS digest,
            d.cluster, d.kept, d.best, d.reason, d.fingerprint, d.compared_digest, d.compared_by
        FROM clips c JOIN signals s USING (clip_id) JOIN videos v ON v.video_id = c.video_id
        LEFT JOIN _duplicates d ON d.clip_id = c.clip_id
        WHERE {ended})"""


def _has_signals(reader: Reader) -> bool:
    """Whether the workspace has what clips are compared by; a set of signals without them makes no duplicates."""
    columns = reader.columns("signals")
    return all(n in discover() and f"{n}_status" in columns for n in SIGNALS)
