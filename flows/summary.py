"""What a run did: the object of `curate --json`, and the tables that the Prefect UI shows."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from store.workspace import Reader, Workspace
from tasks import set_aside, signal_counts, tier
from tasks.backlog import backlog
from tasks.curate import Outcome
from tasks.failed import failed
from tasks.ingest import Ingested
from tasks.promote import to_dict, version_told
from tasks.wanted import asked_for

MAX_FILES_SHOWN = 100


@dataclass
class Summary:
    """The result of `curate` and `reprocess`."""

    videos: dict[str, int] = field(default_factory=lambda: {"done": 0, "quarantined": 0, "unchanged": 0})
    """Of this run: brought to an end by it, put aside by it, seen and known already."""
    clips: int = 0
    """In the workspace."""
    computed: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)
    """The first of them: signal, what (the clip, or the minute of a video) and reason."""
    stopped: dict[str, int] = field(default_factory=dict)
    """Rows downstream of a recomputed one that were spared, since its output did not change."""
    outdated: dict[str, int] = field(default_factory=dict)
    """Rows that another version of the signal had computed when the run began."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Rows of a run for a tier that were spared, since a cheaper clause keeps their clip out."""
    totals: dict[str, int] = field(default_factory=dict)
    """Rows of each signal that was touched."""
    quarantined_files: list[tuple[str, str]] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)
    """Files that are no video by their name, by suffix."""
    erased: int = 0
    """Sources that were passed over, since they were erased from this workspace."""
    set_aside: list[dict[str, str]] = field(default_factory=list)
    """All rows that are not computed any more, since they ended the processes that did: signal, what and reason."""
    lost_before: int = 0
    """Clips, windows or files that a run before was computing when it was killed; those still stale were computed apart."""
    gone: list[str] = field(default_factory=list)
    """Names of videos whose file is nowhere any more; what was computed of them stands."""
    unusable_rights: list[tuple[str, str]] = field(default_factory=list)
    """Name and what is wrong, of the sidecars that this run could not use."""
    promoted: list[dict[str, Any]] = field(default_factory=list)
    """Signals whose new version took over from the one before: the fields of tasks.promote.Took."""
    waiting: list[dict[str, Any]] = field(default_factory=list)
    """Those whose new version did not yet, and why: the fields of tasks.promote.State."""
    out_of_budget: bool = False
    cpu_s: float = 0.0
    wall_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def ended_videos(reader: Reader) -> set[str]:
    """Ids of the videos for which nothing is left to do, or that were put aside."""
    return set(reader.sql("SELECT video_id FROM videos WHERE state <> 'new'")["video_id"])


def summary(
    workspace: Workspace, before: set[str], seen: Ingested, outcome: Outcome, wall_s: float, cpu_s: float
) -> Summary:
    """`before`: the videos that had ended when the run began."""
    with workspace.views() as reader:
        rows = reader.sql("SELECT video_id, name, state, reason FROM videos ORDER BY name, video_id").to_dicts()
        clips = int(reader.sql("SELECT count(*) FROM clips").item())
        aside = set_aside.told(workspace, reader)
        touched = dict.fromkeys([*outcome.tally.computed, *outcome.tally.failed, *outcome.stopped])
        totals = {name: counts.total for name, counts in signal_counts.counts(reader).items()} if touched else {}
    fresh = [r for r in rows if r["video_id"] not in before]
    states = [r["state"] for r in fresh]
    resumed = {r["video_id"] for r in fresh if r["state"] != "new"} - set(seen.new)
    return Summary(
        videos={
            "done": states.count("done"),
            "quarantined": states.count("quarantined"),
            "unchanged": max(0, seen.unchanged - len(resumed)),
        },
        clips=clips,
        computed=dict(outcome.tally.computed),
        failed=dict(outcome.tally.failed),
        failures=[asdict(f) for f in outcome.tally.failures],
        stopped=outcome.stopped,
        outdated=dict(outcome.outdated),
        skipped=dict(outcome.skipped),
        totals={name: totals[name] for name in touched},
        quarantined_files=[(r["name"], r["reason"]) for r in fresh if r["state"] == "quarantined"],
        ignored=dict(seen.ignored),
        erased=seen.erased,
        set_aside=aside,
        gone=list(seen.gone),
        unusable_rights=list(seen.rights),
        promoted=[to_dict(t) for t in outcome.promoted],
        waiting=[to_dict(s) for s in outcome.waiting],
        out_of_budget=outcome.out_of_budget,
        cpu_s=round(cpu_s, 3),
        wall_s=round(wall_s, 3),
    )


