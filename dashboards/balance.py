"""A balanced snapshot, for people: by target and category what it had, what was asked for, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from dashboards.terminal import out
from dashboards.tiers_shown import built


def balanced(told: Mapping[str, Any]) -> None:
    table = Table("target", "category", box=None, header_style="dim")
    for name in ("clips", "share before", "asked", "got"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    shown = ""
    for line in told["margins"]:
        target = "" if line["target"] == shown else escape(line["target"])
        shown = line["target"]
        shares = [f"{line[k]:.1%}" for k in ("before", "asked", "got")]
        table.add_row(target, escape(line["category"]), f"{line['clips']:,}", *shares, f"[yellow]{line['why']}[/]")
    out.print(table)
    missed = sum(bool(line["why"]) for line in told["margins"] if line["asked"])
    out.print("every share is met" if not missed else f"[yellow]{missed} shares are not met[/]")
    built(told)
