"""The cage of a decoder: memory, processor time, no core dump, and death together with its parent.

Run as a file (`python limits.py MEMORY_BYTES CPU_S PARENT_PID COMMAND ...`) it puts the cage around any program:
the limits survive exec. Only the standard library's light modules are imported, so that costs about 10 ms. It is
a launcher instead of a `preexec_fn` because that is unsafe in a process with threads.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Limits:
    """What one child may use. Its wall time is `base_s` plus `per_s` for each second of media.

    A child that shows no progress for `stall_s` is killed as well. `memory_bytes` bounds the address space, so it
    bounds resident memory too. 8192 x 4352 pixels is 8K video.
    """

    memory_bytes: int = 3 << 30
    max_pixels: int = 8192 * 4352
    base_s: float = 60.0
    per_s: float = 10.0
    stall_s: float = 60.0

    def wall_s(self, media_s: float) -> float:
        return self.base_s + self.per_s * media_s


def enter(memory_bytes: int, cpu_s: float, parent_pid: int) -> None:
    """Put the calling process into the cage; `cpu_s` 0 is no limit. Ends it when the parent is already gone."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if cpu_s:
        seconds = max(1, round(cpu_s))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        sys.exit("the parent is gone")


def caged(command: list[str], memory_bytes: int, cpu_s: float) -> list[str]:
    """The command line that runs `command` inside the cage, as a child of the calling process."""
    launcher = [sys.executable, "-I", "-S", str(Path(__file__).resolve())]
    return [*launcher, str(memory_bytes), str(cpu_s), str(os.getpid()), *command]


def python_child(module: str) -> tuple[list[str], dict[str, str]]:
    """Command and environment that run one of our modules in a Python of its own, which calls `enter` itself."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PYTHONUNBUFFERED": "1"}
    # Thread pools of numeric libraries reserve address space for every core; a decoder needs none of them.
    environment.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    return [sys.executable, "-P", "-m", module], environment


if __name__ == "__main__":
    enter(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
    os.execvp(sys.argv[4], sys.argv[4:])  # noqa: S606 - the program is chosen by tasks.media
