"""How lost work is cut down: by jobs after an error, by clips and signals after a death, and never without an end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from flows.attempts import MAX_ATTEMPTS, Attempt, after, again
from flows.submit import _parted
from flows.under_way import items, noted, of_the_dead
from tasks.jobs import Job

TWO = Job("signals", "v", "a.mp4", 4.0, ("c1", "c2"), ("motion", "speech"))


def ends(attempt: Attempt, deadly: str) -> list[str]:
    """What is set aside when a signal ends its process each time it is computed, on whatever."""
    waiting, aside, tries = [attempt], [], 0
    while waiting:
        tries += 1
        assert tries < 100
        one = waiting.pop()
        if one.jobs[0].set_aside:
            aside += [f"{i}:{s}" for i in one.jobs[0].items for s in one.jobs[0].signals]
            waiting += after(one)
        elif deadly in {s for job in one.jobs for s in job.signals}:
            more = again(one, died=True)
            assert more
            waiting += more
        else:
            waiting += after(one)
    return sorted(aside)


def test_only_the_signal_that_ends_its_process_is_set_aside() -> None:
    assert ends(Attempt([TWO, Job("signals", "w", "b.mp4", 1.0, ("c3",), ("motion",))]), "speech") == [
        "c1:speech",
        "c2:speech",
    ]
    assert ends(Attempt([Job("timelines", "v", "a.mp4", 60.0, (0,), ("faces",))]), "faces") == ["0:faces"]


def test_the_reason_names_the_clip_and_the_way_back() -> None:
    job = Job("signals", "v", "a.mp4", 1.0, ("c1",), ("motion",))
    [aside] = again(Attempt([job], MAX_ATTEMPTS), died=True)
    assert aside.jobs[0].set_aside.startswith("clip c1 of a.mp4: motion ended the process that computed it")
    assert aside.jobs[0].set_aside.endswith("`headroom curate --retry`")
    assert again(aside, died=True) == [], "what can't even be told is given up"
    assert again(Attempt([Job("clip", "v", "a.mp4", 1.0)], MAX_ATTEMPTS), died=True) == []


def test_errors_are_no_deaths() -> None:
    assert [a.jobs for a in again(Attempt([TWO, TWO]), died=False)] == [[TWO], [TWO]]
    assert again(Attempt([TWO], MAX_ATTEMPTS), died=False) == []


def test_seconds_of_media_are_counted_once() -> None:
    parts = again(Attempt([TWO]), died=True)
    assert sum(p.jobs[0].media_s for p in parts) == TWO.media_s
    [first] = again(parts[0], died=True)
    [second] = after(first)
    assert (first.jobs[0].signals, second.jobs[0].signals) == (("motion",), ("speech",))
    assert first.jobs[0].media_s + second.jobs[0].media_s == parts[0].jobs[0].media_s
    assert after(second) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from flows.under_way import noted
from tasks.jobs import Job
with noted(Path(sys.argv[1]), [Job("signals", "v", "a.mp4", 1.0, ("c2",))]):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_dead_process_was_computing_is_known_and_goes_alone(tmp_path: Path) -> None:
    with noted(tmp_path, [TWO]):
        assert of_the_dead(tmp_path) == {}, "its process lives"
    assert list(tmp_path.iterdir()) == []
    assert subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False).returncode == -signal.SIGKILL
    (tmp_path / "half.json").write_text('[["signals", "v", ')
    (tmp_path / "none.json").touch()
    dead = of_the_dead(tmp_path)
    lost = frozenset[tuple[str, str, str]]().union(*dead.values())
    assert (len(dead), lost) == (2, {("signals", "v", "c2")})
    other = Job("signals", "w", "b.mp4", 1.0, ("c3",))
    calm, suspects = _parted([[TWO, other], [other]], lost)
    assert [job.items for job in suspects] == [("c2",)]
    assert [[job.items for job in jobs] for jobs in calm] == [[("c1",), ("c3",)], [("c3",)]]
    assert items([TWO]) == {("signals", "v", "c1"), ("signals", "v", "c2")}
