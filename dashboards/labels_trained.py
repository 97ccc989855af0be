"""Terminal output of what was trained from people's labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from dashboards.terminal import out


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
    out.print("put it to work: the signal's rows are computed anew, and readers see them when all are there")
    out.print(f'HEADROOM_BACKENDS="{told["setting"]}" headroom curate', soft_wrap=True, markup=False)
