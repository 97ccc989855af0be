"""What is stale, as queries over the pinned tables: the rule of tasks.compute.is_stale, for all rows at once.

A row is stale when it is missing, its fingerprint is not the current one, its input_digest is not that of the present
inputs, or it failed for a passing reason and its time has come. Nothing else decides what runs.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import polars as pl

from store.remembered import rows_of
from store.schema import is_narrow
from store.workspace import Reader
from tasks.rollout import Candidate, candidates, with_candidate
from tasks.signal import WINDOW_FRAMES, LoadedSignal
from tasks.signals import discover

MEMORY_MIB = 2048
"""What a query over all clips may hold before it goes on in pieces on disk: the joins of about ten million clips."""
NOW = "<now>"
"""Stands in a query for the time at which it is asked: what else it says is the same from night to night."""


@dataclass(frozen=True)
class Rule:
    """A signal's row is stale when it was not computed from what is there now, both in SQL.

    `held` is NULL where there is no row, or one that is stale whatever it was computed from; `expected` is never NULL.
    `unless`: it is not, because another row stands.
    """

    held: str
    expected: str
    unless: str = "false"


def stale_windows(reader: Reader, names: Sequence[str]) -> pl.DataFrame:
    """(name, video_id, window_index) of every stale row of the video signals named."""
    signals = [discover()[n] for n in names]
    needs = {n for s in signals for n in s.spec.needs}
    rules = {
        s.name: Rule(f"h.{s.name}_input", _digest(s, "w", [_output(f"h.{n}_output") for n in s.spec.needs]))
        for s in signals
    }
    source = "held h RIGHT JOIN windows w ON h.video_id = w.video_id AND h.window_index = w.window_index"
    ctes = f"{_WINDOWS}, {_held(needs, signals)}"
    waits = f"SELECT min(not_before) FROM timelines WHERE clip_id IS NULL AND not_before > {NOW}"
    query = Flagged(ctes, source, "w.video_id, w.window_index", rules, "SELECT * FROM flagged", waits)
    return _late(reader, query, ("videos", "timelines"))


def stale_clips(reader: Reader, names: Sequence[str], *, served: bool = False) -> pl.DataFrame:
    """(name, video_id, clip_id) of every stale row of the clip signals named, over active clips.

    Of a signal that is rolling out: rows that its candidate has yet to compute; with `served`, rows that readers see and
    that are stale for the version that they are of.
    """
    signals = [discover()[n] for n in names if discover()[n].spec.grain == "clip"]
    # A signal that is rolling out has rows of another version than the present one, which this shows as stale. Nearly
    # always there is none; then the wide table is read once.
    late = _stale_clips(reader, signals, {}, served=served)
    rolling = candidates(reader, late["name"].unique())
    return _stale_clips(reader, signals, rolling, served=served) if rolling else late


def _stale_clips(
    reader: Reader, signals: Sequence[LoadedSignal], rolling: Mapping[str, Candidate], *, served: bool
) -> pl.DataFrame:
    columns = set(reader.columns("signals"))
    told, rules, beside_them = ["clip_id"], {}, ""
    for signal in signals:
        of_video = [n for n in signal.spec.needs if discover()[n].spec.grain == "video"]
        expected = _digest(signal, "i", [f"i.{n}_digest" for n in of_video])
        if f"{signal.name}_status" not in columns:
            rules[signal.name] = Rule("NULL::UBIGINT", expected)
            continue
        of_clip = [n for n in signal.spec.needs if n not in of_video and f"{n}_status" in columns]
        outputs = [_output(_number(f"{n}_output_digest")) for n in of_clip]
        rolls = rolling.get(signal.name)
        fingerprint = rolls.serving if rolls and served and not rolls.mixed else signal.fingerprint
        told.append(f"{_xor([_standing(fingerprint, f'{signal.name}_'), *outputs])} AS {signal.name}")
        beside = with_candidate(reader, rolls) if rolls and not served else None
        if beside:
            beside_them += f" LEFT JOIN {beside} ON {beside}.clip_id = i.clip_id"
            told.append(f"{_xor(outputs)} AS {signal.name}_needs")
            needs = f"coalesce(s.{signal.name}_needs, 0::UBIGINT)"
            unless = f"{_standing(fingerprint, f'{beside}.{signal.name}_')} = xor({expected}, {needs})"
        rules[signal.name] = Rule(f"s.{signal.name}", expected, unless if beside else "false")
    video_needs = sorted({n for s in signals for n in s.spec.needs if discover()[n].spec.grain == "video"})
    # A row's provenance is made one number before it is joined: of ten columns a signal, one crosses the join.
    source = f"(SELECT {', '.join(told)} FROM signals) s RIGHT JOIN inputs i ON s.clip_id = i.clip_id{beside_them}"
    # Few clips are stale on most nights: theirs is the only video that is looked up, the join need not hold it.
    found = "SELECT c.video_id, f.* FROM clips c JOIN flagged f ON f.clip_id = c.clip_id"
    later = [f"min({n}_not_before) FILTER (WHERE {n}_not_before > {NOW})" for n in rules if f"{n}_status" in columns]
    waits = f"SELECT least({', '.join(['max(NULL::DOUBLE)', *later])}) FROM signals"
    query = Flagged(_inputs(video_needs), source, "i.clip_id", rules, found, waits)
    narrow = [t for t in reader.manifest.versions if is_narrow(t)]
    return _late(reader, query, ("videos", "clips", "timelines", "signals", *narrow))


def outdated(reader: Reader, names: Sequence[str]) -> dict[str, int]:
    """Per signal the rows that another version, backend or parameter computed: why what was whole is computed again."""
    columns = set(reader.columns("signals"))
    video = {n: discover()[n].fingerprint for n in names if discover()[n].spec.grain == "video"}
    clip = {n: discover()[n].fingerprint for n in names if f"{n}_status" in columns}
    held = reader.sql("SELECT name, fingerprint, count(*) AS n FROM timelines WHERE clip_id IS NULL GROUP BY ALL")
    found: dict[str, int] = {}
    for name, fingerprint, n in held.iter_rows():
        if name in video and fingerprint != video[name]:
            found[name] = found.get(name, 0) + n
    if clip:
        told = ", ".join(f"count(*) FILTER (WHERE {n}_fingerprint <> '{f}') AS {n}" for n, f in clip.items())
        found |= reader.sql(f"SELECT {told} FROM signals").row(0, named=True)
    return {n: found[n] for n in names if found.get(n)}


def totals(reader: Reader, names: Sequence[str]) -> dict[str, int]:
    """How many rows each signal has when everything is computed: windows of videos, or active clips."""
    windows = int(reader.sql(f"WITH {_WINDOWS} SELECT count(*) FROM windows").item())
    clips = int(reader.sql("SELECT count(*) FROM clips").item())
    return {n: windows if discover()[n].spec.grain == "video" else clips for n in names}


def _number(column: str) -> str:
    """A stored digest; one of another type, as an older version wrote it, is nobody's and makes its row stale."""
    return f"try_cast({column} AS UBIGINT)"


