"""An erasure on a disk that is full at each of its steps: nothing claims to be erased until it is, and room ends it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from headroom import main
from headroom.command import _complain
from store import erasure
from store.workspace import Workspace
from tasks import forget
from tests.faults import can_mount, small_disk
from tests.unit.store.test_full_disk import fill
from tests.unit.tasks.test_forget import PERSON, footage, home, left, planted, victim  # noqa: F401 - for the test here

pytestmark = pytest.mark.skipif(not can_mount(), reason="a small disk needs root and mount")


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """All of the workspace lies on a small disk."""
    place = tmp_path / "disk"
    with small_disk(place, 48):
        yield place


def test_an_erasure_on_a_full_disk_claims_nothing_and_room_ends_it(
    planted: Workspace,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    video, _, targets = victim(planted)
    filler, met, stopped = tmp_path / "filler", list[str](), list[str]()

    def full(step: str) -> None:
        if step not in met:  # each step is begun once without room
            met.append(step)
            fill(tmp_path)

    told = None
    while told is None:
        try:
            told = forget.forget(planted, PERSON, full)
        except ValueError as error:
            stopped.append(met[-1])
            _complain(error, ["forget", PERSON, "-w", str(planted.settings.workspace)])
            said = capsys.readouterr().err
            assert said.startswith("headroom: the disk is full (the erasure of ")
            assert "has begun and is not complete, no report claims it" in said
            assert said.endswith("make room, then run the same command again: it goes on where it was\n")
            if stopped == ["rows"]:  # any other command says so too, since it goes on with it first
                with pytest.raises(SystemExit) as ended:
                    main(["status", "-w", str(planted.settings.workspace)])
                assert ended.value.code == 2
                assert "headroom: the disk is full (" in capsys.readouterr().err
            filler.unlink()
            assert len(erasure.journals(planted, erasure.BEGUN, erasure.REMOVED)) == 1
            assert planted.objects.under("erasures") == []
    filler.unlink(missing_ok=True)
    assert met == [*forget.STEPS, "search", "report"]
    assert {"rows", "versions", "report"} <= set(stopped), stopped
    assert told["complete"]
    assert left(planted, targets, tmp_path / "shards") == []
    assert forget.check(planted.objects.local(told["report"]), planted)["complete"]
    with planted.views() as reader:
        assert reader.sql("SELECT name FROM videos")["name"].to_list() == ["other.mp4"]
    assert video in targets.ids


def test_the_same_command_ends_an_erasure_that_was_cut_off(
    planted: Workspace,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its name is nobody's any more once the rows are gone: the journal knows it."""
    command = ["forget", "interview älter.mp4", "--json", "-w", str(planted.settings.workspace)]
    filler = tmp_path / "filler"
    with pytest.raises(ValueError, match="has begun and is not complete"):
        forget.forget(
            planted, "interview älter.mp4", lambda step: fill(tmp_path) and None if step == "versions" else None
        )
    filler.unlink()
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(command)
    told = json.loads(capsys.readouterr().out)
    assert (ended.value.code, told["complete"], len(told["videos"])) == (0, True, 1)
