"""Processor time of a command with everything it started, also what it never waited for.

    python whole_cost.py COMMAND ...      runs it; the last line of standard error is its CPU-seconds

`RUSAGE_CHILDREN` holds only children that were waited for: a pool that ends its workers without waiting (data-juicer's
operators run in such) would seem to cost nothing. So the command runs under a process that adopts orphans and waits
for all of them.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def main(command: list[str]) -> int:
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this kernel does not let a process adopt orphans")
    ended = subprocess.run(command, check=False).returncode
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"\n{used.ru_utime + used.ru_stime}", file=sys.stderr)
    return ended


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