def _place(row: str, start: str, end: str) -> str:
    """What tasks.compute.input_digest begins with: hashed once per row, whatever the number of signals."""
    return f"md5_number_lower(concat_ws('|', {row}.source_width_px, {start}, {end})) AS place"


_MEDIA = ", ".join(
    f"coalesce(('0x' || left({part}_sha256, 16))::UBIGINT, 0::UBIGINT) AS {part}_digest" for part in ("proxy", "audio")
)
_WINDOWS = f"""windows AS (
    SELECT v.* EXCLUDE (source_width_px, num_frames),
           {_place("v", f"window_index * {WINDOW_FRAMES}", f"least((window_index + 1) * {WINDOW_FRAMES}, num_frames)")}
    FROM (SELECT video_id, {_MEDIA}, source_width_px, num_frames,
                 unnest(range((num_frames + {WINDOW_FRAMES - 1}) // {WINDOW_FRAMES})) AS window_index
          FROM videos WHERE proxy_sha256 IS NOT NULL AND prefilter_reason IS NULL
            AND state <> 'removed' AND (state <> 'quarantined' OR stage NOT IN ('ingest', 'source', 'probe', 'normalise'))) v)"""


def _held(outputs: Iterable[str], inputs: Sequence[LoadedSignal] = ()) -> str:
    """One row per window of a video with what is stored of each signal: a join per signal would cost as many scans.

    NAME_output is a digest; NAME_input is NULL where the row is stale whatever it was computed from.
    """
    outputs = sorted(outputs)
    told = [f"any_value(output_digest) FILTER (WHERE name = '{n}') AS {n}_output" for n in outputs]
    told += [f"any_value(input_digest) FILTER (WHERE name = '{s.name}') AS {s.name}_input" for s in inputs]
    present = " ".join(f"WHEN '{s.name}' THEN '{s.fingerprint}'" for s in inputs)
    stands = f"fingerprint = CASE name {present} END AND NOT {_due('')}" if inputs else "false"
    listed = ", ".join(f"'{n}'" for n in sorted({*outputs, *(s.name for s in inputs)})) or "''"
    return f"""held AS MATERIALIZED (
        SELECT video_id, window_index{"".join(f", {t}" for t in told)} FROM (
            SELECT video_id, window_index, name, {_number("output_digest")} AS output_digest,
                   CASE WHEN {stands} THEN {_number("input_digest")} END AS input_digest
            FROM timelines WHERE clip_id IS NULL AND name IN ({listed}))
        GROUP BY video_id, window_index)"""


