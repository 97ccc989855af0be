"""What `headroom up` refuses, and what it says when a part of it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows import up as module
from flows.server import Child, Running, home
from flows.up import checked_cron, time_zone, up


def test_a_schedule_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="cron 'at night' is no schedule; write it as '0 2 "):
        checked_cron("at night")
    assert checked_cron("30 1 * * 1").cron == "30 1 * * 1"


def test_a_schedule_is_checked_before_anything_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "start_server", lambda *a, **k: pytest.fail("a server was started"))
    with pytest.raises(ValueError, match="cron 'never' is no schedule"):
        up(tmp_path, cron="never")


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere: no such file or folder to watch"):
        up(tmp_path, watch=[str(tmp_path / "nowhere")])


def test_one_for_each_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "running", lambda root: Running("http://127.0.0.1:9", 77, 0.0))
    with pytest.raises(ValueError, match="runs for this workspace already, as process 77: http://127.0.0.1:9"):
        up(tmp_path)


def test_a_part_that_ends_by_itself_is_told(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_text("first\nout of luck\n")
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    with pytest.raises(RuntimeError, match=r"the worker ended by itself: out of luck; all of it is in .*worker\.log"):
        module._until_one_ends(tmp_path, [Child("worker", process, log)])


def test_a_database_that_is_deleted_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = home(tmp_path) / "prefect.db"
    file.write_bytes(b"")
    monkeypatch.setattr(module.threading.Event, "wait", lambda self, seconds: file.unlink())
    with pytest.raises(RuntimeError, match=r"prefect\.db was deleted or replaced while .*; start headroom up again"):
        module._until_one_ends(tmp_path, [])


def test_the_schedule_is_in_the_time_zone_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Lisbon")
    assert time_zone() == "Europe/Lisbon"
    assert checked_cron("0 2 * * *").timezone == "Europe/Lisbon"
    monkeypatch.delenv("TZ")
    assert time_zone()
    assert "TZ" not in os.environ
