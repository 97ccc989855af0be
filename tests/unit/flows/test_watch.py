"""The watch tells of footage once it lies still, and not of what it knows."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.watch import scan, watch


@contextmanager
def watching(folder: Path, on_settled: Callable[[], bool], settle_s: float = 0.3) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(
        target=watch, args=([str(folder)], on_settled, stop), kwargs={"settle_s": settle_s, "poll_s": 0.5}
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def until(condition: Callable[[], bool], seconds: float = 15) -> bool:
    ends = time.monotonic() + seconds
    while not condition() and time.monotonic() < ends:
        time.sleep(0.05)
    return condition()


class Settled:
    """Takes down what lay there each time it was called."""

    def __init__(self, folder: Path, answers: list[bool] | None = None) -> None:
        self.folder = folder
        self.answers = answers or []
        self.seen: list[list[str]] = []

    def __call__(self) -> bool:
        self.seen.append(sorted(Path(uri).name for uri in scan([str(self.folder)])))
        return self.answers.pop(0) if self.answers else True


def test_what_lies_there_at_the_start_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"a")
    settled = Settled(tmp_path)
    with watching(tmp_path, settled):
        assert until(lambda: bool(settled.seen))
        time.sleep(1.5)
    assert settled.seen == [["a.mp4"]]


def test_nothing_is_told_of_an_empty_folder_or_of_other_files(tmp_path: Path) -> None:
    settled = Settled(tmp_path)
    with watching(tmp_path, settled):
        (tmp_path / "notes.txt").write_text("no video")
        time.sleep(1.5)
    assert settled.seen == []


def test_a_file_is_told_of_when_it_is_complete(tmp_path: Path) -> None:
    settled = Settled(tmp_path)
    with watching(tmp_path, settled, settle_s=1.0):
        (tmp_path / "below").mkdir()
        with (tmp_path / "below" / "b.mp4").open("wb") as file:
            for _ in range(10):
                file.write(b"b" * 1000)
                file.flush()
                time.sleep(0.2)
                assert settled.seen == []
        assert until(lambda: bool(settled.seen))
    assert settled.seen == [["b.mp4"]]


def test_folders_may_appear_while_others_are_taken_up(tmp_path: Path) -> None:
    """The system's events then tell of a folder twice, which must not end the thread that listens to them."""
    settled = Settled(tmp_path)

    def fill(folder: Path) -> None:
        for k in range(50):
            (folder / str(k) / "below" / "deeper").mkdir(parents=True)
        (folder / "late.mp4").write_bytes(b"a")

    for n in range(5):
        folder = tmp_path / str(n)
        folder.mkdir()
        filling = threading.Thread(target=fill, args=(folder,))
        filling.start()
        with watching(folder, settled):
            assert until(lambda n=n: bool(settled.seen) and len(settled.seen[-1]) == n + 1)  # type: ignore[misc]
        filling.join()


def test_what_was_not_taken_care_of_is_told_again(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"a")
    settled = Settled(tmp_path, answers=[False, True])
    with watching(tmp_path, settled):
        assert until(lambda: len(settled.seen) == 2)
        time.sleep(1.5)
    assert len(settled.seen) == 2


def test_a_folder_that_is_gone_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"a")
    assert len(scan([str(folder)])) == 1
    shutil.rmtree(folder)
    assert scan([str(folder)]) == {}
    assert "no such file or folder" in caplog.text
