"""What the command line prints of deployments."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from dashboards.terminal import err, out
from store.deployments import RENDERER, WARP

COLOURS = {"serving": "green", "refused": "red", "rolled back": "red"}


def say(text: str) -> None:
    """A step that begins, on standard error."""
    err.print(f"deploy  {escape(text)}", style="dim", soft_wrap=True)


def deployed(told: Mapping[str, Any]) -> None:
    """What became of a deployment, or of a roll-back."""
    name, state, renderer = told["checkpoint"], told["state"], told.get("kind") == RENDERER
    what = f"{'renderer' if renderer else 'checkpoint'} [bold]{name}[/]" if name else WARP
    nothing = WARP if renderer else "nothing"
    if told["did"] == "nothing":
        out.print(f"{what} serves already; nothing to do")
        return
    colour = COLOURS.get(state, "yellow")
    why = told["reason"].removeprefix(f"checkpoint {name}: ")
    out.print(f"{what} is [{colour}]{state}[/]: {escape(why)}", soft_wrap=True)
    if told["did"] == "rollback":
        out.print(f"[dim]what {'draws' if renderer else 'serves'} now:[/] {told['stable'] or nothing}")
    elif state == "serving" and told.get("kind") == "identity":
        out.print(f"[dim]before:[/] {told['before'] or 'what is usual for people'}")
    elif state == "serving":
        out.print("[dim]back:[/] headroom deploy --rollback")
    else:
        out.print(f"[dim]what {'draws' if renderer else 'serves'} is as before:[/] {told['before'] or nothing}")


def shown(told: Mapping[str, Any]) -> None:
    """What serves, and how it came to that."""
    seen = "" if told["gated"] else f", [yellow]ungated[/]: headroom deploy {told['stable'][:8]} judges it"
    out.print(f"serving  [bold]{told['stable'] or 'nothing is deployed yet'}[/]{seen}")
    if told["renderer"]:
        out.print(f"renderer [bold]{told['renderer']}[/]")
    if told.get("identity"):
        out.print(f"identity [bold]{told['identity']}[/]")
    for canary, share in ((told["canary"], told["share"]), (told["renderer_canary"], told["renderer_share"])):
        if canary:
            out.print(f"canary   [yellow]{canary}[/], {share:.0%} of the new sessions")
    for url in told["servers"]:
        out.print(f"server   {url}")
    for url in told["away"]:
        out.print(f"server   {url} [dim]does not answer; it catches up when it is back[/]")
    if not told["history"]:
        out.print(
            "[dim]next:[/] headroom deploy audio_to_motion, once headroom train audio_to_motion --tier TIER has published one"
        )
        return
    table = Table("when", "kind", "checkpoint", "became", "why", box=None, header_style="dim")
    for row in told["history"]:
        when = datetime.fromtimestamp(row["begun_at"]).astimezone().strftime("%Y-%m-%d %H:%M")
        why = row["reason"].removeprefix(f"checkpoint {row['checkpoint']}: ")
        table.add_row(when, row["kind"], row["checkpoint"] or WARP, row["state"], escape(why or "under way"))
    out.print(table)
