"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def media_root() -> Path | None:
    """The folder of real footage, if this machine has one."""
    told = os.environ.get("HEADROOM_MEDIA")
    root = Path(told) if told else Path(__file__).resolve().parents[2] / "shared" / "media"
    return root if (root / "manifest.jsonl").exists() else None


@pytest.fixture(scope="session")
def real_media() -> Path:
    root = media_root()
    if root is None:
        pytest.skip("no real footage: set HEADROOM_MEDIA to a folder with manifest.jsonl")
    return root
