"""Reference pairs: two clips of one person in two places, from which a model learns who somebody is and not where.

A person's clips are compared with each other whenever they are others than at the last time: one came or went, has
another face, another background. A pair is near by the face and far by the background; of each clip the pairs with the
farthest backgrounds are held. The table `pairs` holds them, and for each clip a row with itself that says with whom it
was compared, so that a run over unchanged clips asks one query and compares nobody.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from store.nearest import matrix_of
from store.record import Batch, table_of
from store.schema import MADE_FROM, PAIRS, embeddings_table
from store.workspace import Reader, Workspace
from tasks import identity
from tasks.rollout import serving
from tasks.signals import discover

FACE, BACKGROUND = MADE_FROM["pairs"]
TABLES = (embeddings_table(FACE, "face"), embeddings_table(BACKGROUND, "background"))
MIN_FACE = 0.5
"""Cosine. Two clips may be of one person by the clips between them; as reference serves who is surely the same."""
MAX_BACKGROUND = 0.7
"""Cosine. On people who are in no scorecard of it the same room comes to 0.72 and more, 98 of 100 other rooms to 0.71
and less. What it parts else, the scorecard of background_embedding says."""
MIN_S = 3.0
"""A shorter clip shows too little of a person to stand for them: chosen."""
MAX_PARTNERS = 16
"""Of each clip; a person of a thousand clips would have half a million pairs."""
CLIPS_AT_ONCE = 10_000
"""Between two commits, each of which asks over all clips who is to be compared; a person with more is compared as a
whole."""
BLOCK = 2**23
"""Cosines held at a time, whatever the number of a person's clips."""
MAX_TRIES = 5

FINGERPRINT = hashlib.sha256(
    json.dumps(["pairs", 1, FACE, BACKGROUND, MIN_FACE, MAX_BACKGROUND, MIN_S, MAX_PARTNERS]).encode()
).hexdigest()[:16]


def has_stale(reader: Reader) -> bool:
    """Whether somebody's clips, or who is who, are others than when the table was written."""
    return _has_signals(reader) and (identity.has_stale(reader) or not _people(reader).is_empty())


def bring_up_to_date(workspace: Workspace) -> int:
    """Compares the clips of everybody whose clips changed; gives how many clips that were, 0 when nobody's did.

    Killed at any point, the next run goes on behind the last commit. Raises ValueError when others commit all the time.
    """
    num = tries = 0
    while True:
        with workspace.views() as reader:
            people = _people(reader) if _has_signals(reader) else pl.DataFrame()
            if people.is_empty():
                return num
            # Whoever fits, and always the first.
            asked = people.filter((pl.col("clips").cum_sum() <= CLIPS_AT_ONCE) | (pl.arange(pl.len()) == 0))
            batch = Batch()
            batch.add("pairs", table_of(changed_rows(workspace, reader, asked["identity"].to_list()), PAIRS))
            try:
                # The pairs rest on the rows that were read: were others written since, it is done again.
                workspace.commit(batch, expected=reader.manifest)
                num, tries = num + int(asked["clips"].sum()), 0
            except ValueError:
                tries += 1
                if tries == MAX_TRIES:
                    raise


def changed_rows(workspace: Workspace, reader: Reader, people: Sequence[str]) -> list[dict[str, object]]:
    """Rows of `pairs` that differ from those stored, for everybody asked for."""
    reader.with_table("asked_people", pa.table({"identity": pa.array(people, pa.string())}))
    clips = reader.sql(f"{_now(reader)} SELECT * FROM now JOIN asked_people USING (identity) ORDER BY clip_id")
    reader.with_table("asked_clips", clips.select("clip_id").to_arrow())
    record, versions, ids = workspace.record, reader.manifest.versions, clips["clip_id"].to_arrow()
    faces_ND, backgrounds_ND = (matrix_of(record, versions, table, ids)[0] for table in TABLES)
    wanted: dict[str, dict[str, object]] = {}
    for (name,), own in clips.with_row_index("at").group_by("identity", maintain_order=True):
        told = {"identity": name, "held": True, "fingerprint": FINGERPRINT}
        for clip, digest in own.select("clip_id", "digest").iter_rows():
            wanted[f"{clip}:{clip}"] = {"clip_a": clip, "clip_b": clip, "digest": digest, **told}
        names = own["clip_id"].to_list()
        at = own["at"].to_numpy()
        for i, j, face, background in pairs_of(faces_ND[at], backgrounds_ND[at]):
            similarity = {"face_similarity": face, "background_similarity": background}
            wanted[f"{names[i]}:{names[j]}"] = {"clip_a": names[i], "clip_b": names[j], **similarity, **told}
    held = reader.sql(
        """SELECT * EXCLUDE (computed_at) FROM _pairs WHERE held AND (identity IN (SELECT identity FROM asked_people)
        OR clip_a IN (SELECT clip_id FROM asked_clips) OR clip_b IN (SELECT clip_id FROM asked_clips))"""
    )
    stored = {row["key"]: row for row in held.iter_rows(named=True)}
    rows = [{"key": key, **row} for key, row in wanted.items() if not _same(row, stored.get(key))]
    rows += [{**row, "held": False} for key, row in stored.items() if key not in wanted]
    return [{**row, "computed_at": time.time()} for row in rows]


