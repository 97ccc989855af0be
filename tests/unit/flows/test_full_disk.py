"""A disk that fills up under `headroom shard` and `headroom deploy`: one line says so, and with room again they go on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.shard import run_shard
from headroom.command import _complain
from store import deployments
from store.workspace import Workspace, open_workspace
from tasks.shard_begin import Asked
from tests.faults import can_mount, small_disk
from tests.unit.flows.test_deploy import Told, deployed, lively, published, quick, served  # noqa: F401 - for tests here
from tests.unit.store.test_full_disk import fill, objects_of
from tests.unit.tasks.sharded import fill_with_sources

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("quick_sql"),
    pytest.mark.skipif(not can_mount(), reason="a small disk needs root and mount"),
]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    with small_disk(place, 48):
        yield place


def is_told(error: BaseException, workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert isinstance(error, Exception)
    _complain(error, ["shard", "-w", str(workspace.settings.workspace)])
    said = capsys.readouterr().err
    assert said.startswith("headroom: the disk is full ("), said
    assert said.endswith("make room, then run the same command again: it goes on where it was\n")
    assert said.count("\n") == 1


def sums(place: Path) -> dict[str, str]:
    """Of each tar, by its path below the place of a set."""
    return {str(f.relative_to(place)): hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(place.rglob("*.tar"))}


@pytest.mark.parametrize("groups", [0, 1])
def test_shards_on_a_disk_that_is_full_from_the_begin_and_after_the_first_group(
    groups: int, prefect: str, disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = open_workspace(disk / "ws")
    fill_with_sources(workspace, tmp_path / "footage")
    root, asked = workspace.settings.workspace, Asked(timelines=())
    whole = run_shard(root, "all_of_it", str(tmp_path / "whole"), asked)
    fillers: list[Path] = []

    def full(shard: Any = None) -> None:
        fillers.append(fill(disk))

    out = disk / "out"
    if not groups:
        full()
    with pytest.raises(Exception) as caught:
        run_shard(root, whole["snapshot"], str(out), asked, full)
    is_told(caught.value, workspace, capsys)
    assert not (out / "index.json").exists(), "no set that is not whole is taken for one"
    fillers[0].unlink()

    written: list[str] = []
    told = run_shard(root, whole["snapshot"], str(out), asked, lambda shard: written.append(shard["group"]))
    assert written == list(whole["groups"])[groups:], "what stands is not written again"
    assert told["num_clips"] == 3
    assert sums(out) == sums(tmp_path / "whole")
    assert run_shard(root, whole["snapshot"], str(out), asked)["did"] == "nothing"


@pytest.mark.parametrize("step", ["gates", "canary", "compare", "promote"])
def test_a_deployment_on_a_full_disk_is_told_and_comes_to_its_end_with_room(
    step: str, disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = open_workspace(disk / "ws")
    old = published(place, lively(0))
    deployments.first(place, old)
    new, fillers, known = published(place, lively(1)), list[Path](), objects_of(place)

    def full(name: str) -> None:
        if name == step:
            fillers.append(fill(disk))

    with pytest.raises(Exception) as caught, served(place):
        deployed(place, new, Told(full))
    is_told(caught.value, place, capsys)
    fillers[0].unlink()
    assert deployments.serving(place).stable == old, "it serves as before"
    assert objects_of(place) == known
    with served(place):
        told = deployed(place, new)
    assert told["state"] == "serving", told
    assert deployments.serving(place).stable == new
