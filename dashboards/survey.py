"""The forecast of a source, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from dashboards.terminal import out


def surveyed(told: Mapping[str, Any]) -> None:
    out.print(
        f"[bold]{escape(told['source'])}[/]: {told['files']:,} files, {told['bytes'] / 1e9:.3g} GB; forecast from "
        f"{told['sample']:,} of them (seed {told['seed']}), in brackets 95 % intervals"
    )
    out.print(
        f"footage {_span(told['hours'])} h; to curate it all {_span(told['cpu_hours'])} CPU-hours of this machine"
    )
    out.print(_gpu(told), soft_wrap=True)
    table = Table("tier", box=None, header_style="dim")
    for name in ("files that yield", "hours in all"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in told["yields"]:
        share = line["files"]
        files = f"{share['value']:.0%} [{share['low']:.0%}, {share['high']:.0%}]"
        table.add_row(escape(line["tier"]), escape(files), escape(_span(line["hours"], mark=False)))
    out.print(table)
    for name, why in told["not_judged"].items():
        out.print(f"[yellow]tier {escape(name)} can't be judged: {escape(why)}[/]", soft_wrap=True)
    if told["rejected"]:
        out.print("[bold]files without a clip[/]")
    for line in told["rejected"]:
        out.print(f"  {line['files']:>4} {line['stage']}: {escape(line['reason'])}", soft_wrap=True)
    if told["clauses"]:
        out.print("[bold]what takes most clips out of a tier[/]")
    for line in told["clauses"]:
        out.print(f"  {line['clips']:>4} {line['tier']}: {escape(line['clause'])}", soft_wrap=True)
    table = Table("metadata", "told of", "values", "", box=None, header_style="dim")
    for line in told["metadata"]:
        wrong = f": {line['wrong']}" if line["wrong"] else ""
        table.add_row(line["field"], f"{line['told']} of {line['of']}", str(line["values"]), line["verdict"] + wrong)
    out.print(table)
    out.print(f"preview: {told['grid']}" if told["grid"] else "no clip to preview", soft_wrap=True, markup=False)


def _gpu(told: Mapping[str, Any]) -> str:
    asking = ", ".join(told["gpu_signals"])
    if not asking:
        return "GPU-hours 0: no signal asks for a GPU with the backends that are chosen (HEADROOM_BACKENDS)"
    where = "" if told["gpu_device"] == "cuda" else "; their models ran on the CPU here, so a GPU will take less"
    return f"GPU-hours {_span(told['gpu_hours'])}, for {escape(asking)}{where}"


def _span(told: Mapping[str, float], *, mark: bool = True) -> str:
    text = f"{told['value']:.3g} [{told['low']:.3g}, {told['high']:.3g}]"
    return escape(text) if mark else text
