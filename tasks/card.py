"""The card of a snapshot: what is in it, whose, by what rules, and what it lacks; as JSON and as Markdown.

It counts and names no clip, video or person, so nothing has to be taken out of it when one is erased: it tells of the
snapshot as it was frozen.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from store.clip_groups import group_of
from store.ledger import Manifest
from store.snapshot import Snapshot
from store.workspace import Reader, Workspace

DISTRIBUTIONS = (
    "categories_shot_size",
    "categories_view",
    "categories_camera_motion",
    "categories_lighting",
    "categories_background",
    "categories_speaking_style",
    "categories_emotion",
    "categories_hands_visible",
    "categories_skin_tone",
    "language_language",
)
"""Columns of `signals` whose values are counted, where the workspace has them."""
GROUP = "group of shards"
UNKNOWN = "unknown"
ONE_SIDED = 0.9
"""A value that more of the clips have than this leaves little to learn of the others."""


def card(workspace: Workspace, snapshot: Snapshot) -> dict[str, Any]:
    """The card's facts, over the tables that the snapshot was frozen at. Raises ValueError where these are gone."""
    versions = {str(k): int(v) for k, v in snapshot.header["manifest"].items()}
    with workspace.views(Manifest(0, versions, "")) as reader:
        reader.with_table("_members", pa.table({"clip_id": pa.array(snapshot.clip_ids, pa.string())}))
        counts = reader.sql(
            """SELECT count(*) AS clips, coalesce(sum(duration_s), 0) / 3600 AS hours, count(DISTINCT c.video_id) AS
            videos, count(DISTINCT identity) AS people, count(*) FILTER (WHERE identity IS NULL) AS clips_of_nobody_known
            FROM _members JOIN clips c USING (clip_id) LEFT JOIN identities USING (clip_id)"""
        ).to_dicts()[0]
        inside = " AND ".join(f"{side} IN (SELECT clip_id FROM _members)" for side in ("clip_a", "clip_b"))
        counts["reference_pairs"] = int(reader.sql(f"SELECT count(*) FROM pairs WHERE {inside}").item())
        rights = reader.sql(
            """SELECT coalesce(licence, 'unknown') AS licence, coalesce(consent, 'unknown') AS consent, count(*) AS clips,
            sum(duration_s) / 3600 AS hours FROM _members JOIN clips USING (clip_id) LEFT JOIN rights r
            ON r.video_id = clips.video_id GROUP BY ALL ORDER BY clips DESC, 1, 2"""
        ).to_dicts()
        most = reader.sql(
            """SELECT sum(duration_s) / 3600 AS hours FROM _members JOIN clips USING (clip_id) JOIN identities USING
            (clip_id) GROUP BY identity ORDER BY hours DESC LIMIT 1"""
        )["hours"].to_list()
        told = {
            "tier": snapshot.tier,
            "snapshot": snapshot.id,
            "sha256": snapshot.sha256,
            **counts,
            "largest_person_ratio": most[0] / counts["hours"] if most and counts["hours"] else None,
            "rights": rights,
            "distributions": _distributions(reader),
            "values": _values(snapshot),
            "sql": snapshot.header["sql"],
            "clauses": [{"clause": c.text, "tier": c.tier, "source": c.source} for c in snapshot.clauses],
            "fingerprints": dict(snapshot.header["fingerprints"]),
            "balance": snapshot.header.get("balance", {}).get("margins", []),
        }
    made: dict[str, Any] = _rounded({**told, "known_gaps": gaps(told)})
    return made


def _distributions(reader: Reader) -> dict[str, dict[str, int]]:
    """By property, by value: clips, the commonest value first."""
    present = set(reader.columns("signals"))
    kind = "content_kind" if "content_kind" in present else "NULL"
    # Counted by the database: of half a million clips, Python sees the few thousand rows that differ.
    sizes = reader.sql(
        f"SELECT {kind}, source_width_px, source_height_px, duration_s, count(*) FROM _members JOIN clips USING (clip_id) "
        "LEFT JOIN signals USING (clip_id) GROUP BY ALL"
    )
    found = {GROUP: Counter[str]()}
    for told, width_px, height_px, seconds, num in sizes.iter_rows():
        found[GROUP][group_of(told, width_px or 1, height_px or 1, seconds)] += num
    if columns := [c for c in DISTRIBUTIONS if c in present]:
        values = reader.sql(f"SELECT {', '.join(columns)} FROM _members LEFT JOIN signals USING (clip_id)")
        for column in columns:
            counts = values[column].fill_null(UNKNOWN).value_counts(name="clips")
            found[column] = Counter(dict(counts.iter_rows()))
    return {k: dict(sorted(v.items(), key=lambda kv: (-kv[1], kv[0]))) for k, v in found.items()}


