"""What the command line prints of trainings, and of checkpoints that make motion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from dashboards.terminal import err, out
from infra.counted import clips_of_people


@contextmanager
def training(*, quiet: bool) -> Iterator[Callable[[Any], None]]:
    """A progress bar of a training's steps on standard error; a line each tenth where there is no terminal."""
    if quiet or not err.is_terminal:
        yield _told_each_tenth
        return
    columns = (
        TextColumn("training"),
        BarColumn(),
        TextColumn("{task.completed} of {task.total}, loss {task.fields[loss]:.3f}"),
    )
    with Progress(*columns, TimeRemainingColumn(), console=err) as bars:
        task = bars.add_task("training", total=None, loss=float("nan"), visible=False)

        def on_step(done: Any) -> None:
            bars.update(task, completed=done.step, total=done.num_steps, loss=done.losses["loss"], visible=True)

        yield on_step


def _told_each_tenth(done: Any) -> None:
    if done.step % max(1, done.num_steps // 10) == 0:
        err.print(f"training: step {done.step:,} of {done.num_steps:,}, loss {done.losses['loss']:.3f}")


def trained(told: Mapping[str, Any]) -> None:
    card = told["data"]
    out.print(
        f"[bold]checkpoint {told['id']}[/] of {escape(told['recipe']['name'])}: learnt from "
        f"{clips_of_people(len(card['clips']['train']), len(card['people']['train']))}, "
        f"{card['seconds']['train']:,.0f} s; {len(card['left_out'])} clips left out"
    )
    for number, stage in enumerate(told.get("curriculum", {}).get("stages", ()), 1):
        of = f"{escape(stage['snapshot']['tier'])}, snapshot {stage['snapshot']['id']}"
        out.print(f"  stage {number}: {of}: {stage['num_clips']:,} clips, {stage['num_steps']:,} steps")
    if told.get("did") == "nothing":
        out.print("it was trained already, by this code on these clips: nothing was trained")
    judged(told["metrics"])
    seen(told)
    out.print(f"look: headroom motion CLIP out.mp4 --checkpoint {told['id'][:8]}")


def exported(told: Mapping[str, Any]) -> None:
    out.print(f"{escape(told['path'])}: checkpoint {told['checkpoint']}, {told['num_bytes'] / 1e6:.2f} MB")
    out.print(f"at most {told['most_apart']:.1e} away from torch (standard deviations of a person's motion)")


def identified(told: Mapping[str, Any]) -> None:
    """How far the rest and the scale told from one picture are off, beside what is simpler."""
    of = told["metrics"]["held_people"]
    out.print(
        f"[bold]checkpoint {told['id']}[/] of identity: {of['num_people']:,} people, each judged by a model that did not see them"
    )
    table = Table("", "rest error", "scale error", box=None, header_style="dim")
    for who, measures in of["measures"].items():
        cells = [f"{m['value']:.2f} [dim]{m['low']:.2f} to {m['high']:.2f}[/]" for m in measures.values()]
        table.add_row(who.replace("_", " "), *cells)
    out.print(table)
    out.print("[dim]of the mouth: in standard deviations of the person's own motion, and as a logarithm[/]")
    for name in {"rest", "scale"} - set(told["keeps"]):
        out.print(f"the {name} is not surely better than what is usual for people, which stays")
    out.print(f"[dim]next:[/] headroom deploy {told['id'][:8]}, and avatars of portraits have it")


def rendered(told: Mapping[str, Any]) -> None:
    out.print(
        f"{escape(told['path'])}: {told['seconds']:.1f} s, {told['frames']} frames, checkpoint {told['checkpoint']}, "
        + (f"drawn by renderer {told['renderer']}" if told["renderer"] else "drawn by the warp alone")
    )
    out.print(f"{told['fps']} frames a second, real-time factor {told['real_time_factor']}")


def rendered_folder(told: Mapping[str, Any]) -> None:
    num, drawn_by = len(told["rendered"]), f"renderer {told['renderer']}" if told["renderer"] else "the warp alone"
    out.print(f"{escape(told['path'])}: {num} rendered, {told['kept']} there already, {len(told['failed'])} failed")
    if num:
        out.print(
            f"{told['seconds']:.1f} s, {told['frames']} frames, checkpoint {told['checkpoint']}, drawn by {drawn_by}; "
            f"{told['fps']} frames a second, real-time factor {told['real_time_factor']}"
        )
    for name, reason in told["failed"].items():
        out.print(f"[red]{escape(name)}[/]: {escape(reason)}")


def evaluated(told: Mapping[str, Any]) -> None:
    out.print(f"[bold]checkpoint {told['checkpoint']}[/] on snapshot {told['snapshot']}")
    judged(told)
    seen(told)
    out.print(f"clip by clip: columns {told['signal']}_... of signals, as {told['signal']}_lip_distance in a tier")


TIME_ALONE = (
    "[yellow]held out: time.[/] Too few people to hold some out, so it is judged on ends of the clips it learnt from: "
    "that says nothing of people it never saw"
)


def judged(metrics: Mapping[str, Any]) -> None:
    """Measures of motion beside the baselines', by what was held out."""
    if metrics.get("held_out") == "time":
        out.print(TIME_ALONE, soft_wrap=True)
    for part, of in ((name, of) for name, of in metrics.items() if isinstance(of, Mapping) and "silence" in of):
        table = Table(
            title=f"{part.replace('_', ' ')}: {clips_of_people(of['num_clips'], of['num_people'])}",
            title_justify="left",
            box=None,
            header_style="dim",
        )
        table.add_column("measure", no_wrap=True)  # else a narrow terminal cuts names until they are alike
        for who in (*of["measures"], *(f"ahead of {name}" for name in of["ahead"])):
            table.add_column(who, overflow="fold")
        for measure in of["measures"]["ours"]:
            rows = [*(m[measure] for m in of["measures"].values()), *(a[measure] for a in of["ahead"].values())]
            table.add_row(
                measure, *(f"{r['value']:.3f} [{r['low']:.3f}, {r['high']:.3f}]".replace("[", "\\[") for r in rows)
            )
        out.print(table)
        late = ", ".join(f"{name} {told['median']:+.0f} ms" for name, told in of["lag"].items())
        out.print(f"  late where it fits best (median): {late}")
        quiet = {k: v["value"] if isinstance(v, Mapping) else v for k, v in of["silence"].items()}
        out.print(
            "  without a voice: " + ", ".join(f"{name} {value:.2f}" for name, value in quiet.items()), soft_wrap=True
        )


def seen(metrics: Mapping[str, Any]) -> None:
    """What was drawn for an evaluation: measures of the pictures beside the others', and where the videos lie."""
    drawn = metrics.get("drawn")
    if not drawn:
        return
    for part in (p for p in ("held_people", "held_time") if p in drawn):
        of = drawn[part]
        title = f"drawn, {part.replace('_', ' ')}: {clips_of_people(of['num_clips'], of['num_people'])}"
        _seen(title, of["measures"], lambda told: f"{told['value']:.3f} ({told['n']:.0f})")
        _seen("ahead of", of["ahead"], _interval)
    for clip, reason in drawn["left_out"].items():
        out.print(f"  [dim]clip {clip} was not drawn: {escape(reason)}[/]", soft_wrap=True)
    if "sheet" in drawn:
        out.print(f"look: {escape(drawn['sheet'])}, and {len(drawn['videos'])} videos beside it", soft_wrap=True)


def _seen(title: str, figures: Mapping[str, Any], cell: Callable[[Mapping[str, float]], str]) -> None:
    table = Table(box=None, header_style="dim")
    table.add_column(title, no_wrap=True)
    for who in figures:
        table.add_column(who, justify="right")
    for measure in dict.fromkeys(m for measures in figures.values() for m in measures):
        cells = [of.get(measure) for of in figures.values()]
        table.add_row(measure, *("" if c is None else escape(cell(c)) for c in cells))
    out.print(table)


def _interval(told: Mapping[str, float]) -> str:
    return f"{told['value']:+.3f} [{told['low']:.3f}, {told['high']:.3f}]"
