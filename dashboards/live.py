"""What `headroom demo --live` prints after the funnel: what was learnt from, how well, what serves, and where to look."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from dashboards import deployment, motion_trained, terminal
from dashboards.terminal import err, out

MEASURES = ("lip_distance", "lip_velocity_distance", "correlation")


def say(text: str) -> None:
    """A step that begins, on standard error."""
    err.print(f"live  {escape(text)}", style="dim", soft_wrap=True)


def came_live(told: Mapping[str, Any], workspace: Path) -> None:
    trained, session = told["trained"], told["session"]
    _learnt(trained)
    _measures(trained)
    out.print("\n[bold]deployment[/]")
    deployment.deployed(told["deployed"])
    if session is not None:
        _session(session)
    took = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in told["took_s"].items())
    out.print(f"[dim]{took}[/]")
    where = f" -w {workspace}" if workspace.resolve() != Path("workspace").resolve() else ""
    name, steps = f".venv/bin/headroom{where}", []
    if session is not None:
        steps.append(
            (f"{name} serve --avatar {session['avatar']}", "the same face on a page: open its address and speak")
        )
        steps.append((f"{name} render SOUND OUT.mp4 --avatar PORTRAIT.jpg", "your sound, another face"))
    steps.append((f"{name} evaluate {trained['id'][:8]}", "the measures once more"))
    steps.append(
        (f"{name} train audio_to_motion --tier {trained['tier']}", "the same on more footage, once it is curated")
    )
    terminal.commands(steps)


def _learnt(trained: Mapping[str, Any]) -> None:
    card = trained["data"]
    people = len(card["people"]["train"])
    again = "; trained before, nothing was trained now" if trained["did"] == "nothing" else ""
    out.print(f"\n[bold]training[/]  checkpoint {trained['id']}{again}", soft_wrap=True)
    out.print(
        f"  learnt from {len(card['clips']['train'])} clips, {card['seconds']['train']:.1f} s, of "
        f"{people} {'person' if people == 1 else 'people'} ({trained['tier']}), {trained['recipe']['num_steps']} steps",
        soft_wrap=True,
    )
    if card["heard_twice"]:
        copies = len(card["heard_twice"])
        out.print(f"  ends of clips not held out, since copies of them are learnt from: {copies}", soft_wrap=True)
    if any(licence.startswith("public-domain AND MIT") for licence in card["licences"]):
        out.print("  [yellow]made footage:[/] its mouths follow its sound by a rule, so it is easier than any real footage",
                  soft_wrap=True)  # fmt: skip


def _measures(trained: Mapping[str, Any]) -> None:
    """Of what was held out, beside the baselines; where a baseline is better, it is said."""
    metrics = trained["metrics"]
    part = "held_time" if metrics["held_out"] == "time" else "held_people"
    judged = metrics[part]
    if part == "held_time":
        out.print(f"  {motion_trained.TIME_ALONE}", soft_wrap=True)
    out.print(f"\n[bold]evaluation[/]  {part.replace('_', ' ')}: {judged['num_clips']} clips, {judged['seconds']:g} s")
    names = sorted(judged["measures"], key=lambda name: name != "ours")
    table = Table("measure", *("this model" if n == "ours" else n.replace("_", " ") for n in names), "", box=None,
                  header_style="dim")  # fmt: skip
    for column in table.columns[1:]:
        column.justify = "right"
    for measure in MEASURES:
        behind = [n.replace("_", " ") for n, ahead in judged["ahead"].items() if ahead[measure]["value"] <= 0]
        verdict = f"[yellow]behind {', '.join(behind)}[/]" if behind else "ahead"
        table.add_row(
            measure.replace("_", " "), *(f"{judged['measures'][n][measure]['value']:.2f}" for n in names), verdict
        )
    out.print(table)
    quiet = judged["silence"]
    still = ", ".join(f"{n} {_value(quiet[f'after_voice_{n}']):.2f}" for n in ("open", "quiver"))
    out.print(f"  in silence after the voice, standard deviations: {still}")


def _session(session: Mapping[str, Any]) -> None:
    again = "; recorded before" if session["did"] == "nothing" else ""
    out.print(f"\n[bold]session[/]  {escape(session['path'])}{again}", soft_wrap=True)
    facts = [f"{session['frames']:.0f} frames, {session['lost_frames']:.0f} lost"]
    facts += [f"engine at {session['fps']:.0f} frames a second"] if session["fps"] else []
    facts += [f"sound and picture {session['skew_ms']:.1f} ms apart"] if session["skew_ms"] is not None else []
    facts += [f"the mouth opens with the voice: r {session['mouth_loudness']:.2f}"] if session["mouth_loudness"] else []
    out.print(f"  as a viewer got it: {', '.join(facts)}; checkpoint {session['checkpoint']}", soft_wrap=True)


def _value(told: Any) -> float:
    return float(told["value"] if isinstance(told, Mapping) else told)
