"""Commands for human labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headroom.corpus import existing
from headroom.options import JsonOption, WorkspaceOption, group

app = group()


annotate = group(
    "annotate",
    "Run the annotation web app, until Ctrl-C; the first start prints a link for the first administrator.",
)
app.add_typer(annotate)


@annotate.callback(invoke_without_command=True, no_args_is_help=False)
def annotate_served(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for other machines.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8600,
    address: Annotated[
        str,
        typer.Option(help="How people reach it, for links and for sign-in behind a proxy: https://label.example.org."),
    ] = "",
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(help="IP or network of a proxy whose X-Forwarded-For is believed; repeatable. Default 127.0.0.1."),
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    from dashboards.annotation.serve import serve

    if context.invoked_subcommand:
        context.obj = workspace
        return
    serve(existing(workspace).workspace, host, port, address, trusted_proxy or ["127.0.0.1"])


@annotate.command("rankings")
def annotate_rankings(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="A batch that compares systems: its name, or its number.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print who wins in a benchmark of systems: win rates, Bradley-Terry strengths with 95 % intervals, and ranks."""
    from dashboards import terminal
    from dashboards.annotation.terminal import rankings
    from tasks.annotation.results import rankings_of

    told = rankings_of(existing(workspace or context.obj).workspace.settings, batch)
    terminal.show(told, rankings, as_json)


@annotate.command("answers")
def annotate_answers(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="A batch: its name, or its number.")],
    out: Annotated[
        Path | None, typer.Option(help="The file to write, .csv, .parquet or .jsonl; without it CSV is printed.")
    ] = None,
    logins: Annotated[
        bool, typer.Option("--logins", help="Name raters by their logins, not by names that nobody can trace.")
    ] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write every single answer of a batch, a row per answer and question: what was shown, who said what, and whether it counts."""
    from dashboards import terminal
    from dashboards.annotation.terminal import answers_written
    from tasks.annotation.exports import answers_of, write

    rows = answers_of(existing(workspace or context.obj).workspace, batch, logins=logins)
    if out is not None:
        terminal.show(write(rows, out), answers_written, as_json)
    elif as_json:
        terminal.show({"rows": rows.to_dicts()}, answers_written, as_json)
    else:
        typer.echo(rows.write_csv(), nl=False)


labels = group(
    "labels",
    "Bring what annotators decided into the record, where tiers read it; `annotate`, `curate` and `reprocess` do so too.",
)
app.add_typer(labels)


@labels.callback(invoke_without_command=True, no_args_is_help=False)
def labels_delivered(context: typer.Context, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    from dashboards import terminal
    from tasks.annotation.delivery import deliver_existing
    from tasks.status import labels as held

    if context.invoked_subcommand:
        context.obj = workspace
        return
    corpus = existing(workspace).workspace
    made = deliver_existing(corpus, all_batches=True)
    with corpus.views() as reader:
        told = {"delivered": made.labels, "rows": made.rows, **held(reader)}
    terminal.show(told, terminal.labelled, as_json)


@labels.command("export")
def labels_export(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(help="The file to write, .parquet or .jsonl.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write decided preferences as pairs, chosen and rejected, for reward models and DPO; what was decided comes in first."""
    from dashboards import terminal
    from tasks.annotation.delivery import deliver_existing
    from tasks.annotation.preferences import export_preferences

    corpus = existing(workspace or context.obj).workspace
    deliver_existing(corpus)
    terminal.show(export_preferences(corpus, out), terminal.preferred, as_json)
