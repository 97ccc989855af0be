"""Commands for human labels."""

from __future__ import annotations

from typing import Annotated

import typer

from headroom.corpus import existing
from headroom.options import JsonOption, WorkspaceOption, group

app = group()


@app.command()
def annotate(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for other machines.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8600,
    address: Annotated[
        str, typer.Option(help="How people reach it, for invitation links, as https://label.example.org.")
    ] = "",
    workspace: WorkspaceOption = None,
) -> None:
    """Run the annotation web app, until Ctrl-C; the first start prints a link for the first administrator."""
    from dashboards.annotation.serve import serve

    serve(existing(workspace).workspace, host, port, address)


@app.command()
def labels(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Bring what annotators decided into the record, where tiers read it; `annotate`, `curate` and `reprocess` do so too."""
    from dashboards import terminal
    from tasks.annotation.delivery import deliver_existing
    from tasks.status import labels as held

    corpus = existing(workspace).workspace
    made = deliver_existing(corpus)
    with corpus.views() as reader:
        told = {"delivered": made.labels, "rows": made.rows, **held(reader)}
    terminal.show(told, terminal.labelled, as_json)
