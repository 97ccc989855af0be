"""Tier queries at 1 M and 10 M clips, staleness planning, status, a signal's backfill, a snapshot of a tier of ten clauses
and its diff at 1 M, on generated rows; prints a table of times and memory, and ends with 1 above a limit.

    python -m benchmarks.store [--clips 1000000 10000000] [--plan-up-to 1000000] [--svg FILE] [--folder DIR]

The wide table has the real columns of every discovered clip signal. Planning is a night without change: every row is
looked at, is fresh, and the answer is that nothing is stale. Asked again, the same night is known by the tables' files.
Memory is this process's own peak during the step; FILE gets the times, and beside it FILE with -memory in its name.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import lance
import numpy as np
import pyarrow as pa

from benchmarks.growth import log_log
from benchmarks.machine import machine, peak_gib
from store.record import Batch
from store.schema import BASE_SCHEMAS, signal_fields
from store.workspace import Workspace, open_workspace
from tasks import freeze, plan
from tasks.digest import digest, digest_of_file
from tasks.media.normalise import FINGERPRINT
from tasks.signal import LoadedSignal
from tasks.signals import discover
from tasks.status import status

ROWS = 250_000
CLIPS_PER_VIDEO = 4
WIDTH_PX = 640
UPSERTED = 100_000
BATCH = 50_000
"""Clips of one commit of a backfill."""
WRITE_UP_TO = 1_000_000
"""Larger tables are written to a little only: a backfill of 10 M would take an hour."""
LIMIT_BACKFILL_S_PER_MILLION = 60.0
LIMIT_SNAPSHOT_S, LIMIT_DIFF_S = 2.0, 2.0
"""Of half a million clips with the values of ten clauses; each is a leaf that is hashed."""
LIMIT_PLAN_S, LIMIT_PLAN_LARGE_S = 5.0, 40.0
"""Up to a million clips, and up to ten."""
LIMIT_AGAIN_S_PER_MILLION = 1.0
LIMIT_STATUS_S_PER_MILLION = 15.0
LIMIT_MEMORY_GIB = 4.0

TIER_10_CLAUSES = """SELECT clip_id FROM signals WHERE
    face_track_face_ratio >= 0.9 AND face_track_main_face_height_px >= 100 AND motion_camera_speed <= 20
    AND visual_quality_quality >= 2 AND visual_quality_sharpness >= 0.1 AND speech_speech_ratio >= 0.3
    AND speech_quality_ovrl_mos >= 2.5 AND speech_quality_snr_db >= 10 AND lip_sync_confidence >= 0.4
    AND overlay_text_text_ratio <= 0.3"""

HALF_OF_THE_CLIPS = """SELECT clip_id FROM signals WHERE
    face_track_face_ratio >= 0.067 AND face_track_main_face_height_px >= 13.4 AND motion_camera_speed <= 46.65
    AND visual_quality_quality >= 1.268 AND visual_quality_sharpness >= 13.4 AND speech_speech_ratio >= 0.067
    AND speech_quality_ovrl_mos >= 1.268 AND speech_quality_snr_db >= -4 AND lip_sync_confidence >= 0.134
    AND overlay_text_text_ratio <= 0.933"""
"""Ten clauses, each of which lets 93 % of the generated rows in after a backfill: what a snapshot is frozen of."""


def generated(num_clips: int, with_provenance: bool) -> Iterator[tuple[str, pa.Table]]:
    """Rows of videos, timelines, clips and signals, fresh under the present fingerprints, in pieces."""
    for start in range(0, num_clips, ROWS):
        count = min(ROWS, num_clips - start)
        video = np.arange(start // CLIPS_PER_VIDEO, (start + count) // CLIPS_PER_VIDEO)
        video_ids = [f"{v:016x}" for v in video]
        yield "videos", _videos(video_ids)
        if with_provenance:
            yield "timelines", _timelines(video_ids)
        yield "clips", _clips(video_ids)
        yield "clipping", _clipping(video_ids)
        yield "signals", _signals(video_ids, start, with_provenance)


def _sha256(part: str, video_id: str) -> str:
    """As long and as unlike the next one as a real digest of a file."""
    return hashlib.sha256(f"{part}|{video_id}".encode()).hexdigest()


def _media(video_ids: list[str]) -> dict[str, list[str]]:
    return {f"{part}_sha256": [_sha256(part, v) for v in video_ids] for part in ("proxy", "audio")}


def _digests(told: str, ids: list[str]) -> np.ndarray:
    """`tasks.digest.digest(told, id)` of every id: by the database, since a digest a row takes Python minutes."""
    rows = pa.table({"id": ids})  # noqa: F841  (the query reads it)
    found = duckdb.sql(
        "SELECT md5_number_lower(concat_ws('|', $told, id))::UBIGINT AS d FROM rows", params={"told": told}
    )
    assert found is not None
    return np.asarray(found.to_arrow_table()["d"].to_numpy())


def _input_digests(
    signal: LoadedSignal, span: tuple[int, int], media: dict[str, np.ndarray], needs: list[np.ndarray]
) -> np.ndarray:
    """`tasks.compute.input_digest` of many rows with one span; a row that it is wrong for would show as stale."""
    looks = {"proxy": bool(signal.spec.look.frames_fps), "audio": signal.spec.look.audio}
    told = np.full(len(media["proxy"]), digest(WIDTH_PX, *span), np.uint64)
    for part in (*(media[p] for p, looked in looks.items() if looked), *needs):
        told = told ^ part
    return told


def _media_digests(video_ids: list[str]) -> dict[str, np.ndarray]:
    return {
        part: np.array([digest_of_file(_sha256(part, v)) for v in video_ids], np.uint64) for part in ("proxy", "audio")
    }


def _videos(ids: list[str]) -> pa.Table:
    same = {
        "state": "done", "num_frames": 1500, "source_width_px": WIDTH_PX,
        "normalise_fingerprint": FINGERPRINT, "name": "v.mp4", "has_audio": True,
    }  # fmt: skip
    return _table(BASE_SCHEMAS["videos"], len(ids), {"video_id": ids, **_media(ids)}, same)


def _timelines(ids: list[str]) -> pa.Table:
    parts = []
    media = _media_digests(ids)
    for name, signal in discover().items():
        if signal.spec.grain != "video":
            continue
        told = _input_digests(signal, (0, 1500), media, [_digests(n, ids) for n in signal.spec.needs])
        same = {
            "name": name, "window_index": 0, "start_frame": 0, "end_frame": 1500, "status": "ok",
            "fingerprint": signal.fingerprint, "attempts": 1, "not_before": 0.0,
        }  # fmt: skip
        own = {
            "key": [f"{v}:{name}:0" for v in ids], "video_id": ids,
            "input_digest": told, "output_digest": _digests(name, ids),
        }  # fmt: skip
        parts.append(_table(BASE_SCHEMAS["timelines"], len(ids), own, same))
    return pa.concat_tables(parts)


def _span(place: int) -> tuple[int, int]:
    return place * 375, (place + 1) * 375


def _clips(ids: list[str]) -> pa.Table:
    parts = []
    for place in range(CLIPS_PER_VIDEO):
        start, end = _span(place)
        same = {"start_frame": start, "end_frame": end, "duration_s": 15.0, "active": True}
        own = {"clip_id": [f"{v}-{place}" for v in ids], "video_id": ids}
        parts.append(_table(BASE_SCHEMAS["clips"], len(ids), own, same))
    return pa.concat_tables(parts)


def _clipping(ids: list[str]) -> pa.Table:
    parts = []
    for place in range(CLIPS_PER_VIDEO):
        start, end = _span(place)
        own = {
            "clip_id": [f"{v}-{place}" for v in ids],
            "video_id": ids,
            "key": [f"generated:{v}:{place}" for v in ids],
        }
        same = {"run": "generated", "start_frame": start, "end_frame": end}
        parts.append(_table(BASE_SCHEMAS["clipping"], len(ids), own, same))
    return pa.concat_tables(parts)


def _signals(ids: list[str], seed: int, with_provenance: bool) -> pa.Table:
    parts = []
    media = _media_digests(ids) if with_provenance else {}
    of_videos = {n: _digests(n, ids) for n, s in discover().items() if with_provenance and s.spec.grain == "video"}
    for place in range(CLIPS_PER_VIDEO):
        outputs = dict(of_videos)
        rng = np.random.default_rng(seed + place)
        fields = [pa.field("clip_id", pa.string()), pa.field("video_id", pa.string()), pa.field("active", pa.bool_())]
        own: dict[str, Any] = {"clip_id": [f"{v}-{place}" for v in ids], "video_id": ids}
        same: dict[str, Any] = {"active": True}
        for name, signal in discover().items():
            if signal.spec.grain != "clip":
                continue
            fields += [
                f
                for f in signal_fields(name, [(c.name, c.dtype) for c in signal.spec.columns])
                if _kept(f.name, with_provenance)
            ]
            for column in signal.spec.columns:
                if pa.types.is_floating(column.dtype) or pa.types.is_integer(column.dtype):
                    low, high = column.low or 0.0, column.high if column.high is not None else 100.0
                    own[f"{name}_{column.name}"] = rng.uniform(low, min(high, low + 200), len(ids))
            same |= {
                f"{name}_status": "ok", f"{name}_fingerprint": signal.fingerprint,
                f"{name}_attempts": 1, f"{name}_not_before": 0.0,
            }  # fmt: skip
            if with_provenance:
                outputs[name] = _digests(name, own["clip_id"])
                own |= _clip_digests(signal, outputs, media, place)
        parts.append(_table(pa.schema(fields), len(ids), own, same))
    return pa.concat_tables(parts)


def _clip_digests(
    signal: LoadedSignal, outputs: Mapping[str, np.ndarray], media: dict[str, np.ndarray], place: int
) -> dict[str, np.ndarray]:
    """What the rows of one clip signal were computed from, and what came out: fresh under the present rule.

    `outputs`: by signal the output digests of the same rows, which are made once, since most are needed several times.
    """
    needs = [outputs[n] for n in signal.spec.needs]
    return {
        f"{signal.name}_input_digest": _input_digests(signal, _span(place), media, needs),
        f"{signal.name}_output_digest": outputs[signal.name],
    }


def _kept(field: str, with_provenance: bool) -> bool:
    return with_provenance or not field.endswith(
        ("_fingerprint", "_digest", "_computed_at", "_attempts", "_not_before", "_reason")
    )


def _table(schema: pa.Schema, count: int, own: dict[str, Any], same: dict[str, Any]) -> pa.Table:
    columns = []
    for field in schema:
        if field.name in own:
            values = own[field.name]
            made = pa.array(values) if isinstance(values, np.ndarray) else pa.array(values, field.type)
            columns.append(made.cast(field.type, safe=False))
        elif field.name in same:
            columns.append(pa.repeat(pa.scalar(same[field.name], field.type), count))
        else:
            columns.append(pa.nulls(count, field.type))
    return pa.table(columns, schema=schema)


def filled(folder: Path, num_clips: int, with_provenance: bool) -> Workspace:
    workspace = open_workspace(folder)
    versions = {}
    for table, rows in generated(num_clips, with_provenance):
        mode = "append" if table in versions else "create"
        versions[table] = lance.write_dataset(rows, workspace.record.uri(table), mode=mode).version
    with workspace.ledger.turn() as turn:
        turn.publish(versions, "generated")
    return workspace


def timed(call: Callable[[], object], runs: int = 5) -> tuple[float, float, object]:
    """(median s, worst s, result) after one warm-up."""
    result = call()
    spent = []
    for _ in range(runs):
        began = time.perf_counter()
        result = call()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent), max(spent), result


@dataclass(frozen=True)
class Measured:
    """Seconds for one thing over so many clips."""

    what: str
    clips: int
    median_s: float
    worst_s: float
    limit_s: float
    told: str
    peak_gib: float

    def __str__(self) -> str:
        cells = (f"{self.what}, {self.clips:,} clips ({self.told})", f"{self.median_s:.3f} s", f"{self.worst_s:.3f} s")
        cells += (f"{self.limit_s:g} s", f"{self.peak_gib:.2f} GiB", f"{self.of_the_limit:.2f}")
        return f"| {' | '.join(cells)} |"

    @property
    def of_the_limit(self) -> float:
        """The larger of the shares of time and memory; above 1 is too much."""
        return max(self.median_s / self.limit_s, self.peak_gib / LIMIT_MEMORY_GIB)


def measured(
    what: str, clips: int, limit_s: float, told: Callable[[Any], str], call: Callable[[], object], runs: int = 1
) -> Measured:
    """Of so many runs, after one more to warm up where there are several; `told` says what the last one gave."""
    with peak_gib() as peak:
        median_s, worst_s, result = timed(call, runs) if runs > 1 else timed_once(call)
    return Measured(what, clips, median_s, worst_s, limit_s, told(result), peak.gib)


def timed_once(call: Callable[[], object]) -> tuple[float, float, object]:
    began = time.perf_counter()
    result = call()
    spent = time.perf_counter() - began
    return spent, spent, result


def tier_query(workspace: Workspace) -> Measured:
    query = f"SELECT count(*) FROM ({TIER_10_CLAUSES})"
    with workspace.views() as reader:
        count = reader.sql("SELECT count(*) FROM signals").item()
        limit_s = 0.1 if count <= 1_000_000 else 1.0
        return measured(
            "tier of 10 clauses", count, limit_s, lambda n: f"{n:,} pass", lambda: reader.sql(query).item(), runs=5
        )


def planning(workspace: Workspace, num_clips: int) -> list[Measured]:
    """A night without change: every row looked at, and asked again; then the status that people see."""
    wanted = plan.wanted_signals(None)

    def night() -> float:
        began = time.process_time()
        with workspace.views() as reader:
            found = plan.next_jobs(reader, wanted, "generated")
        assert not found.jobs, f"the generated rows are not fresh: {found.stage}, {len(found.jobs)} jobs"
        return time.process_time() - began

    def first() -> float:
        shutil.rmtree(workspace.scratch / "nothing", ignore_errors=True)
        return night()

    def cpu(spent_s: float) -> str:
        return f"0 jobs, {spent_s:.1f} CPU-s"

    large, millions = num_clips > 1_000_000, max(1.0, num_clips / 1e6)
    limit_s = LIMIT_PLAN_LARGE_S if large else LIMIT_PLAN_S
    again_s, status_s = LIMIT_AGAIN_S_PER_MILLION * millions, LIMIT_STATUS_S_PER_MILLION * millions
    told = f"{sum(s.spec.grain == 'clip' for s in discover().values())} clip signals"
    return [
        measured("planning a night without change", num_clips, limit_s, cpu, first, runs=1 if large else 3),
        measured("planning the same night again", num_clips, again_s, cpu, night, runs=3),
        measured("status", num_clips, status_s, lambda _: told, lambda: status(workspace)),
    ]


def upserted(workspace: Workspace, num_clips: int) -> Measured:
    """One signal's column over 100,000 clips, through the committer, into a table that is larger than that."""

    def call() -> None:
        for start in range(0, UPSERTED, BATCH):
            upsert(workspace, start, BATCH, seed=0)

    limit_s = LIMIT_BACKFILL_S_PER_MILLION
    return measured("upsert of one column of 100,000 rows", num_clips, limit_s, lambda _: "the wide table", call)