def markdown(workspace: Workspace, made: Summary, budget_s: float | None = None) -> str:
    """What came of a run, in a line; then what it computed, what is left and when that will be done (in nights of
    `budget_s`), what failed and what to do about it, the funnel from files to tiers, and the state of every signal."""
    with workspace.views() as reader:
        states = dict(reader.sql("SELECT state, count(*) FROM videos GROUP BY ALL").iter_rows())
        rejected = int(reader.sql("SELECT count(*) FROM videos WHERE prefilter_reason IS NOT NULL").item())
        clipped = int(reader.sql("SELECT count(DISTINCT video_id) FROM clips").item())
        tiers = tier.listed(workspace, reader)
        counts = signal_counts.counts(reader)
        left = backlog(workspace, reader, {name: of.stale for name, of in counts.items()})
        stand = failed(reader, counts)
        broken = reader.sql("SELECT name, reason FROM videos WHERE state = 'quarantined' ORDER BY name").rows()
        asked = asked_for(workspace)
    total = sum(count for state, count in states.items() if state != "removed")
    decodable = total - states.get("quarantined", 0)
    funnel = [("videos found", total), ("decodable", decodable), ("past the prefilter", decodable - rejected)]
    funnel += [("with a clip", clipped), ("clips", made.clips)]
    funnel += [(f"clips in tier {t['tier']}", t["clips"]) for t in tiers if t.get("clips") is not None]
    ran = [
        (name, made.computed.get(name, 0), made.stopped.get(name, 0), made.failed.get(name, 0), counts[name].total)
        for name in made.totals
    ]
    heads = ("signal", "computed", "spared, their inputs came out the same", "failed", "rows in all")
    outcome = outcome_told(made) + (f"; {left['rows']:,} left to compute" if left["rows"] else "")
    parts = [f"{outcome[:1].upper()}{outcome[1:]}, in {span(made.wall_s)}."]
    parts += ["## Computed by this run", _table(heads, ran)]
    if made.outdated:
        parts.append(
            "Computed by another version of the signal when this run began: "
            + ", ".join(f"{n} ({c:,} row{'s' if c != 1 else ''})" for n, c in made.outdated.items())
        )
    if told := rolled(made):
        parts += ["## New versions of signals", "\n".join(f"- {_cell(line)}" for line in told)]
    parts += ["## Left to compute", *_left(left, made, budget_s)]
    parts += ["## Failed, and what to do"]
    parts += [_table(("signal", "rows", "reason", "such as", "next"), [tuple(asdict(row).values()) for row in stand])]
    if broken:
        parts += [
            "Files that can't be used; one that is mended or deleted is so at the next look at its folder "
            "(`headroom curate`, or the watch):",
            _table(("file", "reason"), broken[:MAX_FILES_SHOWN]),
        ]
    parts += ["## From files to tiers", _table(("step", "count"), funnel)]
    now = [
        (n, c.total, c.fresh, c.stale, c.ok, c.not_applicable, c.failed)
        for n, c in counts.items()
        if is_shown(n, c, asked)
    ]
    columns = ("signal", "rows", "up to date", "stale", "ok", "not applicable", "failed")
    parts += ["## Signals now", _table(columns, now)]
    if hidden := len(counts) - len(now):
        told_of = (
            "1 other signal: nobody has asked for it"
            if hidden == 1
            else f"{hidden} other signals: nobody has asked for them"
        )
        parts.append(f"{told_of} in this workspace.")
    return "\n\n".join(parts)


