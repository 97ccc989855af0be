"""`headroom signal`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headroom.corpus import existing
from headroom.options import JsonOption, WorkspaceOption, group

if TYPE_CHECKING:
    from store.workspace import Workspace

app = group("signal", "Signals under development, and new versions of them.")


@app.command("new")
def signal_new(name: str, as_json: JsonOption = False) -> None:
    """Write the three files of a new signal: a small one that works, its test and its scorecard."""
    from dashboards import terminal
    from tasks.new_signal import new_signal

    told = {"name": name, "files": [str(f) for f in new_signal(name)]}
    terminal.show(told, terminal.signal_written, as_json)


@app.command("try")
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
        with terminal.counted(file.stem, "clips", quiet=as_json) as on_progress:
            trial = try_signal(corpus, file, num_clips=clips, budget_s=0.7 * limit, on_progress=on_progress)
        measured = card.told(0.9 * limit - (time.monotonic() - began))
    finally:
        card.stop()
    folder = out or Path(tempfile.mkdtemp(prefix=f"headroom-try-{file.stem}-"))
    terminal.show(write_trial(corpus, trial, measured, folder.absolute()), terminal.tried, as_json)


@app.command("shadow")
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


@app.command("promote")
def signal_promote(name: str, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Let readers see the candidate's rows, all at once, in place of those before."""
    from tasks.promote import promote

    _show_took(workspace, as_json, promote, name)


@app.command("rollback")
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
