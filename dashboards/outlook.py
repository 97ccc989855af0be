"""The plan of a run, for people: in order, what would be computed, at what cost, and what is spared by which clause."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from dashboards.terminal import out


def planned(told: Mapping[str, Any]) -> None:
    what = f"tier {', '.join(told['tiers'])}" if told["tiers"] else "all that is asked for"
    out.print(f"[bold]plan for {escape(what)}[/]; nothing is computed")
    new = told["new_files"]
    if new["files"]:
        out.print(
            f"{new['files']:,} files are new or changed ({new['bytes'] / 1e6:,.0f} MB, about {new['about_s']:,} s): "
            "their clips are chosen first, and are not in this plan"
        )
    if told["to_normalise"]["videos"]:
        out.print(
            f"{told['to_normalise']['videos']:,} videos to normalise, about {told['to_normalise']['about_s']:,} s"
        )
    if told["to_clip"]:
        out.print(f"{told['to_clip']:,} videos whose clips are to be chosen")
    if not told["signals"]:
        out.print("nothing is stale")
        return
    table = Table(box=None, header_style="dim")
    table.add_column("signal")
    for name in ("stale", "skipped", "to compute", "expected", "CPU-s", "CPU-s per s"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in told["signals"]:
        rows = (line["stale"], line["stale"] - line["to_compute"] or "", line["to_compute"], line["expected"])
        cells = [f"{r:,}" if isinstance(r, int) else r for r in rows]
        unit = " windows" if line["grain"] == "video" else ""
        table.add_row(f"{line['signal']}[dim]{unit}[/]", *cells, f"{line['cpu_s']:,.1f}", f"{line['cpu_s_per_s']:g}")
    out.print(table)
    for tier, clause, signals in _spared(told["signals"]):
        out.print(f"[dim]skipped by {escape(tier)}:[/] {escape(clause)}  [dim]{', '.join(signals)}[/]", soft_wrap=True)
    spared = f", {told['expected_cpu_s']:,.0f} expected" if told["expected_cpu_s"] < told["cpu_s"] else ""
    out.print(
        f"at most {told['cpu_s']:,.0f} CPU-seconds{spared}; everything that is stale (--all): {told['all_cpu_s']:,.0f}"
    )


def _spared(lines: list[Mapping[str, Any]]) -> list[tuple[str, str, list[str]]]:
    """By clause the signals that it spares, with the clips."""
    found: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        for told in line["skipped"]:
            found.setdefault((told["tier"], told["clause"]), []).append(f"{line['signal']} on {told['clips']:,}")
    return [(tier, clause, signals) for (tier, clause), signals in found.items()]
