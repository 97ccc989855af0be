"""What is stale, as queries over the pinned tables: the rule of tasks.compute.is_stale, for all rows at once.

A row is stale when it is missing, its fingerprint is not the current one, its input_digest is not that of the present
inputs, or it failed for a passing reason and its time has come. Nothing else decides what runs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from store.workspace import Reader
from tasks.rollout import Candidate, candidates, with_candidate
from tasks.signal import WINDOW_FRAMES, LoadedSignal
from tasks.signals import discover


def stale_windows(reader: Reader, names: Sequence[str]) -> pl.DataFrame:
    """(name, video_id, window_index) of every stale row of the video signals named."""
    signals = [discover()[n] for n in names]
    needs = {n for s in signals for n in s.spec.needs}
    rules = {}
    for signal in signals:
        expected = _digest(signal, "w", [f"h.{n}_output" for n in signal.spec.needs])
        rules[signal.name] = f"h.{signal.name}_input IS DISTINCT FROM {expected}"
    source = "windows w LEFT JOIN held h ON h.video_id = w.video_id AND h.window_index = w.window_index"
    return _flagged(reader, f"{_WINDOWS}, {_held(needs, signals)}", source, "w.video_id, w.window_index", rules)


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
    source = "inputs i LEFT JOIN signals s ON s.clip_id = i.clip_id"
    rules = {}
    for signal in signals:
        if f"{signal.name}_status" not in columns:
            rules[signal.name] = "TRUE"
            continue
        needs = []
        for need in signal.spec.needs:
            if discover()[need].spec.grain == "video":
                needs.append(f"i.{need}_digest")
            elif f"{need}_status" in columns:
                needs.append(_number(f"s.{need}_output_digest"))
        expected = _digest(signal, "i", needs)
        rolls = rolling.get(signal.name)
        fingerprint = rolls.serving if rolls and served and not rolls.mixed else signal.fingerprint
        rules[signal.name] = _rule(fingerprint, f"s.{signal.name}_", expected)
        if rolls and not served and (beside := with_candidate(reader, rolls)):
            source += f" LEFT JOIN {beside} ON {beside}.clip_id = i.clip_id"
            rules[signal.name] += f" AND {_rule(fingerprint, f'{beside}.{signal.name}_', expected)}"
    video_needs = sorted({n for s in signals for n in s.spec.needs if discover()[n].spec.grain == "video"})
    return _flagged(reader, _inputs(video_needs), source, "i.video_id, i.clip_id", rules)


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
    digests = "".join(f", coalesce(a.{n}_digest, h.{n}_output) AS {n}_digest" for n in needs)
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
    told = f"{row}.place"
    parts = [f"{row}.proxy_digest"] if signal.spec.look.frames_fps else []
    parts += [f"{row}.audio_digest"] if signal.spec.look.audio else []
    for part in (*parts, *(f"coalesce({n}, 0::UBIGINT)" for n in needs)):
        told = f"xor({told}, {part})"
    return told


def _due(row: str) -> str:
    """Whether a row that failed for a passing reason is to be tried again by now; of any other, not_before is 0."""
    return f"({row}not_before > 0 AND {row}not_before <= {time.time()})"


def _rule(fingerprint: str, row: str, expected: str) -> str:
    held = _number(f"{row}input_digest")
    return f"({row}fingerprint IS DISTINCT FROM '{fingerprint}' OR {held} IS DISTINCT FROM {expected} OR {_due(row)})"


def _flagged(reader: Reader, ctes: str, source: str, keys: str, rules: dict[str, str]) -> pl.DataFrame:
    """The rows that any rule holds for, one per rule: all rules over one scan and one join."""
    names = [k.split(".")[1] for k in keys.split(", ")]
    if not rules:
        return pl.DataFrame(schema={"name": pl.String, **dict.fromkeys(names, pl.String)})
    flags = ", ".join(f"coalesce({rule}, false) AS {name}" for name, rule in rules.items())
    found = reader.sql(f"WITH {ctes} SELECT * FROM (SELECT {keys}, {flags} FROM {source}) WHERE {' OR '.join(rules)}")
    long = found.unpivot(on=list(rules), index=names, variable_name="name", value_name="stale")
    return long.filter("stale").select("name", *names)
