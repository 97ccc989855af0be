"""Tier queries at 1 M and 10 M clips, staleness planning, a signal's backfill, a snapshot and its diff at 1 M, on generated
rows; prints machine and versions, and ends with 1 above a limit.

    python -m benchmarks.store [--clips 1000000 10000000] [--plan-up-to 1000000] [--svg FILE] [--folder DIR]

The wide table has the real columns of every discovered clip signal. Planning is the whole no-change night: every
row is fresh, and the answer is that nothing is stale.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
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
from benchmarks.machine import machine
from store.record import Batch
from store.schema import BASE_SCHEMAS, signal_fields
from store.workspace import Workspace, open_workspace
from tasks import freeze, plan
from tasks.digest import digest, digest_of_file
from tasks.media.normalise import FINGERPRINT
from tasks.signal import LoadedSignal
from tasks.signals import discover

ROWS = 250_000
CLIPS_PER_VIDEO = 4
WIDTH_PX = 640
UPSERTED = 100_000
BATCH = 50_000
"""Clips of one commit of a backfill."""
WRITE_UP_TO = 1_000_000
"""Larger tables are written to a little only: a backfill of 10 M would take an hour."""
LIMIT_BACKFILL_S_PER_MILLION = 60.0
LIMIT_SNAPSHOT_S = 2.0

TIER_10_CLAUSES = """SELECT clip_id FROM signals WHERE
    face_track_face_ratio >= 0.9 AND face_track_main_face_height_px >= 100 AND motion_camera_speed <= 20
    AND visual_quality_quality >= 2 AND visual_quality_sharpness >= 0.1 AND speech_speech_ratio >= 0.3
    AND speech_quality_ovrl_mos >= 2.5 AND speech_quality_snr_db >= 10 AND lip_sync_confidence >= 0.4
    AND overlay_text_text_ratio <= 0.3"""


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

    def __str__(self) -> str:
        cells = (f"{self.what}, {self.clips:,} clips ({self.told})", f"{self.median_s:.3f} s", f"{self.worst_s:.3f} s")
        return f"| {' | '.join(cells)} | {self.limit_s:g} s | {self.median_s / self.limit_s:.2f} |"


def tier_query(workspace: Workspace) -> Measured:
    with workspace.views() as reader:
        count = reader.sql("SELECT count(*) FROM signals").item()
        query = f"SELECT count(*) FROM ({TIER_10_CLAUSES})"
        median, worst, found = timed(lambda: reader.sql(query).item())
    return Measured("tier of 10 clauses", count, median, worst, 0.1 if count <= 1_000_000 else 1.0, f"{found:,} pass")


def planning(workspace: Workspace, runs: int = 3) -> Measured:
    wanted = plan.wanted_signals(None)

    def night() -> float:
        began = time.process_time()
        with workspace.views() as reader:
            found = plan.next_jobs(reader, wanted, "generated")
        assert not found.jobs, f"the generated rows are not fresh: {found.stage}, {len(found.jobs)} jobs"
        return time.process_time() - began

    median, worst, cpu_s = timed(night, runs)
    count = workspace.record.read(workspace.ledger.manifest(), "clips", ["clip_id"]).num_rows
    limit = 5.0 if count <= 1_000_000 else 40.0
    return Measured("planning a night without change", count, median, worst, limit, f"0 jobs, {cpu_s:.1f} CPU-s")


def upserted(workspace: Workspace) -> str:
    """One signal's column over 100,000 clips, through the committer."""
    began = time.perf_counter()
    for start in range(0, UPSERTED, BATCH):
        upsert(workspace, start, BATCH, seed=0)
    return (
        f"| upsert of one column of {UPSERTED:,} rows of the wide table | {time.perf_counter() - began:.1f} s | | | |"
    )


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


def snapshots_s(workspace: Workspace) -> tuple[float, float]:
    """(freezing a tier after a change, comparing it with the one before)."""
    tiers = workspace.settings.workspace / "tiers"
    tiers.mkdir(exist_ok=True)
    (tiers / "upkeep.sql").write_text("SELECT clip_id FROM signals WHERE motion_camera_speed < 25\n")
    freeze.build(workspace, "upkeep")
    upsert(workspace, 0, 1000, seed=99)
    began = time.perf_counter()
    freeze.build(workspace, "upkeep")
    built = time.perf_counter()
    freeze.diff(workspace, "upkeep")
    return built - began, time.perf_counter() - built


def writes(workspace: Workspace, num_clips: int) -> list[Measured]:
    """One signal of every clip, by the committer; a snapshot after a change, and its diff with the one before."""
    limit = LIMIT_BACKFILL_S_PER_MILLION * max(1.0, num_clips / 1e6)
    spent = backfill(workspace, num_clips, 1, lambda: None)
    built, compared = snapshots_s(workspace)
    rate = f"{num_clips / spent:,.0f} rows a second of store time"
    return [
        Measured("backfill of one signal", num_clips, spent, spent, limit, rate),
        Measured("snapshot after a change", num_clips, built, built, LIMIT_SNAPSHOT_S, "half of the clips"),
        Measured("diff of two snapshots", num_clips, compared, compared, LIMIT_SNAPSHOT_S, "half of the clips"),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--plan-up-to", type=int, default=1_000_000, metavar="CLIPS")
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--svg", type=Path, default=None, help="draw how times grow with the clips")
    options = parser.parse_args(arguments)
    print(machine())
    print("| what | median | worst | limit | of the limit |\n|---|---|---|---|---|")
    found: list[Measured] = []
    for num_clips in options.clips:
        folder = Path(tempfile.mkdtemp(prefix="store", dir=options.folder))
        try:
            with_provenance = num_clips <= options.plan_up_to
            workspace = filled(folder, num_clips, with_provenance)
            found.append(tier_query(workspace))
            print(found[-1], flush=True)
            if with_provenance:
                found.append(planning(workspace, runs=3 if num_clips <= 1_000_000 else 1))
                print(found[-1], flush=True)
            if num_clips <= WRITE_UP_TO:
                made = writes(workspace, num_clips)
                print(*made, sep="\n", flush=True)
                found += made
            elif with_provenance:
                print(upserted(workspace), flush=True)
        finally:
            shutil.rmtree(folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\npeak memory {peak:.1f} GiB")
    if options.svg:
        series: dict[str, list[tuple[float, float]]] = {}
        for one in found:
            series.setdefault(one.what, []).append((one.clips, one.median_s))
        options.svg.write_text(log_log(series, x="clips", y="seconds"))
    return 0 if is_within_limits(found) else 1


def is_within_limits(found: Sequence[Measured]) -> bool:
    return all(one.median_s <= one.limit_s for one in found)


if __name__ == "__main__":
    sys.exit(main())
