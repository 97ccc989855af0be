"""Weights by name: found in the carrier, joined, unpacked, and always checked."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra import weights
from infra.weights import Weight


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Lists one made weight, carried by files in a folder that stands for the package."""
    monkeypatch.setenv("HEADROOM_CACHE", str(tmp_path / "cache"))
    weights.path.cache_clear()

    def add(content: bytes, files: dict[str, bytes], member: str = "", upstream: str = "") -> None:
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        made = Weight(
            name="made",
            sha256=hashlib.sha256(content).hexdigest(),
            licence="MIT",
            origin="here",
            package="headroom",
            files=tuple(files) or ("net.onnx",),
            member=member,
            upstream=upstream,
        )
        monkeypatch.setattr(weights, "_entries", lambda: {"made": made})
        monkeypatch.setattr(weights, "_carried", lambda weight: [tmp_path / f for f in weight.files] if files else None)

    yield add
    weights.path.cache_clear()


def test_a_single_file_is_used_where_it_lies(listed: Callable[..., None], tmp_path: Path) -> None:
    listed(b"net", {"net.onnx": b"net"})
    assert weights.path("made") == tmp_path / "net.onnx"


def test_parts_are_joined_in_order(listed: Callable[..., None]) -> None:
    listed(b"onetwo", {"model.bin.part1": b"one", "model.bin.part2": b"two"})
    assert weights.path("made").read_bytes() == b"onetwo"


def test_a_member_is_unpacked(listed: Callable[..., None], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("inner.tflite", b"net")
    listed(b"net", {"net.task": (tmp_path / "x.zip").read_bytes()}, member="inner.tflite")
    assert weights.path("made").read_bytes() == b"net"


def test_other_bytes_are_refused(listed: Callable[..., None]) -> None:
    listed(b"net", {"net.onnx": b"tampered"})
    with pytest.raises(ValueError, match="made.*has sha256 .* expected"):
        weights.path("made")


def test_a_spoilt_cache_is_made_anew(listed: Callable[..., None]) -> None:
    listed(b"onetwo", {"model.bin.part1": b"one", "model.bin.part2": b"two"})
    found = weights.path("made")
    found.write_bytes(b"spoilt")
    weights.path.cache_clear()
    assert weights.path("made").read_bytes() == b"onetwo"


def test_a_missing_package_without_upstream_names_the_command(listed: Callable[..., None]) -> None:
    listed(b"net", {})
    with pytest.raises(ValueError, match="package 'headroom' is not installed; run make setup"):
        weights.path("made")


def test_an_upstream_out_of_reach_says_where_to_put_the_file(listed: Callable[..., None]) -> None:
    listed(b"net", {}, upstream="https://127.0.0.1:9/net.onnx")
    with pytest.raises(ValueError, match="can't be reached .* put the file at"):
        weights.path("made")


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(ValueError, match="'nonsense' are not in infra/weights.toml"):
        weights.entry("nonsense")


PERMISSIVE = {"MIT", "Apache-2.0", "BSD-3-Clause", "BSD-2-Clause", "CC-BY-4.0", "CC0-1.0", "ISC", "LIVE"}
"""LIVE is the notice of the authors of BRISQUE: use, copy, modify and distribute for any purpose, keeping the notice."""


def test_every_listed_weight_is_complete() -> None:
    for name in weights._entries():
        entry = weights.entry(name)
        assert len(entry.sha256) == 64
        assert entry.licence.split()[0] in PERMISSIVE, name
        assert entry.origin.startswith("https://"), name
