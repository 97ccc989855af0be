"""What the command line prints of new versions of signals: candidates, promotions, roll-backs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from dashboards.terminal import out
from tasks.promote import version_told

SHOWN = 20
"""Clips of a tier that enter or leave."""
SIGNALS_SHOWN = 4
"""Of a backlog, those that take longest."""


def took(told: Mapping[str, Any]) -> None:
    """A version that serves now, by `promote` or `rollback`."""
    version = version_told(told["version"], told["backend"], told["fingerprint"])
    before = version_told(told["before_version"], "", told["before"])
    out.print(
        f"[bold]{told['signal']}[/]: {version} serves now, in place of {before} ({told['rows']:,} clips)  "
        f"[dim]manifest {told['manifest']}[/]",
        soft_wrap=True,
    )
    again = f"headroom signal {'promote' if told['held'] else 'rollback'} {told['signal']}"
    if told["held"]:
        out.print(
            f"[dim]{before} stays a candidate and does not take over by itself; take its code or setting back, too,[/]",
            soft_wrap=True,
        )
    out.print(f"[dim]{'or take it again:' if told['held'] else 'back:'}[/] {again}")
    out.print("[dim]what depends on it is stale now:[/] headroom reprocess")


def shadowed(told: Mapping[str, Any]) -> None:
    """A candidate beside the version that serves, on a sample of clips."""
    version = version_told(told["version"], told["backend"], told["fingerprint"])
    before = version_told(told["serving_version"], "", told["serving"])
    kept = told["clips"] - told["computed_now"]
    known = f", {kept:,} of them known before" if kept else ""
    out.print(f"[bold]{told['signal']}[/]: {version} beside {before}, which serves, on {told['clips']:,} clips{known}")
    table = Table("column", "clips", "changed", "Spearman", "p5", "median", "p95", box=None, header_style="dim")
    for column in table.columns[1:]:
        column.justify = "right"
    for column in told["columns"]:
        if column["new"]:
            table.add_row(column["column"], "[dim]new[/]")
            continue
        changed = "" if column["changed_ratio"] is None else f"{100 * column['changed_ratio']:.0f} %"
        cells = [f"{column['clips']:,}", changed]
        if "spearman" in column:
            cells.append("" if column["spearman"] is None else f"{column['spearman']:.3f}")
            cells += [_change(column["before"][k], column["after"][k]) for k in ("p5", "median", "p95")]
        table.add_row(column["column"], *cells)
    out.print(table)
    for column in told["columns"]:
        for change in column.get("changes", []):
            out.print(
                f"  {column['column']}: {escape(str(change['from']))} -> {escape(str(change['to']))} on {change['clips']:,} clips"
            )
    for status in (s for s in told["statuses"] if s["from"] != s["to"]):
        why = f": {status['reason']}" if status["reason"] else ""
        out.print(
            f"status {status['from']} -> {status['to']} on {status['clips']:,} clips{escape(why)}", soft_wrap=True
        )
    costs = [("not measured" if c is None else f"{c:.4g}") for c in (told["cost"]["before"], told["cost"]["after"])]
    out.print(f"cost: {costs[0]} -> {costs[1]} CPU-s per second of clip")
    for tier in told["tiers"]:
        _tier_moves(tier)
    if not told["tiers"]:
        out.print("no tier has a clause over it")
    held = "it is held back; " if told["held"] else ""
    out.print(
        f"[dim]{held}{told['computed']:,} of {told['rows']:,} rows are computed; the rest, then it takes over:[/] "
        f"headroom curate --signal {told['signal']}"
        if told["computed"] < told["rows"] or not told["held"]
        else f"[dim]all rows are computed, it is held back:[/] headroom signal promote {told['signal']}"
    )


def _tier_moves(tier: Mapping[str, Any]) -> None:
    enter, leave = tier["enter"], tier["leave"]
    out.print(
        f"tier [bold]{tier['tier']}[/]: of the sample {tier['inside']:,} are in; {len(enter):,} would enter, {len(leave):,} leave"
    )
    for sign, moves in (("[green]+[/]", enter), ("[red]-[/]", leave)):
        for move in moves[:SHOWN]:
            out.print(f"  {sign} {move['clip_id']}  [dim]{escape('; '.join(move['clauses']))}[/]", soft_wrap=True)
        if len(moves) > SHOWN:
            out.print(f"  [dim]{len(moves) - SHOWN:,} more; --json gives all[/]")
    for clause in tier["not_judged"]:
        out.print(f"  [dim]not judged on a sample: {escape(clause)}[/]", soft_wrap=True)


def _change(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return ""
    return f"{before:.4g}" if before == after else f"{before:.4g} -> {after:.4g}"


def candidates(told: Mapping[str, Any]) -> None:
    """Of `headroom status`: versions that roll out, and how long what is late takes."""
    for state in told["candidates"]:
        version = version_told(state["version"], state["backend"], state["fingerprint"])
        before = version_told(state["serving_version"], "", state["serving"])
        share = f"{state['computed']:,} of {state['rows']:,} rows"
        why = state["why"] if state["computed"] == state["rows"] else ""
        told_why = f"; {why}" if why else ""
        out.print(
            f"[yellow]rolling out[/]  {state['signal']} {version}: {share}; {before} serves[dim]{escape(told_why)}[/]",
            soft_wrap=True,
        )
    late = told["backlog"]
    if late["rows"]:
        out.print(f"[yellow]left to compute[/]  {_rows(late['rows'])}, {_empty(late['hours'])}", soft_wrap=True)
        most = sorted(late["signals"], key=lambda s: -s["cpu_s"])
        parts = [f"{s['signal']} {_rows(s['rows'])}" for s in most[:SIGNALS_SHOWN]]
        parts += [f"{len(most) - SIGNALS_SHOWN} more signals"] if len(most) > SIGNALS_SHOWN else []
        out.print(f"  [dim]{', '.join(parts)}; headroom reprocess computes them, or the next night[/]", soft_wrap=True)


def _empty(hours: float | None) -> str:
    if hours is None:
        return "too little was computed yet to say how long that takes"
    return f"done after about {_hours(hours)} of computing at the measured rate"


def _rows(num: int) -> str:
    return f"{num:,} row{'s' if num != 1 else ''}"


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min" if hours >= 1 / 60 else "a minute"
