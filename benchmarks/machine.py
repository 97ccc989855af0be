"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path


def machine() -> str:
    """One line: processor, cores, memory, Python and the versions that decide speed."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "",
    )
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    names = ("pylance", "duckdb", "pyarrow", "av", "onnxruntime", "opencv-python-headless", "torch")
    versions = ", ".join(f"{n} {version(n)}" for n in names)
    return f"{model or platform.machine()}, {os.cpu_count()} cores, {gib:.0f} GiB; Python {platform.python_version()}, {versions}"


@dataclass
class Peak:
    """Filled in when the step ends."""

    gib: float = 0.0


@contextmanager
def peak_gib() -> Iterator[Peak]:
    """The most memory that this process holds during the step: what came before it does not count, but for what it left
    behind. Where the system can't begin anew (no Linux), the peak since the process began."""
    clear, status, peak = Path("/proc/self/clear_refs"), Path("/proc/self/status"), Peak()
    if clear.exists():
        clear.write_text("5")
    yield peak
    if clear.exists():
        line = next(text for text in status.read_text().splitlines() if text.startswith("VmHWM:"))
        peak.gib = int(line.split()[1]) / 2**20
    else:
        peak.gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
