"""Terminal output of what was trained from people's labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from dashboards.terminal import out

WHO = {
    "ours": "the model",
    "mean_rating": "mean rating",
    "one_column": "best single column",
    "as_it_is": "visual_quality_quality as it is",
}


def detected(told: Mapping[str, Any]) -> None:
    """A detector's figures beside what is simpler, and where its scores went."""
    of = told["metrics"]["held_people"]
    out.print(
        f"[bold]checkpoint {told['id']}[/] of {told['recipe']['name']}: {of['num_flagged']:,} of {of['num_clips']:,} clips "
        f"flagged, {of['num_groups']:,} people or videos, each judged by a model that did not see it"
    )
    table = Table("", *of["measures"]["ours"], box=None, header_style="dim")
    for who, measures in of["measures"].items():
        cells = [f"{m['value']:.2f} [dim]{m['low']:.2f} to {m['high']:.2f}[/]" for m in measures.values()]
        table.add_row(who.replace("_", " "), *cells)
    out.print(table)
    name = told["recipe"]["name"]
    if told["scored"]:
        out.print(
            f"{told['scored']:,} clips have {name}_score now; a tier leaves them out by coalesce({name}_score, 0) < 0.5"
        )
    else:
        out.print("no better than chance, so no clip is scored; more flags are needed, or other features")


def calibrated(told: Mapping[str, Any]) -> None:
    """How far grades are from people's, as they are and by the map, and the setting that puts it to work."""
    of = told["metrics"]["held_people"]
    out.print(
        f"[bold]checkpoint {told['id']}[/] of {told['recipe']['name']}: {of['num_clips']:,} rated clips of "
        f"{of['num_groups']:,} people or videos, each judged by a map that did not see it"
    )
    table = Table("", *(n.replace("_", " ") for n in of["measures"]["ours"]), box=None, header_style="dim")
    for who, measures in of["measures"].items():
        cells = [f"{m['value']:.3f} [dim]{m['low']:.3f} to {m['high']:.3f}[/]" for m in measures.values()]
        table.add_row(who.replace("_", " "), *cells)
    out.print(table)
    _put_to_work(told)


def rated(told: Mapping[str, Any]) -> None:
    """By dimension how near the model is to people's ratings beside what is simpler, and the setting that puts it to work."""
    of = told["metrics"]["held_people"]
    groups = max(j.get("num_groups", 0) for j in of.values())
    out.print(
        f"[bold]checkpoint {told['id']}[/] of {told['recipe']['name']}: {len(told['data']['clips']['train']):,} rated clips of "
        f"{groups:,} people or videos, each judged by a model that did not see it"
    )
    table = Table("", "clips", "by", "mean squared error", "spearman", box=None, header_style="dim")
    for column, judged in of.items():
        start = [column, f"{judged['num_clips']:,}"] if "measures" in judged else [column, ""]
        for who, measures in judged.get("measures", {}).items():
            told_of = [_with_interval(measures.get(m)) for m in ("mean_squared_error", "spearman")]
            table.add_row(*start, WHO[who], *told_of)
            start = ["", ""]
        if why := judged.get("left_out"):
            table.add_row(*start, f"[yellow]left out[/]: {why}")
    out.print(table)
    told_of = [c for c, judged in of.items() if "left_out" not in judged]
    out.print(f"columns for tiers: {', '.join(f'rated_quality_{c}' for c in told_of)}; those left out stay NULL")
    _put_to_work(told)


def _with_interval(figure: Mapping[str, float] | None) -> str:
    if figure is None:
        return "[dim]no order[/]"
    return f"{figure['value']:.3f} [dim]{figure['low']:.3f} to {figure['high']:.3f}[/]"


def _put_to_work(told: Mapping[str, Any]) -> None:
    out.print("put it to work: the signal's rows are computed anew, and readers see them when all are there")
    out.print(f'HEADROOM_BACKENDS="{told["backends"]}" headroom curate', soft_wrap=True, markup=False)
    out.print(
        "[dim]keep the setting where every command of the workspace reads it: without it the rows are stale again[/]"
    )
