"""What the command line prints: tables and trees for people, one JSON line for programs."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)
MAX_FILES = 20
"""Files that are put aside, named in a list."""

STAGE_TITLES = {
    "normalise": "normalise + prefilter",
    "timelines": "video signals",
    "clip": "smart clipping",
    "signals": "clip signals",
}


def show(told: Mapping[str, Any], print_for_people: Callable[[Any], None], as_json: bool) -> None:
    """One JSON object as the last line of standard output, or the view for people."""
    if as_json:
        sys.stdout.write(json.dumps(told, default=str) + "\n")
        sys.stdout.flush()
    else:
        print_for_people(told)


class _Rate(ProgressColumn):
    """Seconds of footage for each second of waiting."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if task.description == STAGE_TITLES["clip"]:
            return Text("")  # it reads timelines, not footage
        return Text(f"{speed:.1f}x real time" if speed else "", style="dim")


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[Any], None]]:
    """A progress bar per stage on standard error, with rate and time left; lines instead where there is no terminal,
    or when `quiet`: then standard output is for a program."""
    if quiet or not err.is_terminal:
        yield _Lines()
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    with Progress(*columns, _Rate(), TimeRemainingColumn(), console=err) as bars:
        tasks: dict[str, Any] = {}

        def told(step: Any) -> None:
            title = STAGE_TITLES.get(step.stage, step.stage)
            if step.stage not in tasks:
                tasks[step.stage] = bars.add_task(title, total=step.total_s)
            ended = step.done_s >= 0.999 * step.total_s  # the sum of the parts may fall short by a rounding
            bars.update(tasks[step.stage], completed=step.total_s if ended else step.done_s, total=step.total_s)

        yield told


