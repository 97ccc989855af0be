"""From what is stale to jobs: the first stage with stale work, in batches; for tiers, only what still decides something.

Rows downstream of a stale row are *predicted*: they run only if the recomputed output differs (early cut-off).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from store.tier_sql import Clause, Tier, base_of
from store.workspace import Reader
from tasks.jobs import CLIPPING_NEEDS, CLIPPING_TIMELINES, Job, Stage
from tasks.media.normalise import FINGERPRINT as NORMALISE_FINGERPRINT
from tasks.rollout import candidates, replaced
from tasks.signal import WINDOW_FRAMES
from tasks.signals import discover
from tasks.stale import stale_clips, stale_windows

MAX_WINDOWS_PER_JOB = 10
MAX_CLIPS_PER_JOB = 16
BATCH_MEDIA_S = 60.0
"""A batch holds about this much media: some tens of seconds of work, so that a scheduler's own cost is small."""

ROUND_CPU_S = 0.03
"""CPU-seconds per second of clip for one more round over the same clips: decode, fetch, plan, commit."""


@dataclass
class Plan:
    """Jobs of the first stage that has any, and what is predicted to run downstream of everything stale."""

    jobs: list[Job] = field(default_factory=list)
    stage: Stage | None = None
    predicted: dict[str, int] = field(default_factory=dict)
    elsewhere: str = ""
    """A video that is stale, and that is left to another run."""


Free = Callable[[Sequence[Job]], list[Job]]
"""Those of the jobs that no other run has in hand."""


def wanted_signals(names: Iterable[str] | None) -> tuple[str, ...]:
    """The signals asked for with all they need, in order of computing; None: all but those that are on request.

    Raises ValueError for an unknown name.
    """
    known = discover()
    if names is None:
        names = [n for n, signal in known.items() if not signal.spec.on_request]
    wanted = set(CLIPPING_NEEDS)
    queue = list(names)
    while queue:
        name = queue.pop()
        if name not in known:
            raise ValueError(f"signal {name!r} is none of {', '.join(sorted(known))}")
        if name not in wanted or name in CLIPPING_NEEDS:
            wanted.add(name)
            queue.extend(known[name].spec.needs)
    return tuple(n for n in known if n in wanted)


def computable(names: Iterable[str]) -> list[str]:
    """Those of the signals that are computed here; others were adopted from a table."""
    return [n for n in names if n in discover()]


def next_jobs(
    reader: Reader, wanted: Sequence[str], clipping_run: str, tiers: Sequence[Tier] = (), free: Free = list
) -> Plan:
    """The jobs of the first stage that has stale work. Stages go in order, since each makes the next one's inputs.

    With `tiers`, clip signals go in rounds, the cheapest first, and only over clips that no decidable clause keeps out
    of every tier. `free` leaves out what another run has in hand: that goes through its stages by itself.
    """
    elsewhere = ""
    for jobs in _by_stage(reader, wanted, clipping_run, tiers):
        if mine := free(jobs):
            return Plan(mine, mine[0].stage)
        elsewhere = elsewhere or (jobs[0].video_id if jobs else "")
    return Plan(elsewhere=elsewhere)


def _by_stage(
    reader: Reader, wanted: Sequence[str], clipping_run: str, tiers: Sequence[Tier]
) -> Iterator[Sequence[Job]]:
    for make in (_normalise_jobs, _timeline_jobs, _clip_jobs):
        yield make(reader, wanted, clipping_run)
    if tiers:
        yield from _demanded_jobs(reader, wanted, tiers)
    else:
        yield signal_jobs(reader, stale_clips(reader, wanted), wanted)


def jobs_of(reader: Reader, stage: Stage, wanted: Sequence[str], clipping_run: str) -> list[Job]:
    """The jobs of one of the stages before the clip signals, as things stand."""
    made = {"normalise": _normalise_jobs, "timelines": _timeline_jobs, "clip": _clip_jobs}
    return made[stage](reader, wanted, clipping_run)


