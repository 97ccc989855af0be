"""Weights by name: from the local cache, the carrier package, or upstream; the sha256 always checked."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

WEIGHTS_TOML = Path(__file__).with_name("weights.toml")


@dataclass(frozen=True)
class Weight:
    """One weights file. `files` lie in the package, joined in order when there are several; `member` is a file
    inside the archive that the package carries."""

    name: str
    sha256: str
    licence: str
    origin: str
    package: str
    files: tuple[str, ...]
    member: str = ""
    upstream: str = ""
    note: str = ""


@cache
def _entries() -> dict[str, Weight]:
    raw = tomllib.loads(WEIGHTS_TOML.read_text())
    return {name: Weight(name=name, **{**e, "files": tuple(e["files"])}) for name, e in raw.items()}


def entry(name: str) -> Weight:
    """Raises ValueError for a name that weights.toml does not list."""
    try:
        return _entries()[name]
    except KeyError:
        raise ValueError(f"weights {name!r} are not in infra/weights.toml; it lists {sorted(_entries())}") from None


def cache_dir() -> Path:
    return Path(os.environ.get("HEADROOM_CACHE", Path.home() / ".cache" / "headroom")) / "weights"


@cache
def path(name: str) -> Path:
    """A local file holding the weights, whose sha256 was checked in this process.

    Raises ValueError when the bytes found are not the ones expected, or can be found nowhere.
    """
    weight = entry(name)
    suffix = Path(weight.member or weight.files[0]).suffix
    cached = cache_dir() / f"{weight.sha256[:16]}{suffix}"
    if cached.exists() and _sha256(cached) == weight.sha256:
        return cached
    carried = _carried(weight)
    if carried is not None and len(carried) == 1 and not weight.member:
        return _checked(weight, carried[0])
    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cached.parent) as scratch:
        made = Path(scratch) / "weights"
        if carried is None:
            carried = [Path(scratch) / "download"]
            _download(weight, carried[0])
        if weight.member:
            with zipfile.ZipFile(carried[0]) as archive:
                made.write_bytes(archive.read(weight.member))
        else:
            with made.open("wb") as out:
                for part in carried:
                    with part.open("rb") as source:
                        shutil.copyfileobj(source, out)
        _checked(weight, made)
        made.replace(cached)
    return cached


def _carried(weight: Weight) -> list[Path] | None:
    if weight.package == "headroom":
        return [Path(__file__).parent / f for f in weight.files]
    try:
        root = distribution(weight.package).locate_file("")
    except PackageNotFoundError:
        return None
    files = [Path(str(root)) / f for f in weight.files]
    return files if all(f.exists() for f in files) else None


def _download(weight: Weight, target: Path) -> None:
    import urllib.error
    import urllib.request

    if not weight.upstream.startswith("https://"):
        raise ValueError(f"weights {weight.name!r}: package {weight.package!r} is not installed; run make setup")
    try:
        with urllib.request.urlopen(weight.upstream, timeout=60) as response, target.open("wb") as out:  # noqa: S310
            shutil.copyfileobj(response, out)
    except (urllib.error.URLError, TimeoutError) as error:
        raise ValueError(
            f"weights {weight.name!r}: package {weight.package!r} is not installed and {weight.upstream} "
            f"can't be reached ({error}); run make setup, or put the file at {cache_dir() / weight.sha256[:16]}"
        ) from error


def _checked(weight: Weight, found: Path) -> Path:
    digest = _sha256(found)
    if digest != weight.sha256:
        raise ValueError(f"weights {weight.name!r}: {found} has sha256 {digest}, expected {weight.sha256}; reinstall")
    return found


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