def clip_ids(start: int, count: int) -> list[str]:
    return [f"{c // CLIPS_PER_VIDEO:016x}-{c % CLIPS_PER_VIDEO}" for c in range(start, start + count)]


def upsert(workspace: Workspace, start: int, count: int, seed: int) -> None:
    """Another value of one column, for clips `start` to `start + count`, by the committer."""
    ids = clip_ids(start, count)
    values = np.random.default_rng([seed, start]).uniform(0, 50, count).astype(np.float32)
    told = {"clip_id": ids, "video_id": [i[:16] for i in ids], "active": [True] * count}
    batch = Batch()
    batch.add("signals", pa.table({**told, "motion_camera_speed": values}))
    workspace.commit(batch)


def backfill(workspace: Workspace, num_clips: int, seed: int, after_each: Callable[[], None]) -> float:
    """Seconds in the store for one signal of every clip; `after_each` commit is not counted."""
    spent = 0.0
    for start in range(0, num_clips, BATCH):
        began = time.perf_counter()
        upsert(workspace, start, min(BATCH, num_clips - start), seed)
        spent += time.perf_counter() - began
        after_each()
    return spent


def snapshots(workspace: Workspace, num_clips: int) -> list[Measured]:
    """Freezing a tier of ten clauses after a change, and comparing it with the one before."""
    tiers = workspace.settings.workspace / "tiers"
    tiers.mkdir(exist_ok=True)
    (tiers / "half.sql").write_text(f"{HALF_OF_THE_CLIPS}\n")
    freeze.build(workspace, "half")
    upsert(workspace, 0, 1000, seed=99)
    millions = max(1.0, num_clips / 1e6)
    return [
        measured(
            "snapshot of a tier of 10 clauses after a change",
            num_clips,
            LIMIT_SNAPSHOT_S * millions,
            lambda made: f"{made['clips']:,} clips in it",
            lambda: freeze.build(workspace, "half"),
        ),
        measured(
            "diff of two snapshots of 10 clauses",
            num_clips,
            LIMIT_DIFF_S * millions,
            lambda found: f"{len(found['came']):,} came, {len(found['went']):,} went",
            lambda: freeze.diff(workspace, "half"),
        ),
    ]