def _inputs(needs: Sequence[str]) -> str:
    """Per active clip what its signals' digests are made of: media, span, and the timelines its windows hold.

    Most clips lie in one window and take its digests by a plain join; only those that span two are aggregated.
    """
    first, last = f"c.start_frame // {WINDOW_FRAMES}", f"(c.end_frame - 1) // {WINDOW_FRAMES}"
    across = "".join(f", bit_xor(h.{n}_output) AS {n}_digest" for n in needs)
    digests = "".join(f", coalesce(a.{n}_digest, h.{n}_output, 0::UBIGINT) AS {n}_digest" for n in needs)
    return f"""{_held(needs)},
        media AS (SELECT video_id, source_width_px, {_MEDIA} FROM videos WHERE proxy_sha256 IS NOT NULL),
        across AS (
            SELECT c.clip_id{across} FROM clips c JOIN held h ON h.video_id = c.video_id
                AND h.window_index BETWEEN {first} AND {last}
            WHERE {first} <> {last} GROUP BY c.clip_id),
        inputs AS (
            SELECT c.clip_id, c.video_id, m.proxy_digest, m.audio_digest,
                   {_place("m", "c.start_frame", "c.end_frame")}{digests}
            FROM clips c JOIN media m ON m.video_id = c.video_id
            LEFT JOIN held h ON h.video_id = c.video_id AND h.window_index = {first}
            LEFT JOIN across a ON a.clip_id = c.clip_id)"""


def _digest(signal: LoadedSignal, row: str, needs: Sequence[str]) -> str:
    """tasks.compute.input_digest in SQL; `row` names the relation that holds the place and the media's digests."""
    parts = [f"{row}.proxy_digest"] if signal.spec.look.frames_fps else []
    parts += [f"{row}.audio_digest"] if signal.spec.look.audio else []
    return _xor([f"{row}.place", *parts, *needs])


def _xor(digests: Sequence[str]) -> str:
    return reduce(lambda a, b: f"xor({a}, {b})", digests) if digests else "0::UBIGINT"


def _output(column: str) -> str:
    """What a need gave; one that is missing counts as none."""
    return f"coalesce({column}, 0::UBIGINT)"


def _due(row: str) -> str:
    """Whether a row that failed for a passing reason is to be tried again by now; of any other, not_before is 0."""
    return f"({row}not_before > 0 AND {row}not_before <= {NOW})"


def _standing(fingerprint: str, row: str) -> str:
    """What a row was computed from; NULL where it is stale whatever that was."""
    stands = f"{row}fingerprint = '{fingerprint}' AND {_due(row)} IS NOT TRUE"
    return f"CASE WHEN {stands} THEN {_number(f'{row}input_digest')} END"


@dataclass(frozen=True)
class Flagged:
    """The rows that any rule holds for, one per rule: all rules over one scan and one join.

    `keys` and `source` are those of the rows, `found` gives (video_id, the row's own key, a flag per rule) of `flagged`;
    `waits` the time at which the next row that waits is due.
    """

    ctes: str
    source: str
    keys: str
    rules: Mapping[str, Rule]
    found: str
    waits: str

    @property
    def own(self) -> str:
        """The row's own key."""
        return self.keys.rpartition(".")[2]

    @property
    def sql(self) -> str:
        flags = ", ".join(
            f"({r.held} IS DISTINCT FROM {r.expected} AND ({r.unless}) IS NOT TRUE) AS {name}"
            for name, r in self.rules.items()
        )
        # Zero where all digests agree, NULL where one is missing: one comparison a row, whatever the number of signals.
        differs = " | ".join(f"xor({r.held}, {r.expected})" for r in self.rules.values())
        flagged = f"flagged AS (SELECT {self.keys}, {flags} FROM {self.source} WHERE ({differs}) IS DISTINCT FROM 0)"
        return f"WITH {self.ctes}, {flagged} {self.found}"


def _late(reader: Reader, query: Flagged, tables: Collection[str]) -> pl.DataFrame:
    """(name, video_id, the row's own key) of what is flagged; `tables` are what the query reads."""
    nothing = pl.DataFrame(
        schema={
            "name": pl.String,
            "video_id": pl.String,
            query.own: pl.Int64 if query.own == "window_index" else pl.String,
        }
    )
    if not query.rules:
        return nothing
    now = repr(time.time())

    def ask() -> pl.DataFrame:
        with reader.in_pieces(MEMORY_MIB):
            return reader.sql(query.sql.replace(NOW, now))

    def changes_at() -> float | None:
        due = reader.sql(query.waits.replace(NOW, now)).item()
        return None if due is None else float(due)

    late = rows_of(reader, query.sql, tables, ask, changes_at)
    if late is None:
        return nothing
    names = late.columns[:2]
    return pl.concat([late.filter(name).select(pl.lit(name).alias("name"), *names) for name in query.rules])