def pairs_of(
    faces_ND: np.ndarray, backgrounds_ND: np.ndarray, max_background: float = MAX_BACKGROUND
) -> list[tuple[int, int, float, float]]:
    """(i, j, face cosine, background cosine), i < j, of the vectors of one person's clips, all of length 1.

    Held are those that are among the MAX_PARTNERS with the farthest backgrounds of one of their clips.
    """
    found: dict[tuple[int, int], tuple[float, float]] = {}
    step = max(1, BLOCK // max(1, len(faces_ND)))
    for start in range(0, len(faces_ND), step):
        block = slice(start, start + step)
        # Rounded, so that the last bit of a product, which depends on the block, decides nothing.
        face_BN = np.round((faces_ND[block] @ faces_ND.T).astype(np.float64), 4)
        background_BN = np.round((backgrounds_ND[block] @ backgrounds_ND.T).astype(np.float64), 4)
        fits_BN = (face_BN >= MIN_FACE) & (background_BN <= max_background)
        for i, (fits, face, background) in enumerate(zip(fits_BN, face_BN, background_BN, strict=True), start):
            others = np.flatnonzero(fits & (np.arange(len(fits)) != i))
            for j in others[np.argsort(background[others], kind="stable")[:MAX_PARTNERS]].tolist():
                found[min(i, j), max(i, j)] = (float(face[j]), float(background[j]))
    return [(i, j, face, background) for (i, j), (face, background) in sorted(found.items())]


def _same(row: Mapping[str, object], stored: Mapping[str, object] | None) -> bool:
    return stored is not None and all(stored[name] == value for name, value in row.items())


def _people(reader: Reader) -> pl.DataFrame:
    """(identity, clips) of everybody whose clips are not those that were last compared, in order of name."""
    return reader.sql(
        f"""{_now(reader)}, held AS (SELECT clip_a AS clip_id, identity, digest, fingerprint FROM _pairs
            WHERE clip_a = clip_b AND held),
        stale AS (SELECT n.identity AS now, h.identity AS before FROM now n FULL JOIN held h USING (clip_id)
            WHERE (n.identity, n.digest, ?) IS DISTINCT FROM (h.identity, h.digest, h.fingerprint)),
        names AS (SELECT now AS identity FROM stale UNION SELECT before FROM stale)
        SELECT identity, count(n.clip_id) AS clips FROM names LEFT JOIN now n USING (identity)
        WHERE identity IS NOT NULL GROUP BY identity ORDER BY identity""",
        [FINGERPRINT],
    )


def _now(reader: Reader) -> str:
    """WITH now(clip_id, identity, digest): the clips that take part, and the digest of all clips of their person."""
    current = serving(reader, [FACE, BACKGROUND])
    ended = " AND ".join(f"s.{n}_status = 'ok' AND s.{n}_fingerprint = '{current[n]}'" for n in (FACE, BACKGROUND))
    return f"""WITH eligible AS (
            SELECT c.clip_id, i.identity, md5_number_lower(concat_ws('|', c.clip_id, s.{FACE}_output_digest,
                s.{BACKGROUND}_output_digest)) AS digest
            FROM clips c JOIN signals s USING (clip_id) JOIN identities i USING (clip_id)
            WHERE c.duration_s >= {MIN_S} AND {ended}),
        people AS (SELECT identity, bit_xor(digest) AS digest FROM eligible GROUP BY identity),
        now AS (SELECT e.clip_id, e.identity, p.digest FROM eligible e JOIN people p USING (identity))"""


def _has_signals(reader: Reader) -> bool:
    """Whether the workspace has what clips are paired by; a set of signals without it makes no pairs."""
    columns = reader.columns("signals")
    return all(n in discover() and f"{n}_status" in columns for n in (FACE, BACKGROUND))
