"""Headroom's entry: the `headroom` command and the Python interface, above all folders.

import headroom
corpus = headroom.open("workspace")
corpus.curate("footage/")
corpus.tier("a2v_gold").to_polars()
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    import polars as pl

    from modeling.data import ClipLoader
    from store.workspace import Workspace


class _Whole(TyperGroup):
    """Commands listed with all of their first sentence, over as many lines as it takes."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        rows = [(name, command.get_short_help_str(limit=400)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


app = typer.Typer(
    name="headroom",
    cls=_Whole,
    help="A living data engine for talking-head video: raw video in, signals per clip, quality tiers as SQL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
tier_app = typer.Typer(
    cls=_Whole, help="Tiers: SQL over signals that selects clips.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(tier_app, name="tier")
signal_app = typer.Typer(
    cls=_Whole, help="Signals under development, and new versions of them.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(signal_app, name="signal")

WorkspaceOption = Annotated[
    Path | None, typer.Option("--workspace", "-w", help="Workspace folder; else HEADROOM_WORKSPACE, else ./workspace.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="The last line of standard output is one JSON object.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="A clipping parameter, as min_s=3; may be repeated.")
]


INTERRUPTED = 130


class Corpus:
    """One workspace, from Python. Made by `headroom.open`."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def curate(
        self,
        *paths: str | Path,
        tier: str | None = None,
        signals: Sequence[str] | None = None,
        runner: str = "threads",
        budget_s: float | None = None,
        verify: bool = False,
        readmit: bool = False,
        on_progress: Callable[[Any], None] | None = None,
    ) -> dict[str, Any]:
        """Ingests what is new under the paths and brings everything up to date; gives the summary of `curate --json`.

        `tier` restricts the work to what decides that tier: cheap signals first, and a costly one only for clips that
        the cheap ones leave in. `signals` restricts it to these and what they need; it is how those on request are
        asked for. What was erased stays out unless `readmit`. Raises ValueError for a path that isn't there, and for an
        unknown signal.
        """
        from flows.curate import run_curate

        return run_curate(
            self.workspace.settings.workspace,
            paths=[str(p) for p in paths],
            tiers=[tier] if tier else [],
            signals=signals,
            runner=runner,
            budget_s=budget_s,
            verify=verify,
            readmit=readmit,
            on_progress=on_progress,
        )

    def plan(self, *paths: str | Path, tier: str | None = None, signals: Sequence[str] | None = None) -> dict[str, Any]:
        """What `curate` with these arguments would compute and skip, and why: the object of `curate --plan --json`."""
        from tasks.outlook import outlook

        tiers = [tier] if tier else []
        return outlook(self.workspace, paths=[str(p) for p in paths], tiers=tiers, signals=signals)

    def adopt(self, table: str | Path, name: str | None = None, *, dry_run: bool = False) -> dict[str, Any]:
        """Takes in a Parquet table of clips and scores as one signal: the object of `adopt --json`.

        Raises ValueError, and writes nothing, for a table that can't be meant.
        """
        from tasks.adopt import adopt

        return {**adopt(self.workspace, Path(table), name, dry_run=dry_run).to_dict(), "adopted": not dry_run}

    def forget(self, name: str, *, dry_run: bool = False, on_step: Callable[[str], None] = lambda step: None) -> Any:
        """Erases a video (id, file name or path) or an identity (id): the object of `forget --json`.

        `dry_run` gives what would go and changes nothing. Raises ValueError when the name is nobody's, or several's.
        """
        from tasks import forget

        if dry_run:
            return forget.told_of(forget.plan(self.workspace, name), self.workspace)
        return forget.forget(self.workspace, name, on_step)

    def sql(self, query: str, *, candidates: Sequence[str] = ()) -> pl.DataFrame:
        """A guarded, read-only query over the views; of the signals in `candidates` it sees the rows of the version that
        is rolling out. Raises ValueError for a query that is not allowed, and for a signal without a candidate."""
        from tasks import tier as tiers

        return tiers.query(self.workspace, query, candidates)

    def tier(self, name: str) -> Tier:
        """A tier by name. Raises ValueError for an unknown one."""
        from tasks import tier as tiers

        tiers.parsed(self.workspace, name)
        return Tier(self.workspace, name)

    def tiers(self) -> list[str]:
        from tasks import tier as tiers

        return sorted(tiers.sources(self.workspace))

    def status(self) -> dict[str, Any]:
        """Videos by state, clips, signals by freshness, tiers: the object of `status --json`."""
        from tasks.status import status

        return status(self.workspace)


class Tier:
    """A tier of a workspace, live or frozen."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        self.workspace = workspace
        self.name = name

    def build(self) -> dict[str, Any]:
        """Freezes a snapshot: {"tier", "snapshot", "clips", "sha256", "path"}. The same data give the same id."""
        from tasks import tier as tiers

        return tiers.build(self.workspace, self.name)

    def to_polars(self) -> pl.DataFrame:
        """One row per clip now in the tier: the columns of `clips`, then those of `signals`."""
        from tasks import tier as tiers

        return tiers.members(self.workspace, self.name)

    def to_torch(
        self,
        *,
        snapshot: str | None = None,
        batch_size: int = 8,
        num_workers: int = 0,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        **ranges: Any,
    ) -> ClipLoader:
        """Batches of clip ranges of a snapshot: of the one named, else of the tier as it is frozen now.

        `ranges` are the fields of modeling.data.ClipRanges: length_s, hop_s, fps, size, pad, frames, audio, timelines.
        """
        from modeling.data import ClipDataset, ClipLoader, ClipRanges
        from store.frozen import frozen

        held = frozen(self.workspace, snapshot or str(self.build()["snapshot"]))
        if held.tier != self.name:
            raise ValueError(f"snapshot {held.snapshot_id} is of tier {held.tier}, not of {self.name}")
        return ClipLoader(
            ClipDataset(held, ClipRanges(**ranges)),
            batch_size=batch_size,
            num_workers=num_workers,
            shuffle=shuffle,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )

    def clips(self) -> list[str]:
        """Ids of the clips now in the tier, sorted."""
        return sorted(self.to_polars()["clip_id"].to_list())

    def explain(self, clip_id: str) -> list[dict[str, Any]]:
        """Each clause with the clip's value and verdict."""
        from tasks import tier as tiers

        return tiers.explain(self.workspace, clip_id, self.name)

    def funnel(self) -> list[dict[str, Any]]:
        """Each clause with how many clips it removes alone and after those before it."""
        from tasks import tier as tiers

        return tiers.funnel(self.workspace, self.name)


def existing(workspace: Path | None) -> Corpus:
    """The workspace for a command that only reads. Raises ValueError where there is none."""
    from infra import settings
    from store.workspace import is_workspace

    told = settings.load(workspace)
    root = told.workspace
    if not is_workspace(told):
        raise ValueError(f"there is no workspace at {root}; headroom curate PATH makes one, --workspace names another")
    return open(workspace)


def open(workspace: str | Path | None = None) -> Corpus:
    """The workspace at a folder (else HEADROOM_WORKSPACE, else ./workspace); made on first use.

    An erasure that was cut off is completed first.
    """
    from store.workspace import open_workspace

    opened = open_workspace(workspace)
    if opened.ledger.is_erasing():
        from tasks.forget import resume

        resume(opened)
    return Corpus(opened)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"headroom {version('headroom')}")  # noqa: T201
        raise typer.Exit


@app.callback()
def everywhere(
    workspace: WorkspaceOption = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
) -> None:
    """A living data engine for talking-head video: raw video in, signals per clip, quality tiers as SQL."""
    if workspace:
        os.environ["HEADROOM_WORKSPACE"] = str(workspace)


@app.command()
def curate(
    paths: Annotated[list[str] | None, typer.Argument(help="Files, folders or s3:// prefixes.")] = None,
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
            on_progress=on_progress,
        )
    if paths and not any(told["videos"].values()) and not told["erased"]:
        print(f"headroom: no video under {', '.join(paths)}", file=sys.stderr)  # noqa: T201
    terminal.show(told, terminal.curated, as_json)
    if strict and (quarantined := quarantined_under(corpus.workspace, paths or ())):
        told_why = "SELECT name, stage, reason FROM videos WHERE state = 'quarantined'"
        print(f'headroom: quarantined input: {len(quarantined)}; headroom sql "{told_why}"', file=sys.stderr)  # noqa: T201
        raise typer.Exit(1)


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
def status(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Videos by state, clips, signals fresh and stale, tiers and their latest snapshots."""
    from dashboards import terminal

    terminal.show(existing(workspace).status(), terminal.status, as_json)


@app.command()
def sql(
    query: Annotated[
        str,
        typer.Argument(
            help="One SELECT over clips, signals, videos, rights, identities, duplicates, labels, timelines, or a tier."
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

    path = write_report(existing(workspace).workspace)
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
def export(
    name: Annotated[str, typer.Argument(metavar="SNAPSHOT|TIER", help="A snapshot's id; a tier is frozen first.")],
    out: Annotated[Path, typer.Argument(metavar="OUT_DIR", help="A new folder, or one of an export that was cut off.")],
    shard_mb: Annotated[int, typer.Option(min=1, help="A shard's size at most; one clip may be larger.")] = 256,
    timelines: Annotated[
        list[str] | None, typer.Option("--timeline", help="A timeline to write; may be repeated (default: all).")
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a snapshot as WebDataset tar shards; run it again to go on with one that was cut off."""
    from dashboards import terminal
    from tasks.export import export as write_export

    corpus = existing(workspace).workspace
    told = write_export(
        corpus, name, out, shard_mb=shard_mb, timelines=timelines or None, on_shard=terminal.shard_written
    )
    terminal.show(told, terminal.exported, as_json)


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


@app.command()
def forget(
    name: Annotated[
        str | None,
        typer.Argument(metavar="VIDEO|IDENTITY", help="A video's id, file name or path, or an identity's id."),
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Show what would go; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    check: Annotated[Path | None, typer.Option(help="A report: was it signed here, and is it unchanged?")] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase a video, or all videos of a person, for good, and prove that nothing is left."""
    from dashboards import erasure, terminal

    corpus = existing(workspace)
    if (name is None) == (check is None):
        raise ValueError("give a video or an identity, or --check REPORT")
    if check is not None:
        from tasks.forget import check as checked

        terminal.show(checked(corpus.workspace, check), erasure.checked, as_json)
        return
    assert name is not None
    if dry_run:
        terminal.show(corpus.forget(name, dry_run=True), erasure.planned, as_json)
        return
    if not (yes or as_json) and sys.stdin.isatty():
        erasure.planned(corpus.forget(name, dry_run=True))
        typer.confirm("Erase it? There is no way back", abort=True)
    told = corpus.forget(name, on_step=erasure.step)
    terminal.show(told, erasure.forgotten, as_json)
    if not told["complete"]:
        raise typer.Exit(1)


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
def train(
    recipe: Annotated[str, typer.Argument(help="audio_to_motion, audio_to_motion_transformer, ...")],
    tier: Annotated[str | None, typer.Option(help="The tier to freeze and learn from.")] = None,
    snapshot: Annotated[str | None, typer.Option(help="A snapshot to learn from instead.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A value of the recipe, as num_steps=3000; may be repeated.")
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a recipe on a tier and publish the checkpoint; run it again to go on with one that was cut off."""
    from dashboards import terminal
    from flows.train import run_train

    changed = {name: value for name, _, value in (pair.partition("=") for pair in settings or [])}
    root = existing(workspace).workspace.settings.workspace
    with terminal.training(quiet=as_json) as on_step:
        told = run_train(root, recipe, tier=tier, snapshot=snapshot, changed=changed, on_step=on_step)
    terminal.show(told, terminal.trained, as_json)


@app.command()
def evaluate(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint's id (6 characters are enough), or a recipe.")],
    snapshot: Annotated[str | None, typer.Option(help="A snapshot or tier; else the one it was trained on.")] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a checkpoint on people it never saw, beside the baselines."""
    from dashboards import terminal
    from flows.train import run_evaluate

    told = run_evaluate(existing(workspace).workspace.settings.workspace, checkpoint, snapshot)
    terminal.show(told, terminal.evaluated, as_json)


@app.command()
def motion(
    clip: Annotated[str, typer.Argument(help="A clip's id (6 characters are enough).")],
    out: Annotated[Path, typer.Argument(help="The MP4 to write.")],
    checkpoint: Annotated[str | None, typer.Option(help="Draw what this checkpoint makes of the sound, too.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of its blinks and its head.")] = 0,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a clip with its motion drawn below: what is stored, and what a checkpoint predicts."""
    from dashboards import terminal
    from dashboards.motion_video import write_motion_video
    from flows.train import motion_of_clip
    from tasks.trace import clip_named

    corpus = existing(workspace).workspace
    shown = motion_of_clip(corpus, clip_named(corpus, clip), checkpoint, seed)
    path = write_motion_video(shown.clip, shown.proxy, shown.sound, shown.curves, out)
    terminal.show({"path": str(path)}, lambda told: print(f"motion: {told['path']}"), as_json)  # noqa: T201


@app.command()
def render(
    audio: Annotated[Path, typer.Argument(help="What is said: a sound file, or a video with sound.")],
    out: Annotated[Path, typer.Argument(help="The MP4 to write.")],
    avatar: Annotated[str, typer.Option(help="Who says it: a clip's id, or the file of a portrait.")],
    checkpoint: Annotated[
        str | None, typer.Option(help="What makes motion of sound (default: the latest audio_to_motion).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of blinks and the head.")] = 0,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a talking avatar: a sound file said by a person of a clip or a portrait."""
    from dashboards import terminal
    from serving.render import render as write_avatar

    told = write_avatar(existing(workspace).workspace, audio, avatar, out, checkpoint, seed)
    terminal.show(told, terminal.rendered, as_json)


@app.command()
def serve(
    avatar: Annotated[
        list[str] | None,
        typer.Option(help="A clip's id or a portrait's file; may be repeated (default: people of the workspace)."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for other machines.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8700,
    sessions: Annotated[
        int | None, typer.Option(min=1, help="Sessions at a time; more are refused (default: the number of cores).")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="What makes motion of sound (default: the latest audio_to_motion).")
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Serve live talking avatars on a page, until Ctrl-C."""
    from serving.serve import serve as run_serve

    run_serve(existing(workspace).workspace, list(avatar or []), host, port, sessions, checkpoint)


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


@app.command()
def demo(
    source: Annotated[str, typer.Argument(help="A folder of footage.")],
    workspace: WorkspaceOption = None,
) -> None:
    """Curate a folder, build all tiers, write the report, and say what to do next."""
    from dashboards import terminal
    from dashboards.report import write_report
    from tasks.status import footage

    corpus = open(workspace)
    with terminal.progress(quiet=False) as on_progress:
        told = corpus.curate(source, on_progress=on_progress)
    terminal.curated(told)
    built = [corpus.tier(name).build() for name in corpus.tiers()]
    with corpus.workspace.views() as reader:
        terminal.funnel_of_corpus(footage(reader), built)
    terminal.note("writing the report")
    terminal.next_steps(write_report(corpus.workspace), corpus.workspace.settings.workspace)


@tier_app.command("list")
def tier_list(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Tiers by name, their clips now, their latest snapshots."""
    from dashboards import terminal
    from tasks import tier as tiers

    terminal.show({"tiers": tiers.listed(existing(workspace).workspace)}, terminal.tiers, as_json)


@tier_app.command("show")
def tier_show(name: str, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """A tier's SQL, and its clauses after other tiers are inlined."""
    from dashboards import terminal
    from tasks import tier as tiers

    terminal.show(tiers.shown(existing(workspace).workspace, name), terminal.tier_shown, as_json)


@tier_app.command("build")
def tier_build(name: str, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Freeze a snapshot of a tier."""
    from dashboards import terminal

    terminal.show(existing(workspace).tier(name).build(), terminal.built, as_json)


@tier_app.command("diff")
def tier_diff(
    first: Annotated[str, typer.Argument(help="A snapshot's id; or a tier, for its latest two.")],
    second: Annotated[str | None, typer.Argument(help="A later snapshot's id.")] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which clips came and went between two snapshots, and which clause decided."""
    from dashboards import terminal
    from tasks import tier as tiers

    terminal.show(tiers.diff(existing(workspace).workspace, first, second), terminal.diffed, as_json)


@tier_app.command("explain")
def tier_explain(
    clip: Annotated[str, typer.Argument(help="A clip's id (6 characters are enough).")],
    tier: Annotated[str | None, typer.Option(help="One tier; else all.")] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Each clause of each tier with the clip's value and verdict."""
    from dashboards import terminal
    from tasks import tier as tiers
    from tasks.trace import clip_named

    corpus = existing(workspace)
    clip = clip_named(corpus.workspace, clip)
    names = [tier] if tier else corpus.tiers()
    verdicts = {n: tiers.explain(corpus.workspace, clip, n) for n in names}
    told = {"clip": clip, "tiers": dict(sorted(verdicts.items(), key=lambda item: len(item[1])))}
    terminal.show(told, terminal.explained, as_json)


@tier_app.command("funnel")
def tier_funnel(name: str, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """How many clips each clause removes, alone and after those before it."""
    from dashboards import terminal

    terminal.show({"tier": name, "clauses": existing(workspace).tier(name).funnel()}, terminal.funnel, as_json)


@signal_app.command("new")
def signal_new(name: str, as_json: JsonOption = False) -> None:
    """Write the three files of a new signal: a small one that works, its test and its scorecard."""
    from dashboards import terminal
    from tasks.new_signal import new_signal

    told = {"name": name, "files": [str(f) for f in new_signal(name)]}
    terminal.show(told, terminal.signal_written, as_json)


@signal_app.command("try")
def signal_try(
    file: Annotated[Path, typer.Argument(help="The signal's file; it need not lie among the others.")],
    clips: Annotated[int, typer.Option(min=1, help="Clips at most, of as many videos as possible.")] = 50,
    limit: Annotated[float, typer.Option("--seconds", min=1, help="Time to spend, about.")] = 50.0,
    out: Annotated[Path | None, typer.Option(help="Folder for the page (default: a temporary one).")] = None,
    scorecard: Annotated[bool, typer.Option(help="Measure its scorecard on a few files, too.")] = True,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a signal under development says of clips of the workspace, without storing anything."""
    import tempfile
    import time

    from dashboards import terminal
    from dashboards.trial import write_trial
    from tasks.try_signal import Scorecard, load_signal, start_scorecard, try_signal

    began = time.monotonic()
    corpus = existing(workspace).workspace
    load_signal(file.absolute())  # what is wrong with it is told before anything is started
    card = start_scorecard(file) if scorecard else Scorecard("was not asked for")
    try:
        trial = try_signal(corpus, file, num_clips=clips, budget_s=0.7 * limit)
        rows = card.rows(limit - (time.monotonic() - began))
    finally:
        card.stop()
    folder = out or Path(tempfile.mkdtemp(prefix=f"headroom-try-{file.stem}-"))
    terminal.show(write_trial(corpus, trial, rows, card.problem, folder.absolute()), terminal.tried, as_json)


@signal_app.command("shadow")
def signal_shadow(
    name: str,
    clips: Annotated[int, typer.Option(min=1, help="Clips at most: spread over videos, and near thresholds.")] = 200,
    backend: Annotated[
        str | None, typer.Option(help="As in HEADROOM_BACKENDS, for example whisper?dtype=float16.")
    ] = None,
    hold: Annotated[bool, typer.Option(help="Let the version take over by `promote` only, not by itself.")] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compute a signal's new version, or another backend, on a sample beside the one that serves, and compare."""
    from dashboards import rollout, terminal
    from infra import settings
    from tasks.shadow import shadow

    if backend:  # as if it stood in the settings, for this command alone
        told = {**settings.backends(), name: backend}
        os.environ["HEADROOM_BACKENDS"] = " ".join(f"{k}={v}" for k, v in told.items())
    terminal.show(shadow(existing(workspace).workspace, name, num_clips=clips, hold=hold), rollout.shadowed, as_json)


@signal_app.command("promote")
def signal_promote(name: str, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Let readers see the candidate's rows, all at once, in place of those before."""
    from tasks.promote import promote

    _show_took(workspace, as_json, promote, name)


@signal_app.command("rollback")
def signal_rollback(name: str, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Let readers see the rows before the last promotion again; the newer version no longer takes over by itself."""
    from tasks.promote import roll_back

    _show_took(workspace, as_json, roll_back, name)


def _show_took(workspace: Path | None, as_json: bool, change: Callable[[Workspace, str], Any], name: str) -> None:
    from dashboards import rollout, terminal
    from tasks.promote import roll_back, to_dict

    corpus = existing(workspace).workspace
    told = to_dict(change(corpus, name)) | {"held": change is roll_back, "manifest": corpus.ledger.manifest().id}
    terminal.show(told, rollout.took, as_json)


def seconds(text: str) -> float:
    """ "2h", "90m", "600s" or "600" as seconds. Raises ValueError for anything else."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        value = float(number) * units[unit]
    except ValueError:
        raise ValueError(f"time {text!r}: write it as 2h, 90m or 600s") from None
    if not value > 0:
        raise ValueError(f"time {text!r}: must be above zero")
    return value


@contextmanager
def _quiet_pipes() -> Iterator[None]:
    """`headroom sql ... | head` closes our output early: that is no error."""
    try:
        yield
    except BrokenPipeError:
        sys.stderr.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; a traceback is shown only with --debug."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [a for a in given if a != "--debug"]
    command = typer.main.get_command(app)
    try:
        with _quiet_pipes():
            told = command.main(given, prog_name="headroom", standalone_mode=False)
            code = told if isinstance(told, int) else 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the boundary to a person: one line, or all of it with --debug
        code = 2
        if debug:
            traceback.print_exception(error)
        if type(error).__name__ == "NoArgsIsHelpError":
            print(str(error) or getattr(error, "message", ""))  # noqa: T201
        else:
            _complain(error, given)
    if code == INTERRUPTED:  # typer turns Ctrl-C into this exit status
        print("headroom: interrupted; run the same command again to go on", file=sys.stderr, flush=True)  # noqa: T201
        # Threads may still hold connections; a common exit would complain about each of them at length.
        os._exit(INTERRUPTED)
    # Outside of the handler: the error's frames hold connections, which must be gone before the interpreter goes.
    sys.exit(code)


def _complain(error: Exception, given: list[str]) -> None:
    """One line on standard error, and with --json an object on standard output."""
    told = getattr(error, "format_message", lambda: "")() or str(error) or type(error).__name__
    line = " ".join(told.split())
    if not isinstance(error, ValueError) and not hasattr(error, "format_message"):
        line = f"{type(error).__name__}: {line} (--debug shows where)"
    print(f"headroom: {line}", file=sys.stderr)  # noqa: T201
    if "--json" in given:
        print(json.dumps({"error": line}))  # noqa: T201


if __name__ == "__main__":
    main()