def _left(left: Mapping[str, Any], made: Summary, budget_s: float | None) -> list[str]:
    """The backlog as a table, and when it will be empty."""
    if not left["rows"]:
        return ["Nothing: everything that is asked for is up to date."]
    told = ["The time allowed is spent; what is left waits for the next run."] if made.out_of_budget else []
    rows = [
        (s["signal"], s["rows"], "not known yet" if s["hours"] is None else span(3600 * s["hours"]))
        for s in left["signals"]
    ]
    return [*told, _table(("signal", "stale rows", "time at the measured rate"), rows), _when(left["hours"], budget_s)]


def _when(hours: float | None, budget_s: float | None) -> str:
    if hours is None:
        return "When it will be empty is not known: too little was computed yet to measure a rate."
    told = f"Empty after about {span(3600 * hours)} of computing, at the rate of the last hours in which anything was computed"
    nights = max(1, math.ceil(3600 * hours / budget_s)) if budget_s else 0
    return told + (f": {nights} more night{'s' if nights != 1 else ''} of {span(budget_s)}." if budget_s else ".")


def is_shown(name: str, counts: signal_counts.Counts, asked: Collection[str]) -> bool:
    """Whether people want to see the row of a signal: somebody asked for it, or somebody did once."""
    return name in asked or counts.ok + counts.not_applicable + counts.failed > 0


def span(seconds: float) -> str:
    """Such as "40 s", "12 min", "6 h"."""
    if seconds < 99.5:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.3g} h"


def outcome_told(made: Summary) -> str:
    """Such as "1,204 rows, 2 failed, 1 put aside", for the name of a run."""
    told = [f"{made.videos['done']:,} videos"] if made.videos["done"] > 1 else []
    told += ["1 video"] if made.videos["done"] == 1 else []
    rows, failed = sum(made.computed.values()), sum(made.failed.values())
    told += [f"{rows:,} row{'s' if rows != 1 else ''} computed"] if rows else []
    told += [f"{failed:,} failed"] if failed else []
    told += [f"{made.videos['quarantined']:,} put aside"] if made.videos["quarantined"] else []
    told += ["out of time"] if made.out_of_budget else []
    return ", ".join(told) or "nothing to compute"


def recomputed(made: Summary) -> list[str]:
    """Per signal, as "motion: 41 of 1,204 rows computed, 7 spared, their inputs came out the same"; then new versions."""
    lines = []
    for name, total in made.totals.items():
        ran = made.computed.get(name, 0) + made.failed.get(name, 0)
        line = f"{name}: {ran:,} of {total:,} rows computed"
        if made.stopped.get(name):
            line += f", {made.stopped[name]:,} spared, their inputs came out the same"
        if made.failed.get(name):
            line += f", {made.failed[name]:,} failed"
        lines.append(line)
    return [*lines, *rolled(made)]


def rolled(made: Summary) -> list[str]:
    """New versions of signals: those that took over, and what the others wait for."""
    lines = [
        f"{t['signal']}: {version_told(t['version'], t['backend'], t['fingerprint'])} took over from "
        f"{version_told(t['before_version'], '', t['before'])} on {t['rows']:,} clips"
        for t in made.promoted
    ]
    return lines + [f"{w['signal']}: {waits(w)}" for w in made.waiting]


def waits(state: Mapping[str, Any]) -> str:
    """What a candidate waits for, in a sentence."""
    version = version_told(state["version"], state["backend"], state["fingerprint"])
    before = version_told(state["serving_version"], "", state["serving"])
    why = state["why"] or "it takes over with the next run"
    return f"{version} waits, {before} serves: {state['computed']:,} of {state['rows']:,} rows; {why}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    if not rows:
        return "Nothing."
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(_cell(v) for v in row) + " |" for row in rows)])


def _cell(value: Any) -> str:
    """File names may hold anything: a bar or a newline would end the cell, a < begin a tag."""
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")
    return " ".join(text.split())[:300]