def writes(workspace: Workspace, num_clips: int) -> list[Measured]:
    """One signal of every clip, by the committer; a snapshot after a change, and its diff with the one before."""
    limit_s = LIMIT_BACKFILL_S_PER_MILLION * max(1.0, num_clips / 1e6)
    with peak_gib() as peak:
        spent_s = backfill(workspace, num_clips, 1, lambda: None)
    rate = f"{num_clips / spent_s:,.0f} rows a second of store time"
    filled_up = Measured("backfill of one signal", num_clips, spent_s, spent_s, limit_s, rate, peak.gib)
    return [filled_up, *snapshots(workspace, num_clips)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--plan-up-to", type=int, default=1_000_000, metavar="CLIPS")
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--svg", type=Path, default=None, help="draw how times grow with the clips")
    options = parser.parse_args(arguments)
    told = f"peak memory, limit {LIMIT_MEMORY_GIB:g} GiB"
    print(f"{machine()}\n\n| what | median | worst | limit | {told} | of the limit |\n|---|---|---|---|---|---|")
    found: list[Measured] = []
    for num_clips in options.clips:
        folder = Path(tempfile.mkdtemp(prefix="store", dir=options.folder))
        try:
            for one in steps(folder, num_clips, num_clips <= options.plan_up_to):
                print(one, flush=True)
                found.append(one)
        finally:
            shutil.rmtree(folder)
    if options.svg:
        draw(found, options.svg)
    return 0 if is_within_limits(found) else 1


def steps(folder: Path, num_clips: int, with_provenance: bool) -> Iterator[Measured]:
    """All that is measured at one size."""
    workspace = filled(folder, num_clips, with_provenance)
    yield tier_query(workspace)
    if with_provenance:
        yield from planning(workspace, num_clips)
    if num_clips <= WRITE_UP_TO:
        yield from writes(workspace, num_clips)
    elif with_provenance:
        yield upserted(workspace, num_clips)


def draw(found: Sequence[Measured], svg: Path) -> None:
    """Times into the file, memory into one beside it."""
    times: dict[str, list[tuple[float, float]]] = {}
    memory: dict[str, list[tuple[float, float]]] = {}
    for one in found:
        times.setdefault(one.what, []).append((one.clips, one.median_s))
        memory.setdefault(one.what, []).append((one.clips, one.peak_gib))
    svg.write_text(log_log(times, x="clips", y="seconds"))
    svg.with_stem(f"{svg.stem}-memory").write_text(log_log(memory, x="clips", y="GiB"))


def is_within_limits(found: Sequence[Measured]) -> bool:
    return all(one.of_the_limit <= 1 for one in found)


if __name__ == "__main__":
    sys.exit(main())
