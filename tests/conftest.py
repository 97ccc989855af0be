"""Fixtures for all tests."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def media_root() -> Path | None:
    """The folder of real footage, if this machine has one."""
    told = os.environ.get("HEADROOM_MEDIA")
    root = Path(told) if told else ROOT.parent / "shared" / "media"
    return root if (root / "manifest.jsonl").exists() else None


@pytest.fixture(scope="session")
def real_media() -> Path:
    root = media_root()
    if root is None:
        pytest.skip("no real footage: set HEADROOM_MEDIA to a folder with manifest.jsonl")
    return root


@pytest.fixture(scope="session")
def samples() -> Path:
    """The sample footage of `make demo`, made once for all tests and kept for the next run."""
    from tasks.samples import make_samples

    (ROOT / "samples").mkdir(exist_ok=True)
    with (ROOT / "samples" / ".lock").open("w") as lock:  # the processes that share the tests take turns
        fcntl.flock(lock, fcntl.LOCK_EX)
        make_samples(ROOT / "samples")
    return ROOT / "samples"
