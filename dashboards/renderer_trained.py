"""What the terminal says of a renderer: its measures beside the warp, the copy, and the checkpoint that it went on from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from dashboards.motion_trained import TIME_ALONE, seen
from dashboards.terminal import out
from infra.counted import clips_of_people


def trained(told: Mapping[str, Any]) -> None:
    card = told["data"]
    out.print(
        f"[bold]checkpoint {told['id']}[/] of {escape(told['recipe']['name'])}: learnt from {card['frames']['train']:,} frames, "
        f"{clips_of_people(len(card['clips']['train']), len(card['people']['train']))}; {len(card['left_out'])} clips left out"
    )
    if told.get("start"):
        out.print(f"  it went on from checkpoint {told['start']}")
    if told.get("did") == "nothing":
        out.print("it was trained already, by this code on these clips: nothing was trained")
    judged(told["metrics"])
    seen(told)
    out.print(f"draw with it: headroom render said.wav out.mp4 --avatar CLIP --renderer {told['id'][:8]}")


def evaluated(told: Mapping[str, Any]) -> None:
    out.print(f"[bold]checkpoint {told['checkpoint']}[/] on snapshot {told['snapshot']}")
    for name, of in told.get("perceptual", {}).items():
        out.print(f"  {name} by {escape(of['model'])}, {escape(of['revision'])}, {of['dtype']}", soft_wrap=True)
    judged(told)
    seen(told)
    out.print(f"clip by clip: columns {told['signal']}_... of signals, as {told['signal']}_avatar_mouth_psnr in a tier")


def exported(told: Mapping[str, Any]) -> None:
    out.print(f"{escape(told['path'])}: checkpoint {told['checkpoint']}, {told['num_bytes'] / 1e6:.2f} MB")
    out.print(f"at most {told['most_apart']:.1e} gray levels away from torch")


def judged(metrics: Mapping[str, Any]) -> None:
    """Measures by what was held out and by what the person is known from; in brackets how far it is ahead of the warp."""
    if metrics.get("held_out") == "time":
        out.print(TIME_ALONE, soft_wrap=True)
    for part, of in ((name, of) for name, of in metrics.items() if isinstance(of, Mapping) and "plates" in of):
        for kind, told in of["plates"].items():
            whos = list(told["measures"])
            table = Table(
                title=f"{part.replace('_', ' ')}: {clips_of_people(of['num_clips'], of['num_people'])}, "
                f"{of['seconds']:g} s, known from one {kind}"
            )
            table.add_column("measure")
            for who in whos:
                table.add_column(who, justify="right")
            table.add_column("ahead of warp", justify="right")
            for measure in told["measures"]["ours"]:
                digits = 5 if "lpips" in measure else 3
                values = [told["measures"][who].get(measure) for who in whos]
                ahead = told["ahead"]["warp"].get(measure)
                edge = _signed(ahead, digits) if ahead else ""
                table.add_row(measure, *("" if v is None else f"{v['value']:.{digits}f}" for v in values), escape(edge))
            out.print(table)
        for note in of.get("notes", ()):
            out.print(f"  {escape(note)}", soft_wrap=True)


def _signed(ahead: Mapping[str, float], digits: int) -> str:
    value, low, high = (f"{ahead[key]:+.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
