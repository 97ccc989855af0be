"""Which code this is: what a checkpoint says it was made by."""

from __future__ import annotations

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@cache
def code_version() -> dict[str, str]:
    """{"package": the version, "commit": of the checkout it runs from, with "+" when files differ, or "unknown"}."""
    try:
        package = version("headroom")
    except PackageNotFoundError:
        package = "unknown"
    root = Path(__file__).resolve().parents[1]
    commit = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else ""
    changed = "+" if commit and _git(root, "status", "--porcelain", "--untracked-files=no") else ""
    return {"package": package, "commit": commit + changed or "unknown"}


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
