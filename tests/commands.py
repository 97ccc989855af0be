"""Commands of Headroom in processes of their own, and the little footage that proofs run them on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from store.workspace import open_workspace

ROOT = Path(__file__).resolve().parent.parent


def headroom(*arguments: str | Path, workspace: Path) -> dict[str, Any]:
    """One command, its JSON, and how long it took."""
    command = [sys.executable, "-m", "headroom", *map(str, arguments), "--workspace", str(workspace), "--json"]
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**told, "took_s": time.monotonic() - began}


def small_corpus(folder: Path, num_files: int = 4) -> Path:
    """Short files that take every way through the pipeline: the smallest of the sample footage."""
    from tasks.samples import make_samples

    made = make_samples(folder / "samples")
    corpus = folder / "corpus"
    corpus.mkdir()
    for sample in sorted(made, key=lambda s: (folder / "samples" / s.file).stat().st_size)[:num_files]:
        shutil.copy(folder / "samples" / sample.file, corpus)
    return corpus


def started(
    arguments: Sequence[str | Path], workspace: Path, errors: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """A command in a session of its own; what it says to people goes to `errors`."""
    command = [sys.executable, "-m", "headroom", *map(str, arguments), "--workspace", str(workspace)]
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=errors)


def commits(workspace: Path, process: subprocess.Popen[bytes], num: int) -> bool:
    """Waits until a command has committed `num` times; False when it ended before."""
    ledger = open_workspace(workspace).ledger
    while ledger.manifest().id < num:
        if process.poll() is not None:
            return False
        time.sleep(0.05)
    return True


@contextmanager
def environment(told: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(told)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
