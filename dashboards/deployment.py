"""What the command line prints of deployments."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from dashboards.terminal import err, out

COLOURS = {"serving": "green", "refused": "red", "rolled back": "red"}


def say(text: str) -> None:
    """A step that begins, on standard error."""
    err.print(f"deploy  {escape(text)}", style="dim", soft_wrap=True)


def deployed(told: Mapping[str, Any]) -> None:
    """What became of a deployment, or of a roll-back."""
    name, state = told["checkpoint"], told["state"]
    if told["did"] == "nothing":
        out.print(f"checkpoint [bold]{name}[/] serves already; nothing to do")
        return
    colour = COLOURS.get(state, "yellow")
    why = told["reason"].removeprefix(f"checkpoint {name}: ")
    out.print(f"checkpoint [bold]{name}[/] is [{colour}]{state}[/]: {escape(why)}", soft_wrap=True)
    if told["did"] == "rollback":
        out.print(f"[dim]what serves now:[/] {told['stable'] or 'nothing'}")
    elif state == "serving" and told.get("kind") == "identity":
        out.print(f"[dim]before:[/] {told['before'] or 'what is usual for people'}")
    elif state == "serving" and told.get("kind") == "renderer":
        out.print("[dim]it draws for servers and workers that start from now on[/]")
        back = told["before"] or "none: give --renderer none to headroom serve and headroom render"
        out.print(f"[dim]before:[/] {escape(back)}")
    elif state == "serving":
        out.print("[dim]back:[/] headroom deploy --rollback")
    else:
        out.print(f"[dim]what serves is as before:[/] {told['before'] or 'nothing'}")


def shown(told: Mapping[str, Any]) -> None:
    """What serves, and how it came to that."""
    out.print(f"serving  [bold]{told['stable'] or 'nothing is deployed yet'}[/]")
    if told.get("renderer"):
        out.print(f"renderer [bold]{told['renderer']}[/]")
    if told.get("identity"):
        out.print(f"identity [bold]{told['identity']}[/]")
    if told["canary"]:
        out.print(f"canary   [yellow]{told['canary']}[/], {told['share']:.0%} of the new sessions")
    for url in told["servers"]:
        out.print(f"server   {url}")
    for url in told["away"]:
        out.print(f"server   {url} [dim]does not answer; it catches up when it is back[/]")
    if not told["history"]:
        out.print("[dim]next:[/] headroom deploy audio_to_motion")
        return
    table = Table("when", "checkpoint", "became", "why", box=None, header_style="dim")
    for row in told["history"]:
        when = datetime.fromtimestamp(row["begun_at"]).astimezone().strftime("%Y-%m-%d %H:%M")
        why = row["reason"].removeprefix(f"checkpoint {row['checkpoint']}: ")
        table.add_row(when, row["checkpoint"], row["state"], escape(why or "under way"))
    out.print(table)
