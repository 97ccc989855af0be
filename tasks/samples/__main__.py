"""`python -m tasks.samples FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from tasks.samples import make_samples


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write("usage: python -m tasks.samples FOLDER\n")
        return 2
    try:
        samples = make_samples(Path(arguments[0]), lambda told: sys.stderr.write(f"sample {told}\n"))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    num_made = sum(s.made for s in samples)
    sys.stdout.write(f"{len(samples)} sample files in {arguments[0]}, {num_made} of them made; see manifest.jsonl\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
