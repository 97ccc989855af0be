"""The cage holds: memory, processor time, and no life after the parent."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tasks.media.limits import Limits, caged, python_child


def run(code: str, memory_bytes: int = 1 << 30, cpu_s: float = 10.0) -> subprocess.CompletedProcess[str]:
    command = caged([sys.executable, "-c", code], memory_bytes, cpu_s)
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_memory_is_bounded() -> None:
    assert run("x = bytearray(50 << 20); print(len(x))", 400 << 20).stdout == f"{50 << 20}\n"
    poor = run("x = bytearray(500 << 20)", 400 << 20)
    assert poor.returncode == 1
    assert "MemoryError" in poor.stderr


def test_processor_time_is_bounded() -> None:
    started = time.monotonic()
    endless = run("while True: pass", cpu_s=1.0)
    assert endless.returncode < 0
    assert time.monotonic() - started < 50


def test_a_child_whose_parent_is_gone_does_not_start() -> None:
    command = caged([sys.executable, "-c", "print('ran')"], 1 << 30, 10.0)
    command[command.index(str(os.getpid()))] = "1"
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (told.returncode, told.stdout) == (1, "")
    assert "the parent is gone" in told.stderr


def test_wall_time_grows_with_the_media() -> None:
    assert Limits(base_s=60.0, per_s=10.0).wall_s(3.0) == 90.0


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"])
def test_python_children_have_one_thread_and_our_path(name: str) -> None:
    command, environment = python_child("tasks.media.prober")
    assert command[-2:] == ["-m", "tasks.media.prober"]
    assert environment[name] == "1"
    assert all(p in environment["PYTHONPATH"].split(os.pathsep) for p in sys.path if p)
