"""What the command line prints of tiers: what they say, hold, and leave out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from dashboards.terminal import cell, out


def tiers(told: Mapping[str, Any]) -> None:
    table = Table("tier", "clips now", "hours", "snapshot", "frozen", "when", box=None, header_style="dim")
    for tier in told["tiers"]:
        snapshot = tier.get("snapshot") or {}
        when = datetime.fromtimestamp(snapshot["created_at"]).strftime("%Y-%m-%d") if snapshot else ""
        now = "" if tier.get("clips") is None else f"{tier['clips']:,}"
        hours = "" if tier.get("hours") is None else f"{tier['hours']:.3g}"
        shown = "[red]can't run[/]" if tier.get("error") else now or "[dim]not yet[/]"
        table.add_row(tier["tier"], shown, hours, snapshot.get("id", ""), str(snapshot.get("clips", "")), when)
    out.print(table)
    if any(t.get("clips") is None and not t.get("error") for t in told["tiers"]):
        out.print("[dim]not yet: it reads signals that were never computed here (headroom curate --tier NAME)[/]")
    for tier in (t for t in told["tiers"] if t.get("error")):
        out.print(f"[red]{escape(tier['tier'])}[/]  {escape(tier['error'])}")


def tier_shown(told: Mapping[str, Any]) -> None:
    out.print(f"[bold]{told['tier']}[/]  [dim]{escape(told['path'])}[/]\n")
    out.print(told["sql"].strip(), markup=False, soft_wrap=True)
    out.print("\n[bold]clauses[/]")
    for clause in told["clauses"]:
        source = f"  [dim]{escape(clause['source'])}[/]" if clause.get("source") else ""
        out.print(f"  {clause['tier']:<14} {escape(clause['text'])}{source}", soft_wrap=True)
    out.print(f"\n[dim]reads {', '.join(told['signals'])}[/]")


def built(told: Mapping[str, Any]) -> None:
    out.print(
        f"{told['tier']}: {told['clips']:,} clips in snapshot [bold]{told['snapshot']}[/]  [dim]sha256 {told['sha256']}[/]"
    )


def diffed(told: Mapping[str, Any]) -> None:
    out.print(
        f"{told['from']} -> {told['to']}: {len(told['came'])} came, {len(told['went'])} went, {told['stayed']:,} stayed"
    )
    if told["changed"]:
        out.print(f"[dim]changed:[/] {escape('; '.join(told['changed']))}", soft_wrap=True)
    for sign, key in (("[green]+[/]", "came"), ("[red]-[/]", "went")):
        for change in told[key][:100]:
            out.print(f"{sign} {change['clip_id']}  [dim]{escape(str(change.get('because', '')))}[/]", soft_wrap=True)


def explained(told: Mapping[str, Any]) -> None:
    """Per tier its own clauses, what fails first; those of the tiers it builds on in one line each."""
    for name, verdicts in told["tiers"].items():
        inside = all(v["passed"] for v in verdicts)
        out.print(f"[bold]{name}[/]  {'[green]in[/]' if inside else '[red]out[/]'}")
        for base in dict.fromkeys(v["tier"] for v in verdicts if v["tier"] != name):
            taken = all(v["passed"] for v in verdicts if v["tier"] == base)
            if len(told["tiers"]) > 1 or taken:
                out.print(f"  {_mark(taken)}  all clauses of {base}")
        own = [v for v in verdicts if v["tier"] == name or (len(told["tiers"]) == 1 and not v["passed"])]
        for verdict in sorted(own, key=lambda v: bool(v["passed"])):
            out.print(
                f"  {_mark(verdict['passed'])}  {escape(verdict['clause'])}  [dim]{escape(_values(verdict['values']))}[/]"
            )


def _mark(passed: bool) -> str:
    return "[green]pass[/]" if passed else "[red]fail[/]"


def _values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} = {cell(v)}" for k, v in values.items())


def funnel(told: Mapping[str, Any]) -> None:
    """Clauses in order; then the nearest thresholds that would change what the tier holds."""
    table = Table(box=None, header_style="dim")
    table.add_column("clause", overflow="fold", ratio=1)
    for name in ("removes alone", "removes here", "left", "NULL", "price"):
        table.add_column(name, justify="right", no_wrap=True)
    tier = ""
    for clause in told["clauses"]:
        if clause["tier"] != tier:
            tier = clause["tier"]
            table.add_row(f"[bold]{escape(tier)}[/]")
        counts = (-clause["removed_alone"], -clause["removed_after"], clause["cumulative"], clause["nulls"])
        price = f"{clause['cpu_s']:,.0f} CPU-s" if clause["cpu_s"] >= 0.5 else ""
        table.add_row(escape(clause["clause"]), *(f"{c:,}" if c else "" for c in counts), f"[dim]{price}[/]")
    out.print(table)
    out.print(
        "[dim]removes: clips that the clause rejects by itself, and after those above it; price: of the signals it[/]"
    )
    out.print("[dim]reads first, over the clips left by then[/]")
    held = told["clauses"][-1]["cumulative"] if told["clauses"] else 0
    moves = [(c["clause"], steps) for c in told["clauses"] if (steps := list(_next_thresholds(c["thresholds"], held)))]
    if moves:
        out.print(f"\n[bold]the next threshold that would change what is in the tier, now {held:,}[/]")
    for clause, steps in moves:
        brings = ", ".join(f"{cell(t['value'])} -> {t['clips']:,} clips" for t in steps)
        out.print(f"  {escape(clause)}  [dim]{brings}[/]")


def _next_thresholds(thresholds: Sequence[Mapping[str, Any]], held: int) -> Iterator[Mapping[str, Any]]:
    """The nearest looser and the nearest tighter threshold that give another number of clips."""
    for tighter in (False, True):
        steps = [t for t in thresholds if t["tighter"] == tighter and t["clips"] != held]
        if steps:
            yield min(steps, key=lambda t: abs(t["clips"] - held))
