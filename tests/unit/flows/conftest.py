"""Footage and a Prefect server for the tests of the flows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.flows.footage import make_talk


@pytest.fixture(scope="session")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two talking heads and a file that is no video."""
    folder = tmp_path_factory.mktemp("talks")
    make_talk(folder / "left {0}.mp4", center_x=140)
    make_talk(folder / "right.mp4", 4.0, center_x=180)
    (folder / "broken.mp4").write_bytes(b"no video at all")
    return folder


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect API for flows that run in this process."""
    from flows.server import prefect_api

    with prefect_api(tmp_path_factory.mktemp("prefect")) as url:
        yield url
