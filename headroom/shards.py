"""`headroom shard` and `headroom mirror`: what a workspace holds, for elsewhere."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from headroom.corpus import existing
from headroom.options import JsonOption, WorkspaceOption, group

app = group()


@app.command()
def shard(
    name: Annotated[
        str, typer.Argument(metavar="TIER|SNAPSHOT", help="A tier, which is frozen first; or a snapshot's id.")
    ],
    out: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE", help="A folder or s3://bucket/prefix (default: shards/SNAPSHOT of the workspace)."
        ),
    ] = None,
    format: Annotated[
        Literal["webdataset", "lance", "both"], typer.Option(help="Tar files, Lance tables, or both of them.")
    ] = "both",
    shard_mb: Annotated[int, typer.Option(min=1, help="A shard's size at most; one clip may be larger.")] = 256,
    timelines: Annotated[
        list[str] | None, typer.Option("--timeline", help="A timeline to write; may be repeated (default: all).")
    ] = None,
    no_timelines: Annotated[bool, typer.Option("--no-timelines", help="Write none of them.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="End with 1 when a clip had to be left out.")] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a snapshot's clips, cut from their sources, as shards for training; run it again to go on with a killed run."""
    from dashboards import sharding, terminal
    from flows.shard import run_shard
    from tasks.shard_begin import Asked
    from tasks.shard_set import FORMATS

    if timelines and no_timelines:
        raise ValueError("shard: --timeline and --no-timelines were given; give one of them")
    lines = () if no_timelines else tuple(sorted(set(timelines))) if timelines else None
    asked = Asked(FORMATS if format == "both" else (format,), shard_mb, lines)
    root = existing(workspace).workspace.settings.workspace
    told = run_shard(root, name, out, asked, sharding.written)
    terminal.show(told, sharding.sharded, as_json)
    if strict and told["left_out"]:
        raise typer.Exit(1)


@app.command()
def mirror(
    place: Annotated[str, typer.Argument(metavar="PLACE", help="s3://bucket/prefix; a folder, to bring one back.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the tables, media and snapshots of a workspace in a folder into a bucket, or back; run it again to go on."""
    from dashboards import sharding, terminal
    from store.mirror import mirror as copied

    told = copied(existing(workspace).workspace, place, sharding.sent()).to_dict()
    terminal.show(told, sharding.mirrored, as_json)
