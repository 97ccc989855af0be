"""What the groups of commands have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

WorkspaceOption = Annotated[
    Path | None, typer.Option("--workspace", "-w", help="Workspace folder; else HEADROOM_WORKSPACE, else ./workspace.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="The last line of standard output is one JSON object.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="A clipping parameter, as min_s=3; may be repeated.")
]


class Whole(TyperGroup):
    """Commands listed with all of their first sentence, over as many lines as it takes."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        rows = [(name, command.get_short_help_str(limit=400)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def seconds(text: str) -> float:
    """ "2h", "90m", "600s" or "600" as seconds. Raises ValueError for anything else."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        value = float(number) * units[unit]
    except ValueError:
        raise ValueError(f"time {text!r}: write it as 2h, 90m or 600s") from None
    if not value > 0:
        raise ValueError(f"time {text!r}: must be above zero")
    return value


def share_of(text: str) -> float:
    """ "10%" or "0.1" as 0.1. Raises ValueError for anything that is no share."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise ValueError(f"share {text!r}: write it as 10% or 0.1") from None
    if not 0 <= value <= 1:
        raise ValueError(f"share {text!r}: must lie between 0% and 100%")
    return value


def seconds_of(text: str) -> float:
    """ "90s", "10m" or "2h" in seconds. Raises ValueError for anything that is no length of time."""
    units = {"s": 1, "m": 60, "h": 3600}
    try:
        value = float(text[:-1]) * units[text[-1:]]
    except (ValueError, KeyError):
        raise ValueError(f"time {text!r}: write it as 90s, 10m or 2h") from None
    if not 0 < value < float("inf"):
        raise ValueError(f"time {text!r}: must be above 0")
    return value


def group(name: str | None = None, sentence: str | None = None) -> typer.Typer:
    """Commands under a name of their own; without one, among those of `headroom` itself."""
    return typer.Typer(
        name=name,
        cls=Whole,
        help=sentence,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
