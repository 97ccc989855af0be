"""Commands that show what a workspace holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headroom.corpus import existing
from headroom.options import JsonOption, WorkspaceOption, group

app = group()


@app.command()
def status(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Videos by state, clips, signals fresh and stale, tiers and their latest snapshots."""
    from dashboards import terminal

    terminal.show(existing(workspace).status(), terminal.status, as_json)


@app.command()
def sql(
    query: Annotated[
        str,
        typer.Argument(
            help="One SELECT over clips, signals, videos, rights, identities, pairs, duplicates, labels, timelines, or a tier."
        ),
    ],
    candidate: Annotated[
        list[str] | None, typer.Option(help="Read this signal's candidate instead of what serves; again for more.")
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Guarded, read-only query over the views."""
    from dashboards import terminal

    found = existing(workspace).sql(query, candidates=candidate or ())
    terminal.show({"rows": found.to_dicts()}, terminal.rows, as_json)


@app.command()
def report(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Write the static HTML report."""
    from dashboards import terminal
    from dashboards.report import write_report

    corpus = existing(workspace).workspace
    with terminal.counted("report", "pages", quiet=as_json) as on_progress:
        path = write_report(corpus, on_progress=on_progress)
    terminal.show({"path": str(path)}, lambda told: print(f"report: {told['path']}"), as_json)  # noqa: T201


@app.command()
def grid(
    query: Annotated[str, typer.Argument(help="A SELECT that yields clip_id.")],
    out: Annotated[Path, typer.Argument(help="The MP4 to write.")],
    columns: Annotated[int, typer.Option(min=1, max=20)] = 10,
    clip_seconds: Annotated[float, typer.Option("--seconds", min=0.2, max=60)] = 5.0,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a grid preview video of the clips that a query yields."""
    from dashboards import terminal
    from dashboards.grid import write_grid

    path = write_grid(existing(workspace).workspace, query, out, columns=columns, seconds=clip_seconds)
    terminal.show({"path": str(path)}, lambda told: print(f"grid: {told['path']}"), as_json)  # noqa: T201


@app.command()
def trace(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="A video, clip, identity, snapshot or checkpoint id (6 characters are enough), or a file name.",
        ),
    ],
    graph: Annotated[Path | None, typer.Option(help="Draw it, too: a file ending in .svg or .html.")] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Where a video, clip, person, snapshot or checkpoint comes from and what was made of it."""
    from dashboards import terminal
    from dashboards.lineage import write_graph
    from tasks.trace import trace as walk

    told = walk(existing(workspace).workspace, name).to_dict()
    if graph:
        terminal.note(f"graph: {write_graph(told, graph)}")
    terminal.show(told, terminal.tree, as_json)
