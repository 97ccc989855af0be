"""Commands that change what a workspace holds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from headroom.corpus import existing, open
from headroom.options import JsonOption, SetOption, WorkspaceOption, group, seconds

app = group()


@app.command()
def curate(
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="Files, folders, s3:// prefixes, or lists of sources (.csv, .jsonl, .parquet)."),
    ] = None,
    tier: Annotated[
        str | None, typer.Option(help="Compute only what decides this tier, the cheapest signals first.")
    ] = None,
    signal: Annotated[
        list[str] | None,
        typer.Option(help="Compute only this signal and what it needs, also one on request; again for more."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Compute every signal (the default).")] = False,
    runner: Annotated[str, typer.Option(help="threads, dask, or a Dask scheduler's address.")] = "threads",
    verify: Annotated[
        bool, typer.Option(help="Read every source again instead of trusting size, time and inode.")
    ] = False,
    plan: Annotated[
        bool, typer.Option(help="Show what would be computed, its cost and what is spared; compute nothing.")
    ] = False,
    readmit: Annotated[bool, typer.Option(help="Take in again what was erased and lies under PATHS.")] = False,
    retry: Annotated[
        bool, typer.Option(help="Compute again what was set aside, since it ended the process that computed it.")
    ] = False,
    strict: Annotated[bool, typer.Option(help="Exit 1 if input under PATHS (without: any) is quarantined.")] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ingest what is new under PATHS, then bring everything up to date."""
    from dashboards import terminal
    from tasks.ingest import refuse_missing
    from tasks.status import quarantined as quarantined_under

    if bool(tier) + bool(signal) + everything > 1:
        raise ValueError("--tier computes a tier's signals only, --signal those named, --all all: give one of them")
    if plan:
        from dashboards import outlook

        shown = existing(workspace).plan(*paths or (), tier=tier, signals=signal or None)
        terminal.show(shown, outlook.planned, as_json)
        return
    refuse_missing(paths or [])  # before a workspace is made for them
    corpus = open(workspace)
    with terminal.progress(quiet=as_json) as on_progress:
        told = corpus.curate(
            *paths or (),
            tier=tier,
            signals=signal or None,
            runner=runner,
            verify=verify,
            readmit=readmit,
            retry=retry,
            on_progress=on_progress,
        )
    quarantined = quarantined_under(corpus.workspace, paths or ()) if strict else []
    told |= {"quarantined_input": len(quarantined)} if strict else {}
    empty = paths and not any(told["videos"].values()) and not told["erased"]
    if empty:
        print(f"headroom: no video under {', '.join(paths or ())}", file=sys.stderr)  # noqa: T201
    terminal.show(
        told, lambda made: terminal.curated(made, "none under the path" if empty else "no path given"), as_json
    )
    if strict and quarantined:
        told_why = "SELECT name, stage, reason FROM videos WHERE state = 'quarantined'"
        print(f'headroom: quarantined input: {len(quarantined)}; headroom sql "{told_why}"', file=sys.stderr)  # noqa: T201
        raise typer.Exit(1)