@contextmanager
def counted(title: str, unit: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """As `progress`, of work in equal parts: takes how many are done, and of how many."""
    if quiet or not err.is_terminal:
        yield lambda done, total: _tell_tenth(title, unit, done, total)
        return
    columns = (
        SpinnerColumn(),
        TextColumn(title),
        BarColumn(),
        TextColumn(f"{{task.completed}} of {{task.total}} {unit}"),
    )
    with Progress(*columns, TimeRemainingColumn(), console=err) as bars:
        task = bars.add_task(title, total=None, visible=False)
        yield lambda done, total: bars.update(task, completed=done, total=total, visible=True)


def _tell_tenth(title: str, unit: str, done: int, total: int) -> None:
    if done % max(1, total // 10) == 0 or done == total:
        err.print(f"{title}: {done:,} of {total:,} {unit}")


class _Lines:
    """Progress where there is no terminal: a line when a stage begins and per commit, with the rate and the time left of the stage."""

    def __init__(self) -> None:
        self._stage, self._began = "", 0.0

    def __call__(self, step: Any) -> None:
        title = STAGE_TITLES.get(step.stage, step.stage)
        if step.stage != self._stage:
            self._stage, self._began = step.stage, time.monotonic()
        sized = step.stage not in (
            "normalise",
            "clip",
        )  # before a file is read, its length is only guessed from its size
        if not step.done_s:
            err.print(f"{title}: begins" + (f", {step.total_s:.0f} s of footage" if sized else ""))
            return
        share = step.done_s / step.total_s if step.total_s else 1.0
        rate = step.done_s / max(time.monotonic() - self._began, 1e-3)
        # The sum of the parts may fall short by a rounding.
        left = f", about {(step.total_s - step.done_s) / rate:.0f} s left" if share < 0.999 else ""
        if sized:
            err.print(f"{title}: {step.done_s:.0f} of {step.total_s:.0f} s of footage, {rate:.1f}x real time{left}")
        else:
            err.print(f"{title}: {100 * share:.0f} %{left}")


def curated(told: Mapping[str, Any], nothing: str = "no path given") -> None:
    """The result of `curate` and `reprocess`; `nothing` says why no video was met."""
    videos = told.get("videos", {})
    line = ", ".join(f"{count} {name}" for name, count in videos.items() if count) or nothing
    out.print(f"[bold]videos[/]  {line}    [bold]clips[/]  {told.get('clips', 0)}")
    ignored = told.get("ignored", {})
    if ignored:
        names = ", ".join(f"{count} {suffix}" for suffix, count in sorted(ignored.items()))
        out.print(f"[dim]passed over (no video by name): {escape(names)}[/]")
    if erased := told.get("erased"):
        out.print(f"[dim]passed over (erased from this workspace): {erased}; --readmit takes them in again[/]")
    computed, failed = told.get("computed", {}), told.get("failed", {})
    skipped = told.get("skipped", {})
    if not computed and not failed:
        out.print("nothing to compute: everything wanted is fresh")
    else:
        totals, stopped = told.get("totals", {}), told.get("stopped", {})
        table = Table(
            "signal", *(["computed", "of", "stopped by unchanged output", "failed"]), box=None, header_style="dim"
        )
        for column in table.columns[1:]:
            column.justify = "right"
        for name in dict.fromkeys([*computed, *failed, *stopped]):
            row = (computed.get(name, 0), totals.get(name), stopped.get(name, 0), failed.get(name, 0))
            table.add_row(name, *("" if v in (None, 0) else f"{v:,}" for v in row))
        out.print(table)
    rolled = {state["signal"] for key in ("promoted", "waiting") for state in told.get(key, [])}
    outdated = [f"{name} ({count:,} rows)" for name, count in told.get("outdated", {}).items() if name not in rolled]
    if outdated:
        out.print(f"of another version before: {', '.join(outdated)}")
    if rolled:
        from tasks.promote import version_told  # brings the tables' library, which most commands can do without
    for took in told.get("promoted", []):
        version = version_told(took["version"], took["backend"], took["fingerprint"])
        before = version_told(took["before_version"], "", took["before"])
        out.print(f"[bold]{took['signal']}[/]: {version} took over from {before} on {took['rows']:,} clips")
    for state in told.get("waiting", []):
        version = version_told(state["version"], state["backend"], state["fingerprint"])
        why = state["why"] or "it takes over with the next run"
        out.print(f"[yellow]{state['signal']}[/]: {version} waits, {escape(why)}; readers see the one before")
        if state["why"] and state["computed"] == state["rows"]:
            out.print(f"  [dim]take it all the same:[/] headroom signal promote {state['signal']}")
    if skipped:
        spared = ", ".join(f"{name} on {count:,} clips" for name, count in skipped.items())
        out.print(f"spared, since a cheaper clause keeps the clip out: {spared}")
    if told.get("out_of_budget"):
        out.print("the time allowed is spent; what is left is computed by the next run")
    for failure in told.get("failures", []):
        line = f"{failure['signal']} on {failure['what']}: {failure['reason']}"
        out.print(f"[yellow]failed[/]  {escape(line)}", soft_wrap=True)
    if lost := told.get("lost_before"):
        out.print(f"[dim]a run before was killed in the middle of {lost}: these had processes of their own now[/]")
    if aside := told.get("set_aside"):
        first = f"{aside[0]['signal']} on {aside[0]['what']}" + (f" and {len(aside) - 1} more" if aside[1:] else "")
        what = "ended the process that computed it" if not aside[1:] else "ended the processes that computed them"
        line = f"{first}: {what}; headroom curate --retry computes {'them' if aside[1:] else 'it'} again"
        out.print(f"[yellow]set aside[/]  {escape(line)}", soft_wrap=True)
    for name, reason in told.get("quarantined_files", [])[:MAX_FILES]:
        out.print(f"[yellow]quarantined[/]  {escape(name)}: {escape(reason)}", soft_wrap=True)
    if gone := told.get("gone"):
        names = ", ".join(gone[:5]) + (" ..." if len(gone) > 5 else "")
        out.print(
            f"[yellow]not there any more[/]  {escape(names)}: what was computed of {'it' if len(gone) == 1 else 'them'} stands"
        )
    for name, reason in told.get("unusable_rights", [])[:20]:
        out.print(f"[yellow]rights unknown[/]  {escape(name)}: {escape(reason)}")
    if "cpu_s" in told:
        out.print(f"[dim]{told['cpu_s']:.1f} CPU-seconds, {told['wall_s']:.1f} s[/]")


def status(told: Mapping[str, Any]) -> None:
    from dashboards import rollout, tiers_shown

    videos = told["videos"]
    out.print(f"[bold]{escape(told['workspace'])}[/]  [dim]manifest {told['manifest']}[/]")
    facts = [f"{videos['done']} videos done", f"{videos['quarantined']} quarantined", f"{videos['new']} under way"]
    facts += [
        f"{videos['rejected_by_prefilter']} rejected by the prefilter",
        f"{videos['without_clips']} without a clip",
    ]
    out.print(", ".join(facts), soft_wrap=True)
    out.print(f"{told['clips']:,} clips, {told['hours']:.3g} h")
    if told["identities"]["clips"]:
        people = told["identities"]["people"]
        out.print(f"{people:,} {'person' if people == 1 else 'people'} in {told['identities']['clips']:,} of the clips")
    if told["pairs"]["pairs"]:
        out.print(
            f"{told['pairs']['pairs']:,} reference pairs, of {told['pairs']['people']:,} people seen in two places"
        )
    if told["duplicates"]["copies"]:
        copies, clusters = told["duplicates"]["copies"], told["duplicates"]["clusters"]
        out.print(f"{copies:,} copies of better clips, in {clusters:,} clusters of near-duplicates")
    if told["labels"]["clips"]:
        out.print(
            f"{told['labels']['clips']:,} clips labelled by people, {told['labels']['flagged']:,} with a bad case"
        )
    table = Table("signal", "rows", "fresh", "stale", "ok", "not applicable", "failed", box=None, header_style="dim")
    for column in table.columns[1:]:
        column.justify = "right"
    asked, hidden = set(told["asked_for"]), 0
    for name, counts in told["signals"].items():
        if name not in asked and not counts["ok"] + counts["not_applicable"] + counts["failed"]:
            hidden += 1
            continue
        stale = f"[yellow]{counts['stale']:,}[/]" if counts["stale"] else ""
        failed = f"[red]{counts['failed']:,}[/]" if counts["failed"] else ""
        cells = (counts["total"], counts["fresh"], stale, counts["ok"], counts["not_applicable"] or "", failed)
        table.add_row(name, *(f"{c:,}" if isinstance(c, int) else c for c in cells))
    out.print(table)
    if hidden:
        out.print(f"[dim]{hidden} other signals: nobody has asked for them here (headroom curate --signal NAME)[/]")
    rollout.candidates(told)
    tiers_shown.tiers(told)
    _failed(told)
    if not told["clipping"]["is_default"]:
        out.print(
            f"[dim]clipping run {told['clipping']['run']} is in force, not the default; headroom reclip shows the difference[/]"
        )


def _failed(told: Mapping[str, Any]) -> None:
    """What failed and stands so, each with the next step."""
    for row in told["failed"]:
        more = f" and {row['rows'] - 1:,} more" if row["rows"] > 1 else ""
        out.print(
            f"[red]failed[/]  {escape(row['signal'])} on {escape(row['first'])}{more}: {escape(row['reason'])}",
            soft_wrap=True,
        )
        out.print(f"  [dim]next: {escape(row['next'])}[/]", soft_wrap=True)
    for file in told["quarantined"][:MAX_FILES]:
        out.print(f"[yellow]quarantined[/]  {escape(file['name'])}: {escape(file['reason'] or '')}", soft_wrap=True)
    if len(told["quarantined"]) > MAX_FILES:
        out.print(f"  [dim]{len(told['quarantined']) - MAX_FILES:,} more; --json gives all[/]")
    if told["quarantined"]:
        out.print("  [dim]next: mend or delete the file, then headroom curate its folder[/]")


def rows(told: Mapping[str, Any]) -> None:
    found: Sequence[Mapping[str, Any]] = told["rows"]
    if not found:
        out.print("[dim]no rows[/]")
        return
    if len(found[0]) > max(4, out.width // 14):
        for number, row in enumerate(found[:20]):  # too many columns for a line: one column a line
            out.print(f"[dim]row {number + 1}[/]")
            for name, value in row.items():
                out.print(f"  {escape(name):<40} {escape(cell(value))}", soft_wrap=True)
        if len(found) > 20:
            out.print(f"[dim]20 of {len(found):,} rows shown; --json gives all[/]")
        return
    table = Table(*found[0], box=None, header_style="bold")
    for row in found[:200]:
        table.add_row(*(escape(cell(v)) for v in row.values()))
    out.print(table)
    if len(found) > 200:
        out.print(f"[dim]200 of {len(found):,} rows shown; --json gives all[/]")


def cell(value: Any) -> str:
    if value is None:
        return "NULL"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def tree(told: Mapping[str, Any]) -> None:
    out.print(_branch(told, Tree(_label(told))))


def _branch(node: Mapping[str, Any], tree: Tree) -> Tree:
    for child in node.get("children", []):
        _branch(child, tree.add(_label(child)))
    return tree


def _label(node: Mapping[str, Any]) -> str:
    facts = {k: v for k, v in node.items() if k not in ("kind", "id", "children")}
    told = "  ".join(f"{k}={cell(v)}" for k, v in facts.items() if not k.endswith("_at"))
    return f"[bold]{node['kind']}[/] {escape(str(node['id']))}  [dim]{escape(told)}[/]"


def labelled(told: Mapping[str, Any]) -> None:
    """What came in from annotation, and what is there."""
    if told["delivered"]:
        out.print(f"{told['delivered']:,} labels came into the record: {told['rows']:,} values")
    else:
        out.print("no new labels: the record has all that were decided")
    out.print(f"{told['clips']:,} clips are labelled, {told['flagged']:,} of them with a bad case")


def preferred(told: Mapping[str, Any]) -> None:
    """Preferences that were written, by dimension."""
    out.print(f"{told['pairs']:,} pairs in {told['path']}", soft_wrap=True)
    words = {"preferred": "preferred", "tie": "ties", "both_bad": "both bad"}
    for dimension, counts in told["dimensions"].items():
        out.print(f"  {dimension:<20} {', '.join(f'{n:,} {words[verdict]}' for verdict, n in counts.items())}")
    if told["without_media"]:
        out.print(f"{told['without_media']:,} of them show a clip whose media are gone; their address is empty")


def adopted(told: Mapping[str, Any]) -> None:
    """A table that was taken in, or would be."""
    new = f", {told['num_new_clips']:,} of them new here" if told["num_new_clips"] else ""
    videos = f", of {told['num_new_videos']:,} videos that were never seen here" if told["num_new_videos"] else ""
    out.print(f"signal [bold]{told['signal']}[/]  [dim]{told['fingerprint']}[/]: {told['clips']:,} clips{new}{videos}")
    for column, kind in told["columns"].items():
        out.print(f"  {column:<40} {kind}")
    if told["num_cleared"]:
        out.print(f"{told['num_cleared']:,} clips had values by the table before, and have none now")
    out.print(
        "tiers can read these columns now"
        if told["adopted"]
        else "[dim]nothing written; without --dry-run it comes in[/]"
    )


def reclipped(told: Mapping[str, Any]) -> None:
    out.print(
        f"clipping run {told['run']}: {told['kept']} kept, {told['moved']} moved, {told['lost']} lost, {told['added']} added"
    )
    where = {clip: f"  [dim]{escape(told_)}[/]" for clip, told_ in told["where"].items()}
    for old, new, iou in told["moved_clips"][:20]:
        inherits = "labels inherited" if iou >= 0.9 else "labels not inherited"
        out.print(f"  moved {old} -> {new}  IoU {iou:.2f}, {inherits}{where[old]}", soft_wrap=True)
    for clip in told["lost_clips"][:20]:
        out.print(f"  lost  {clip}{where[clip]}", soft_wrap=True)
    if told["applied"]:
        out.print("switched" + ("; `headroom curate` computes the new clips" if told["added"] or told["moved"] else ""))
    else:
        out.print("[dim]nothing written; add --apply to switch[/]")


def funnel_of_corpus(status: Mapping[str, Any], built: Sequence[Mapping[str, Any]]) -> None:
    """From files to tiers, a bar each."""
    videos = status["videos"]
    total = videos["done"] + videos["quarantined"] + videos["new"]
    steps = [
        ("videos found", total),
        ("  decodable", total - videos["quarantined"]),
        ("  past the prefilter", total - videos["quarantined"] - videos["rejected_by_prefilter"]),
        ("  with a clip", videos["done"] - videos["rejected_by_prefilter"] - videos["without_clips"]),
        ("clips", status["clips"]),
        *((f"  in {b['tier']}", b["clips"]) for b in sorted(built, key=lambda b: -int(b["clips"]))),
    ]
    out.print("\n[bold]funnel[/]")
    widest = max(max(count for _, count in steps), 1)
    for name, count in steps:
        out.print(f"  {name:<24} {count:>6,}  [cyan]{'█' * round(40 * count / widest)}[/]")


def note(text: str) -> None:
    """What is under way, beside the output."""
    err.print(f"\n[dim]{escape(text)}[/]")


def next_steps(report: Any, workspace: Any) -> None:
    where = f" -w {shlex.quote(str(workspace))}" if workspace.resolve() != Path("workspace").resolve() else ""
    out.print(f"\n[bold]report[/]  {escape(str(report))}", soft_wrap=True)
    commands([
        ("make demo INPUT=/your/footage", "curate your own"),
        (f".venv/bin/headroom{where} tier funnel a2v_gold", "which clause removes what"),
        (f".venv/bin/headroom{where} tier explain CLIP", "why a clip is in or out"),
        (f'.venv/bin/headroom{where} sql "SELECT ..."', "ask anything"),
        (f".venv/bin/headroom{where} up", "nightly reprocessing, with the Prefect UI"),
    ])  # fmt: skip


def commands(steps: Sequence[tuple[str, str]]) -> None:
    """What to do next, and what for."""
    out.print("\n[bold]next[/]")
    widest = max(len(escape(command)) for command, _ in steps)
    for command, does in steps:
        out.print(f"  {escape(command):<{widest}}  [dim]{does}[/]", soft_wrap=True)


def signal_written(told: Mapping[str, Any]) -> None:
    for file in told["files"]:
        out.print(f"wrote {escape(file)}", soft_wrap=True)
    out.print("told of it: tasks/signal_versions.json, docs/signals.md")
    out.print(f"[dim]see it on footage:[/] headroom signal try {escape(told['files'][0])}", soft_wrap=True)


def tried(told: Mapping[str, Any]) -> None:
    """A signal under development."""
    states = ", ".join(f"{count} {status}" for status, count in told["status"].items())
    short = told["clips"] < told["asked"]
    on = f"{told['clips']} of {told['asked']} clips, as many as fit into" if short else f"{told['clips']} clips in"
    out.print(f"[bold]{escape(told['name'])}[/] on {on} {told['wall_s']:.1f} s: {states}")
    if short:
        out.print("[dim]--seconds gives it more time[/]")
    for reason, count in list(told["reasons"].items())[:8]:
        out.print(f"  [dim]{count} ×[/] {escape(reason)}", soft_wrap=True)
    table = Table("column", "n", "least", "median", "most", box=None, header_style="dim")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, values in told["columns"].items():
        table.add_row(
            name, str(values["n"]), *(cell(values[k]) if values["n"] else "" for k in ("least", "median", "most"))
        )
    out.print(table)
    out.print(
        f"cost: {told['cost_cpu_s']:.4g} CPU-s per second of clip (declared {told['declared_cpu_s']:g}), "
        f"decoding for it alone {told['decode_cpu_s']:.4g}"
    )
    if told["computed_needs"]:
        made = ", ".join(f"{name} on {count} clips" for name, count in told["computed_needs"].items())
        out.print(f"[dim]computed beside it, since the store lacks them: {escape(made)}[/]", soft_wrap=True)
    if told["scorecard"]:
        out.print(f"scorecard of {escape(told['scorecard_of'])}")
    for row in told["scorecard"]:
        goal = "" if row["goal"] is None else f", goal {row['goal']:g} {row['verdict']}"
        measured = f"{row['value']:.3g} [{row['low']:.3g}, {row['high']:.3g}]"
        out.print(f"  {escape(row['claim'])}: {escape(row['measure'])} {measured}, n {row['n']}{goal}", soft_wrap=True)
    if told["scorecard_problem"]:
        out.print(f"{'now' if told['scorecard'] else 'scorecard'}: {escape(told['scorecard_problem'])}", soft_wrap=True)
    if told["scorecard"]:
        out.print(f"[dim]anew, over all files: python -m benchmarks.scorecards {escape(told['name'])}[/]")
    out.print(
        f"look: {escape(told['page'])}, {escape(told['sheet'])}; values: {escape(told['values'])}", soft_wrap=True
    )