def _values(snapshot: Snapshot) -> dict[str, dict[str, float]]:
    """Least, median and greatest of each number that the tier decides by."""
    made = {}
    for field in snapshot.clips.schema:
        if "." not in field.name or not (pa.types.is_floating(field.type) or pa.types.is_integer(field.type)):
            continue
        held = np.sort(snapshot.clips[field.name].drop_null().to_numpy())
        if len(held):
            least, median, greatest = (held[at].item() for at in (0, len(held) // 2, -1))
            made[field.name] = {"least": least, "median": median, "greatest": greatest}
    return made


def gaps(told: Mapping[str, Any]) -> list[str]:
    """What whoever trains on it should know that it lacks."""
    made, clips = [], told["clips"]
    if not clips:
        return ["it holds no clip"]
    for key in ("licence", "consent"):
        if unknown := sum(r["clips"] for r in told["rights"] if r[key] == UNKNOWN):
            made.append(f"{unknown} of {clips} clips are of unknown {key}")
    if told["clips_of_nobody_known"]:
        made.append(f"{told['clips_of_nobody_known']} of {clips} clips show no face that could be told")
    if (told["largest_person_ratio"] or 0) > 0.2:
        made.append(f"one person makes up {told['largest_person_ratio']:.0%} of the hours")
    if not told["reference_pairs"]:
        made.append("nobody is seen in two places")
    for name, counts in told["distributions"].items():
        value, count = next(iter(counts.items()))
        if value == UNKNOWN and count == clips:
            made.append(f"{name} is not known of any clip")
        elif count > ONE_SIDED * clips:
            made.append(f"{name} is {value} in {count} of {clips} clips")
    without = [c["clause"] for c in told["clauses"] if not c["source"]]
    made += [f"nobody says where this threshold comes from: {clause}" for clause in without]
    missed = [m for m in told["balance"] if m["why"] and m["asked"]]
    made += [f"target {m['target']}: {m['category']} has {m['got']:.1%} and not {m['asked']:.1%}" for m in missed]
    return made


def as_files(told: Mapping[str, Any]) -> dict[str, bytes]:
    """The card by the ending of its file."""
    text = json.dumps(told, sort_keys=True, ensure_ascii=False, indent=1) + "\n"
    return {"card.json": text.encode(), "card.md": markdown(told).encode()}


def markdown(told: Mapping[str, Any]) -> str:
    people = f"{told['people']:,} people" if told["people"] else "nobody told apart"
    parts = [
        f"# {told['tier']}, snapshot {told['snapshot']}",
        f"{told['clips']:,} clips, {told['hours']:.3g} hours, of {told['videos']:,} videos and {people}; "
        f"{told['reference_pairs']:,} reference pairs. As it was frozen, under sha256 `{told['sha256']}`.",
        "## Known gaps",
        "\n".join(f"- {_cell(gap)}" for gap in told["known_gaps"]) or "None found.",
        "## Licences and consent",
        _table(
            ("licence", "consent", "clips", "hours"),
            [(r["licence"], r["consent"], r["clips"], r["hours"]) for r in told["rights"]],
        ),
        "## What the clips are like",
        _table(
            ("property", "values, with clips"),
            [
                (name, ", ".join(f"{value} {count:,}" for value, count in counts.items()))
                for name, counts in told["distributions"].items()
            ],
        ),
    ]
    if told["values"]:
        rows = [(name, *(v[k] for k in ("least", "median", "greatest"))) for name, v in told["values"].items()]
        parts += ["What the tier decides by:", _table(("value", "least", "median", "greatest"), rows)]
    if told["balance"]:
        rows = [tuple(m[k] for k in ("target", "category", "clips", "before", "asked", "got")) for m in told["balance"]]
        parts += ["## Balance", _table(("target", "category", "clips", "share before", "asked", "got"), rows)]
    if shards := told.get("shards"):
        parts += ["## Shards", _shards(shards)]
    parts += [
        "## Rules and where they come from",
        _table(("clause", "tier", "source"), [(c["clause"], c["tier"], c["source"]) for c in told["clauses"]]),
        "## As written",
        f"```sql\n{told['sql'].strip()}\n```",
        "Signals by fingerprint: " + ", ".join(f"{n} `{f}`" for n, f in told["fingerprints"].items()),
    ]
    return "\n\n".join(parts) + "\n"


def _shards(told: Mapping[str, Any]) -> str:
    """Of a shard set: its groups, and how many clips it lacks, by reason."""
    rows = [
        (g, of["num_clips"], of["num_shards"], of["duration_s"] / 3600, of["bytes"]) for g, of in told["groups"].items()
    ]
    whole = f"{told['num_clips']:,} clips in {told['num_shards']:,} shards, as {' and '.join(told['formats'])}."
    parts = [whole, _table(("group", "clips", "shards", "hours", "bytes"), rows)]
    if told["num_left_out"]:
        parts.append(f"{told['num_left_out']:,} clips of the snapshot are not in them; index.json says why of each.")
    return "\n\n".join(parts)


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(_cell(v) for v in row) + " |" for row in rows)])


def _cell(value: Any) -> str:
    """SQL and licences may hold a bar, which would end the cell, or a <, which begins a tag."""
    told = f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)
    return " ".join(told.replace("|", "\\|").replace("<", "&lt;").split())


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, Mapping):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list) else value
