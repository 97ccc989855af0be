"""The proof `distributed`: machines, links and commands are lost, and the tables end as those of one machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from store.objects import s3_client
from store.workspace import open_workspace
from tests.cluster import Cluster, cluster
from tests.commands import ROOT, commits, environment, headroom, small_corpus, started
from tests.databases import can_run_postgres
from tests.network import can_make_networks
from tests.tables import contents, contents_differ, doubled

CUT_OFF_S = 45
"""Longer than Dask waits for an answer (30 s), so the cut is noticed and the batch goes to another worker."""
FAULT_AT_MANIFEST = 9


def distributed(folder: Path, sample: bool) -> tuple[bool | None, str]:
    """A Dask scheduler and three workers in network namespaces, footage and tables on S3, the ledger on PostgreSQL.

    A worker is killed, another cut off from the network until it is given up and joined again, the scheduler killed and
    begun anew, the command killed, once just between writing tables and publishing them. The tables in the end, after
    one more command, are those of one machine, row for row, and a further run computes nothing.
    """
    if why := can_run_postgres() or can_make_networks():
        return None, why
    corpus = small_corpus(folder)
    headroom("curate", corpus, workspace=folder / "alone")
    alone = contents(open_workspace(folder / "alone"))
    lines = ["| what happened | the command | rows left for the next | differences, duplicates |", "|---|---|---|---|"]
    good = True
    for number, (what, during) in enumerate(FAULTS[1:2] if sample else FAULTS):
        place = folder / f"case{number}"
        place.mkdir()
        with cluster(place, num_workers=3) as made, environment(made.environment):
            client = s3_client()
            client.create_bucket(Bucket="corpus")
            for file in corpus.iterdir():
                client.upload_file(str(file), "corpus", f"raw/{file.name}")
            command = ["curate", "s3://corpus/raw/", "--runner", made.scheduler]
            workspace = place / "workspace"
            ended = during(made, command, workspace)
            told = headroom(*command, workspace=workspace)
            again = headroom(*command, workspace=workspace)
            found = contents_differ(alone, contents(open_workspace(workspace)))
            found += doubled(open_workspace(workspace))
            found += [f"a second run computed {again['computed']}"] if again["computed"] else []
        good &= not found and ended is not None
        said = ended or "ended before the fault came"
        lines.append(f"| {what} | {said} | {sum(told['computed'].values())} | {'; '.join(found) or 'none'} |")
    return good, "\n".join(lines)


Fault = Callable[[Cluster, list[str], Path], str | None]
"""Runs a command and does something meanwhile; says how the command ended, or None when it ended too early."""


def _undisturbed(made: Cluster, command: list[str], workspace: Path) -> str | None:
    return "-"


def _meanwhile(do: Callable[[Cluster], None]) -> Fault:
    def during(made: Cluster, command: list[str], workspace: Path) -> str | None:
        process = started(command, workspace, errors=subprocess.PIPE)
        drained: list[bytes] = []
        drain = threading.Thread(target=lambda: drained.append(process.stderr.read()))  # type: ignore[union-attr]
        drain.start()
        reached = commits(workspace, process, FAULT_AT_MANIFEST)
        if reached:
            do(made)
        process.wait()
        drain.join()
        lines = [line for line in drained[0].decode().splitlines() if "headroom: " in line]
        said = f"status {process.returncode}" + (f": {lines[-1][:200]}" if process.returncode and lines else "")
        return said.replace("|", "/").replace(made.scheduler, "ADDRESS") if reached else None

    return during


def _command_killed(made: Cluster, command: list[str], workspace: Path) -> str | None:
    process = started(command, workspace)
    reached = commits(workspace, process, FAULT_AT_MANIFEST)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return "kill -9" if reached else None


def _commit_killed(made: Cluster, command: list[str], workspace: Path) -> str | None:
    told = [
        sys.executable,
        "-m",
        "tests.killed_commit",
        str(FAULT_AT_MANIFEST),
        *command,
        "--workspace",
        str(workspace),
    ]
    done = subprocess.run(told, cwd=ROOT, capture_output=True, start_new_session=True, check=False)
    return "kill -9" if done.returncode == -signal.SIGKILL else None


FAULTS: list[tuple[str, Fault]] = [
    ("nothing", _undisturbed),
    ("a worker was killed", _meanwhile(Cluster.kill_worker)),
    (
        f"a worker was cut off from the network for {CUT_OFF_S} s and came back",
        _meanwhile(lambda c: c.cut_worker_off(CUT_OFF_S)),
    ),
    ("the scheduler was killed and begun anew", _meanwhile(Cluster.restart_scheduler)),
    ("the command was killed", _command_killed),
    ("the command was killed between writing tables and publishing them", _commit_killed),
]
