"""Memory that was freed goes back to the system, within a clip only when enough came in to be worth it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from infra import resources

FREED = """
from infra import resources

resources.give_back_memory()
before = resources.resident_bytes()
taken = [b"x" * 60_000 for _ in range(3000)]
pins = [b"x" * 60_000 for _ in range(4)]  # the heap can't shrink below what was taken last
del taken
kept = resources.resident_bytes()
resources.give_back_if_grown()
print((kept - before) >> 20, (resources.resident_bytes() - before) >> 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux")
def test_what_a_signal_freed_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    kept_mib, left_mib = (int(n) for n in done.stdout.split())
    assert kept_mib > 100
    assert left_mib < 20


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux")
def test_it_is_not_done_for_little(monkeypatch: pytest.MonkeyPatch) -> None:
    resident_mib, calls = [100], []
    monkeypatch.setattr(resources, "resident_bytes", lambda: resident_mib[0] << 20)
    resources.give_back_memory()
    monkeypatch.setattr(resources, "give_back_memory", lambda: calls.append(resident_mib[0]))
    for resident_mib[0] in (100 + resources.GROWN_MIB, 101 + resources.GROWN_MIB):
        resources.give_back_if_grown()
    assert calls == [101 + resources.GROWN_MIB]
