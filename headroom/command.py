"""The `headroom` command."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, NoReturn

import typer

from headroom import annotation, curation, models, reading, shards, signals, tiers
from headroom.options import WorkspaceOption, group

app = group(
    "headroom", "A living data engine for talking-head video: raw video in, signals per clip, quality tiers as SQL."
)
for part in (curation, reading, shards, models, annotation, tiers, signals):
    app.add_typer(part.app)

INTERRUPTED = 130
LASTING = {"serve", "up", "worker"}
"""Commands that Ctrl-C ends and does not cut off."""
FULL = os.strerror(errno.ENOSPC)


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
    code, unforeseen = 0, False
    try:
        with _quiet_pipes():
            told = command.main(given, prog_name="headroom", standalone_mode=False)
            code = told if isinstance(told, int) else 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the boundary to a person: one line, or all of it with --debug
        code = 2
        unforeseen = not isinstance(error, ValueError) and not hasattr(error, "format_message")
        if debug:
            traceback.print_exception(error)
        if type(error).__name__ == "NoArgsIsHelpError":
            print(str(error) or getattr(error, "message", ""))  # noqa: T201
        else:
            _complain(error, given)
    if unforeseen and arguments is None:  # as a command: a program that calls us goes on
        _end(code)
    if code == INTERRUPTED:  # typer turns Ctrl-C into this exit status
        ended = "stopped" if LASTING & set(given) else "interrupted; run the same command again to go on"
        print(f"headroom: {ended}", file=sys.stderr, flush=True)  # noqa: T201
        _end(INTERRUPTED)
    # Outside of the handler: the error's frames hold connections, which must be gone before the interpreter goes.
    sys.exit(code)


def _end(code: int) -> NoReturn:
    """Threads may still hold connections; a common exit would complain about each of them at length."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _complain(error: Exception, given: list[str]) -> None:
    """One line on standard error, and with --json an object on standard output."""
    told = getattr(error, "format_message", lambda: "")() or str(error) or type(error).__name__
    line = " ".join(told.split())
    if FULL in line or _is_full(given):
        line = f"the disk is full ({line}); make room, then run the same command again: it goes on where it was"
    elif not isinstance(error, ValueError) and not hasattr(error, "format_message"):
        line = f"{type(error).__name__}: {line} (--debug shows where)"
    print(f"headroom: {line}", file=sys.stderr)  # noqa: T201
    if "--json" in given:
        print(json.dumps({"error": line}))  # noqa: T201


def _is_full(given: Sequence[str]) -> bool:
    """Whether the workspace's disk has no room: what fails then often doesn't say so."""
    from infra import settings

    named = next((given[i + 1] for i, word in enumerate(given[:-1]) if word in ("--workspace", "-w")), None)
    place = settings.load(named).workspace
    return place.is_dir() and shutil.disk_usage(place).free < 1 << 20
