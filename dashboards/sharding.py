"""Shards as they are written, and what came of it, for people."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from dashboards.terminal import err, out

LEFT_OUT_SHOWN = 20


def written(shard: Mapping[str, Any]) -> None:
    """Progress, beside the output that a program may read."""
    name = f"{shard['group']}/{shard['number']:06d}"
    err.print(f"{escape(name)}: {shard['num_clips']} clips, {shard['bytes'] / 1e6:.1f} MB", soft_wrap=True)


def sharded(told: Mapping[str, Any]) -> None:
    out.print(
        f"{escape(told['tier'])} snapshot {told['snapshot']}: {told['num_clips']:,} clips in {told['num_shards']:,} shards, "
        f"{told['bytes'] / 1e6:,.1f} MB, {told['duration_s'] / 3600:.2f} hours"
    )
    table = Table("group", "clips", "shards", "minutes", "MB", box=None, header_style="dim")
    for column in table.columns[1:]:
        column.justify = "right"
    for group, of in told["groups"].items():
        cells = (
            f"{of['num_clips']:,}",
            f"{of['num_shards']:,}",
            f"{of['duration_s'] / 60:.1f}",
            f"{of['bytes'] / 1e6:,.1f}",
        )
        table.add_row(escape(group), *cells)
    out.print(table)
    for clip, why in list(told["left_out"].items())[:LEFT_OUT_SHOWN]:
        out.print(f"[yellow]left out[/]  {clip}: {escape(why)}", soft_wrap=True)
    if (more := len(told["left_out"]) - LEFT_OUT_SHOWN) > 0:
        out.print(f"[yellow]left out[/]  {more:,} more, in index.json")
    if told["did"] == "nothing":
        out.print("all of them were there: nothing was computed")
    out.print(f"index: {escape(told['place'])}/index.json", soft_wrap=True)


def sent() -> Callable[[Any], None]:
    """Progress of a mirror: a line every few seconds, beside the output that a program may read."""
    last_s = [time.monotonic()]

    def line(told: Any) -> None:
        if time.monotonic() - last_s[0] >= 5:
            last_s[0] = time.monotonic()
            err.print(f"{told.sent + told.already:,} of {told.objects:,} objects, {told.sent_bytes / 1e6:,.1f} MB sent")

    return line


def mirrored(told: Mapping[str, Any]) -> None:
    out.print(
        f"{told['objects']:,} objects, {told['bytes'] / 1e6:,.1f} MB: {told['sent']:,} were sent "
        f"({told['sent_bytes'] / 1e6:,.1f} MB), {told['already']:,} were there"
    )
    if told["only_there"]:
        out.print(
            f"[yellow]{told['only_there']:,} objects are only there[/]: the workspace has them no more; "
            "of what was erased here, delete them there too"
        )
    place = told["place"]
    if place.startswith("s3://"):
        out.print(f"to work on it there: export HEADROOM_OBJECTS_URL={escape(place)}", soft_wrap=True)
    else:
        out.print(f"to work on it there: unset HEADROOM_OBJECTS_URL; it is in {escape(place)}", soft_wrap=True)
