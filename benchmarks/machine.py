"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
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