@app.command()
def survey(
    source: Annotated[str, typer.Argument(help="A folder or s3:// prefix of footage.")],
    sample: Annotated[int, typer.Option(min=1, help="Files to curate, spread over the folders.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for the preview (default: a temporary one).")] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forecast what a source would yield and cost, from a sample of it; nothing is kept but a preview video.

    Tiers of the workspace are judged beside the shipped ones; nothing is written into it.
    """
    import tempfile

    from dashboards import survey as view
    from dashboards import terminal
    from dashboards.grid import MAX_CELLS, write_grid
    from flows.survey import surveyed
    from infra import settings

    own = settings.load(workspace).workspace / "tiers"
    with (
        terminal.progress(quiet=as_json) as on_progress,
        surveyed(source, sample, seed=seed, tiers=own, on_progress=on_progress) as (place, told),
    ):
        with place.views() as reader:
            clips = int(reader.sql("SELECT count(*) FROM clips").item())
        grid = ""
        if clips:
            folder = (out or Path(tempfile.mkdtemp(prefix="headroom-survey-"))).absolute()
            shown = "SELECT clip_id, name FROM clips JOIN videos USING (video_id) ORDER BY md5(clip_id)"
            columns = min(10, max(2, round(min(clips, MAX_CELLS) ** 0.5)))
            grid = str(write_grid(place, f"{shown} LIMIT {MAX_CELLS}", folder / "survey.mp4", columns=columns))
    terminal.show({"source": source, **told, "grid": grid}, view.surveyed, as_json)


@app.command()
def reprocess(
    budget: Annotated[str | None, typer.Option(help="Time to spend, as 2h, 90m or 600s; the rest waits.")] = None,
    runner: Annotated[str, typer.Option(help="threads, dask, or a Dask scheduler's address.")] = "threads",
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute what is stale, most useful first."""
    from dashboards import terminal
    from flows.curate import run_reprocess

    corpus = existing(workspace)
    with terminal.progress(quiet=as_json) as on_progress:
        told = run_reprocess(
            corpus.workspace.settings.workspace,
            budget_s=seconds(budget) if budget else None,
            runner=runner,
            on_progress=on_progress,
        )
    terminal.show(told, terminal.curated, as_json)


@app.command()
def reclip(
    settings: SetOption = None,
    back: Annotated[bool, typer.Option(help="Propose the clipping run before the one in force.")] = False,
    apply: Annotated[bool, typer.Option(help="Switch to the proposed run; without it nothing is written.")] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what other clipping parameters keep, move and lose; with --apply switch to them, atomically."""
    from dashboards import terminal
    from tasks import reclip as roll_out

    corpus = existing(workspace).workspace
    given = {name: value for name, _, value in (pair.partition("=") for pair in settings or [])}
    start = roll_out.previous_params(corpus) if back else roll_out.params_in_force(corpus)
    proposal = roll_out.propose(corpus, roll_out.changed(start, given))
    if apply:
        roll_out.apply(corpus, proposal)
    told = {
        "run": proposal.run,
        "applied": apply,
        **proposal.counts,
        "moved_clips": proposal.moved,
        "lost_clips": proposal.lost,
        "where": proposal.where,
    }
    terminal.show(told, terminal.reclipped, as_json)


@app.command()
def adopt(
    table: Annotated[Path, typer.Argument(metavar="TABLE.parquet", help="A row per clip: which clip, and its scores.")],
    name: Annotated[str | None, typer.Option(help="What the signal is called (default: the table's name).")] = None,
    dry_run: Annotated[bool, typer.Option(help="Show what would come in; change nothing.")] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take in a table of your own: clips cut elsewhere, scores that tiers read at once."""
    from dashboards import terminal

    corpus = existing(workspace) if dry_run else open(workspace)
    terminal.show(corpus.adopt(table, name, dry_run=dry_run), terminal.adopted, as_json)


@app.command()
def forget(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="VIDEO|IDENTITY",
            help="A video's id, path or file name (also without its ending), or an identity's id.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Show what would go; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    check: Annotated[
        Path | None, typer.Option(help="A report: is it unchanged, and was it signed here? Needs no workspace.")
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase a video, or all videos of a person, for good, and prove that nothing is left."""
    from dashboards import erasure, terminal
    from infra import settings
    from store.workspace import is_workspace
    from tasks import forget as erasing

    if (name is None) == (check is None):
        raise ValueError("give a video or an identity, or --check REPORT")
    if check is not None:
        here = open(workspace).workspace if is_workspace(settings.load(workspace)) else None
        terminal.show(erasing.check(check, here), erasure.checked, as_json)
        return
    corpus = existing(workspace, completing=dry_run)
    assert name is not None
    if dry_run:
        terminal.show(corpus.forget(name, dry_run=True), erasure.planned, as_json)
        return
    if not (yes or as_json or erasing.is_begun(corpus.workspace, name)) and sys.stdin.isatty():
        erasure.planned(corpus.forget(name, dry_run=True))
        typer.confirm("Erase it? There is no way back", abort=True)
    told = corpus.forget(name, on_step=erasure.step)
    terminal.show(told, erasure.forgotten, as_json)
    if not told["complete"]:
        raise typer.Exit(1)


@app.command()
def up(
    paths: Annotated[list[str] | None, typer.Argument(help="Folders to watch for new footage.")] = None,
    port: Annotated[int, typer.Option(help="Port of the Prefect UI; 0 finds a free one.")] = 4200,
    cron: Annotated[str, typer.Option(help="When `reprocess` runs.")] = "0 2 * * *",
    workspace: WorkspaceOption = None,
) -> None:
    """Run the Prefect server, a worker, the nightly reprocess and a watch for new footage, until Ctrl-C."""
    from flows.up import up as run_up

    run_up(open(workspace).workspace.settings.workspace, watch=list(paths or []), cron=cron, port=port)


@app.command()
def demo(
    source: Annotated[str, typer.Argument(help="A folder of footage.")],
    live: Annotated[
        bool, typer.Option("--live", help="Go on: train on a tier, deploy the checkpoint, write a live session.")
    ] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Curate a folder, build all tiers, write the report, and say what to do next."""
    from dashboards import terminal
    from dashboards.report import write_report
    from tasks.ingest import refuse_missing
    from tasks.status import footage

    refuse_missing([source])  # before a workspace is made for it
    corpus = open(workspace)
    with terminal.progress(quiet=False) as on_progress:
        told = corpus.curate(source, on_progress=on_progress)
    terminal.curated(told)
    built = [corpus.tier(name).build() for name in corpus.tiers()] if told["clips"] else []
    with corpus.workspace.views() as reader:
        terminal.funnel_of_corpus(footage(reader), built)
    if not told["clips"]:
        terminal.note("no clip came of this footage, so there is no tier to freeze; the report says why, file by file")
    with terminal.counted("report", "pages", quiet=False) as on_page:
        report = write_report(corpus.workspace, on_progress=on_page)
    if not live:
        terminal.next_steps(report, corpus.workspace.settings.workspace)
        return
    from dashboards import live as shown
    from dashboards import motion_trained
    from headroom.live import live as go_live

    terminal.note(f"report: {report}")
    made = go_live(corpus, built, shown.say, lambda: motion_trained.training(quiet=False))
    shown.came_live(made, corpus.workspace.settings.workspace)
    if made["session"] is None:
        raise typer.Exit(1)