def batches(jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs in groups of about BATCH_MEDIA_S of media, in order."""
    groups: list[list[Job]] = []
    held_s = BATCH_MEDIA_S
    for job in jobs:
        if held_s >= BATCH_MEDIA_S:
            groups.append([])
            held_s = 0.0
        groups[-1].append(job)
        held_s += job.media_s
    return groups


def _normalise_jobs(reader: Reader, _wanted: Sequence[str], _run: str) -> list[Job]:
    rows = reader.sql(
        """SELECT video_id, name, num_bytes FROM videos
           WHERE state <> 'removed' AND normalise_fingerprint IS DISTINCT FROM ? AND normalise_fingerprint IS DISTINCT FROM '-'
           ORDER BY name, video_id""",
        [NORMALISE_FINGERPRINT],
    )
    # The length is not known yet: 1 MB of typical source video is about 4 s.
    return [Job("normalise", v, n, max(1.0, b / 250_000)) for v, n, b in rows.iter_rows()]


def _timeline_jobs(reader: Reader, wanted: Sequence[str], _run: str) -> list[Job]:
    names = [n for n in wanted if discover()[n].spec.grain == "video"]
    stale = stale_windows(reader, names)
    facts = _facts(reader, stale["video_id"].to_list())
    jobs = []
    for video_id, windows in _grouped(stale, "window_index").items():
        name, _ = facts[video_id]
        for start in range(0, len(windows), MAX_WINDOWS_PER_JOB):
            part = tuple(windows[start : start + MAX_WINDOWS_PER_JOB])
            media_s = min(60.0 * len(part), facts[video_id][1])
            jobs.append(Job("timelines", video_id, name, media_s, part, tuple(names)))
    return sorted(jobs, key=lambda j: (j.name, j.video_id, j.items))


def _clip_jobs(reader: Reader, _wanted: Sequence[str], run: str) -> list[Job]:
    rows = reader.sql(
        """SELECT v.video_id, v.name, v.num_frames / 25 FROM videos v LEFT JOIN (
               SELECT DISTINCT video_id FROM _clipping WHERE run = ?) c ON v.video_id = c.video_id
           WHERE (c.video_id IS NULL OR v.state = 'new') AND v.proxy_sha256 IS NOT NULL AND v.prefilter_reason IS NULL
             AND v.state NOT IN ('quarantined', 'removed') OR list_contains(?, v.video_id)
           ORDER BY v.name, v.video_id""",
        [run, _mended(reader)],
    )
    return [Job("clip", v, n, 0.02 * float(s)) for v, n, s in rows.iter_rows()]


def _mended(reader: Reader) -> list[str]:
    """Videos that got no clips because a timeline had failed, and have all of these timelines by now."""
    of_clipping = f"IN ({', '.join(repr(n) for n in CLIPPING_TIMELINES)})"
    failed = reader.sql(f"SELECT video_id FROM videos WHERE state = 'quarantined' AND stage {of_clipping}")
    if failed.is_empty():
        return []
    still = reader.sql(f"SELECT DISTINCT video_id FROM timelines WHERE name {of_clipping} AND status LIKE 'failed%'")
    return sorted(set(failed["video_id"]) - set(still["video_id"]))


def signal_jobs(reader: Reader, stale: pl.DataFrame, wanted: Sequence[str]) -> list[Job]:
    """Jobs for these stale rows of clips; what needs a candidate that is still to be computed waits.

    What a GPU computes, and what needs that, goes in jobs of its own after the others: no GPU is held for their sake.
    """
    if stale.is_empty():
        return []
    rolling = tuple(candidates(reader, {*wanted, *(n for w in wanted for n in discover()[w].spec.needs)}))
    late = waiting(rolling, set(stale["name"]))
    wanted = [n for n in wanted if n not in late]
    stale = _with_served_needs(reader, stale.filter(pl.col("name").is_in(wanted)), rolling)
    if plain := set(stale["name"]) - set(on_gpu(wanted)):
        wanted = [n for n in wanted if n not in on_gpu(wanted)]
        stale = stale.filter(pl.col("name").is_in(plain))
    facts = _facts(reader, stale["video_id"].to_list())
    jobs = []
    for video_id, clips in _grouped(stale, "clip_id").items():
        for start in range(0, len(clips), MAX_CLIPS_PER_JOB):
            part = tuple(clips[start : start + MAX_CLIPS_PER_JOB])
            jobs.append(Job("signals", video_id, facts[video_id][0], facts[video_id][1], part, tuple(wanted), rolling))
    return sorted(jobs, key=lambda j: (j.name, j.video_id, j.items))


def waiting(rolling: Collection[str], stale: Collection[str]) -> set[str]:
    """Clip signals that need one whose candidate is being computed: they are computed once, after it has taken over."""
    found = {n for n in rolling if n in stale}
    first = set(found)
    for name, signal in discover().items():  # needs first
        if found & set(signal.spec.needs):
            found.add(name)
    return found - {n for n in first if not first & (with_needs(n) - {n})}


def _with_served_needs(reader: Reader, stale: pl.DataFrame, rolling: Collection[str]) -> pl.DataFrame:
    """Without the rows whose clip lacks a row, that readers see, of a need that is rolling out: they wait for it."""
    late = {n: needs for n in set(stale["name"]) if (needs := set(discover()[n].spec.needs) & set(rolling))}
    if not late:
        return stale
    served = replaced(reader, {n for needs in late.values() for n in needs})
    keep = [all((n, c) in served for n in late.get(name, ())) for name, _, c in stale.iter_rows()]
    return stale.filter(pl.Series(keep, dtype=pl.Boolean))


def _demanded_jobs(reader: Reader, wanted: Sequence[str], tiers: Sequence[Tier]) -> Iterator[list[Job]]:
    """Round after round."""
    open_rows = demanded(reader, tiers, stale_clips(reader, wanted))
    for group in rounds(set(open_rows["name"])):
        together = tuple(n for n in wanted if n in group)
        yield signal_jobs(reader, open_rows.filter(pl.col("name").is_in(together)), together)


def rounds(names: Collection[str]) -> list[list[str]]:
    """Clip signals in the order a demand-driven run computes them, those of a round over one decode.

    A signal rides along when all that ride cost less than the decode that one more round would take.
    """
    groups: list[list[str]] = []
    riding_s = 0.0
    for name in by_cost(names):
        cost_s = discover()[name].spec.cost_cpu_s
        if groups and riding_s + cost_s <= ROUND_CPU_S:
            groups[-1].append(name)
            riding_s += cost_s
        else:
            groups.append([name])
            riding_s = 0.0
    return groups


def by_cost(names: Collection[str]) -> list[str]:
    """Clip signals: needs first, then the cheapest."""
    order: list[str] = []
    left = {n: discover()[n].spec for n in discover() if n in names}
    while left:
        ready = [n for n, spec in left.items() if not set(spec.needs) & set(left)]
        order.append(min(ready, key=lambda n: (left[n].cost_cpu_s, n)))
        del left[order[-1]]
    return order


def demanded(
    reader: Reader, tiers: Sequence[Tier], stale: pl.DataFrame, verdicts: Mapping[str, Verdicts] | None = None
) -> pl.DataFrame:
    """The stale rows that still decide something: their clip is not kept out of every tier by what is fresh.

    What a clause reads of other clips' rows is needed of every clip, and of a signal that is rolling out every row that
    readers see now: no tier sees two versions. `verdicts`, by tier, spare asking for them again.
    """
    if stale.is_empty():
        return stale
    missing = missing_of(stale)
    needed = replaced(reader, candidates(reader, set(stale["name"])))
    for tier in tiers:
        read = {n for s in tier.signals for n in with_needs(s)}
        everywhere = {n for c in tier.clauses if c.reads == "others" for s in c.signals for n in with_needs(s)}
        out = kept_out(reader, tier, verdicts[tier.name] if verdicts else decided(reader, tier, missing))
        for clip_id, names in missing.items():
            needed |= {(n, clip_id) for n in names & (everywhere if clip_id in out else read)}
    keep = [(n, c) in needed for n, _, c in stale.iter_rows()]
    return stale.filter(pl.Series(keep, dtype=pl.Boolean))


def missing_of(stale: pl.DataFrame) -> dict[str, set[str]]:
    """By clip the signals whose row of it is stale."""
    missing: dict[str, set[str]] = {}
    for name, _, clip_id in stale.iter_rows():
        missing.setdefault(clip_id, set()).add(name)
    return missing


Verdicts = Mapping[str, Mapping[int, bool]]
"""By clip: whether it passes each clause that can be judged, by the clause's number in `clauses_of`."""


def kept_out(reader: Reader, tier: Tier, verdicts: Verdicts) -> dict[str, Clause]:
    """Clips that a clause over their own row, all of whose signals are fresh, does not let in; and the first such."""
    own = clauses_of(reader, tier)
    first = {clip: next((i for i, ok in passed.items() if not ok), None) for clip, passed in verdicts.items()}
    return {clip: own[i] for clip, i in first.items() if i is not None}


def clauses_of(reader: Reader, tier: Tier) -> list[Clause]:
    """The clauses over a clip's own row whose columns the workspace has."""
    columns = set(reader.columns("signals"))
    return [c for c in tier.clauses if c.reads == "own" and all(f"{s}_status" in columns for s in c.signals)]


def decided(reader: Reader, tier: Tier, missing: Mapping[str, set[str]]) -> dict[str, dict[int, bool]]:
    """By clip, for each of `clauses_of` that can be judged already, whether the clip passes; others are left out.

    A clause is true, false, or not known while a signal that it reads is stale: such a one decides nothing.
    """
    own = clauses_of(reader, tier)
    if not own:
        return {}
    verdicts = ", ".join(f"coalesce({c.sql}, false) AS c{i}" for i, c in enumerate(own))
    rows = reader.guarded(f"SELECT clips.clip_id, {verdicts} FROM {base_of(tier.joins, everything=True)}")
    read = [{n for s in c.signals for n in with_needs(s)} for c in own]
    found = {}
    for clip_id, *passed in rows.iter_rows():
        late = missing.get(clip_id, set())
        found[clip_id] = {i: bool(ok) for i, ok in enumerate(passed) if late.isdisjoint(read[i])}
    return found


def with_needs(name: str) -> set[str]:
    """The clip signal and the clip signals it needs."""
    if name not in discover():
        return {name}  # adopted: it is there, or not
    needs = {n for n in discover()[name].spec.needs if discover()[n].spec.grain == "clip"}
    return {name}.union(*(with_needs(n) for n in needs))


def on_gpu(names: Iterable[str]) -> list[str]:
    """Those of the clip signals that a GPU computes as they are set now, or that need such a one."""
    known = discover()
    return [n for n in names if any(m in known and known[m].spec.resources.gpu_gib for m in with_needs(n))]


def _facts(reader: Reader, video_ids: Sequence[str]) -> dict[str, tuple[str, float]]:
    if not video_ids:
        return {}
    rows = reader.sql("SELECT video_id, name, num_frames / 25 FROM videos WHERE num_frames IS NOT NULL")
    wanted = set(video_ids)
    return {v: (n, float(s)) for v, n, s in rows.iter_rows() if v in wanted}


def _grouped(stale: pl.DataFrame, column: str) -> dict[str, list[object]]:
    groups: dict[str, list[object]] = {}
    unique = stale.select("video_id", column).unique().sort("video_id", column)
    for video_id, item in unique.iter_rows():
        groups.setdefault(video_id, []).append(item)
    return groups


def predicted(reader: Reader, wanted: Sequence[str]) -> dict[str, int]:
    """Per signal, the rows that are stale or lie downstream of a stale row: the most that a run can recompute."""
    counts: dict[str, int] = {}
    video = [n for n in wanted if discover()[n].spec.grain == "video"]
    windows = {(n, v, w) for n, v, w in stale_windows(reader, video).iter_rows()}
    for name in video:
        for need in discover()[name].spec.needs:
            windows |= {(name, v, w) for n, v, w in windows if n == need}
        counts[name] = sum(1 for n, _, _ in windows if n == name)
    clips = {(n, c) for n, _, c in stale_clips(reader, wanted).iter_rows()}
    touched = _clips_over(reader, windows)
    for name in (n for n in wanted if discover()[n].spec.grain == "clip"):
        for need in discover()[name].spec.needs:
            clips |= {(name, c) for c in touched.get(need, ())} | {(name, c) for n, c in clips if n == need}
        counts[name] = sum(1 for n, _ in clips if n == name)
    return {name: count for name, count in counts.items() if count}


def _clips_over(reader: Reader, windows: set[tuple[str, str, int]]) -> Mapping[str, set[str]]:
    """Active clips that lie in one of the windows, by the signal whose window it is."""
    if not windows:
        return {}
    spans = reader.sql(f"""SELECT clip_id, video_id, start_frame // {WINDOW_FRAMES} AS first,
        (end_frame - 1) // {WINDOW_FRAMES} AS last FROM clips""")
    stale = pl.DataFrame(sorted(windows), schema=["name", "video_id", "window_index"], orient="row")
    met = spans.join(stale, on="video_id").filter(pl.col("window_index").is_between(pl.col("first"), pl.col("last")))
    return {str(key[0]): set(part["clip_id"]) for key, part in met.group_by("name")}
