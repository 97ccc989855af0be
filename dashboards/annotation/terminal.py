"""What the command line prints of annotation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from dashboards.terminal import out


def rankings(told: Mapping[str, Any]) -> None:
    """For each question the systems by rank with their strengths, and how often each wins over each other."""
    for question, found in told["questions"].items():
        line = ", ".join(_counted(found[f"num_{what}s"], what) for what in ("item", "prompt", "rater"))
        out.print(f"[bold]{escape(question.replace('_', ' '))}[/]  {line}")
        rows = found["systems"]
        table = Table("rank", "system", "Elo", "95 %", "not told apart from", box=None, header_style="dim")
        for row in rows:
            strength = [f"{row['elo']:.0f}", f"{row['low']:.0f} to {row['high']:.0f}"]
            table.add_row(
                str(row["rank"] or "–"), escape(row["system"]), *strength, escape(", ".join(row["not_told_apart"]))
            )
        out.print(table)
        rates = Table("wins over", *(escape(row["system"]) for row in rows), box=None, header_style="dim")
        for row in rows:
            won = [row["win_rates"].get(other["system"]) for other in rows]
            rates.add_row(escape(row["system"]), *("–" if rate is None else f"{rate:.2f}" for rate in won))
        out.print(rates)
        if rows[0]["rank"] is None:
            out.print("[dim]no interval separates these systems: ask more raters about more prompts[/]")
        if found["num_prompts"] == 1:
            out.print("[dim]what one prompt shows can't be told from the systems' difference; ask about others too[/]")
        if found["num_raters"] == 1:
            out.print("[dim]one rater's taste can't be told from the systems' difference; ask others too[/]")


def answers_written(told: Mapping[str, Any]) -> None:
    given, rows = f"{_counted(told['answers'], 'answer')} of {_counted(told['raters'], 'rater')}", told["rows"]
    out.print(f"{escape(told['path'])}: {given}, {_counted(rows, 'row')}")


def _counted(num: int, what: str) -> str:
    return f"{num} {what}{'s' if num != 1 else ''}"
