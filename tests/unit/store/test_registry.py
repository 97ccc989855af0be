"""The registry: a checkpoint is what its id says, or it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from store import registry
from store.workspace import Workspace, open_workspace

TOLD: dict[str, Any] = {"recipe": {"name": "tiny"}, "snapshot": {"id": "s1", "sha256": "0", "tier": "t"}, "metrics": {}}


@pytest.fixture
def place(tmp_path: Path, either_ledger: str) -> Workspace:
    return open_workspace(tmp_path / "ws")


def test_the_same_training_is_the_same_checkpoint(place: Workspace) -> None:
    made = registry.publish(place, b"weights", TOLD)
    first = registry.checkpoint_row(place, made.id)
    assert registry.publish(place, b"weights", TOLD).id == made.id
    assert registry.checkpoint_row(place, "tiny") == first
    assert registry.load(place, made.id[:6]) == made
    other = registry.publish(place, b"other weights", TOLD)
    assert other.id != made.id
    assert registry.load(place, "tiny").weights == b"other weights", "a recipe's name is its latest checkpoint"


def test_what_was_changed_is_refused(place: Workspace) -> None:
    made = registry.publish(place, b"weights", TOLD)
    folder = place.objects.local(registry.checkpoint_row(place, made.id)["uri"]).parent
    (folder / "weights.safetensors").write_bytes(b"weightz")
    with pytest.raises(ValueError, match="its weights are not what was published"):
        registry.load(place, made.id)
    (folder / "checkpoint.json").write_text("{}")
    with pytest.raises(ValueError, match=r"checkpoint\.json is not what was published"):
        registry.load(place, made.id)
    (folder / "checkpoint.json").unlink()
    with pytest.raises(ValueError, match="can't be read"):
        registry.load(place, made.id)


def test_an_unknown_name_says_what_to_do(place: Workspace) -> None:
    with pytest.raises(ValueError, match="headroom train RECIPE publishes one"):
        registry.load(place, "nothing")


def test_erasure_takes_clips_out_of_what_a_checkpoint_says(place: Workspace) -> None:
    told = {**TOLD, "data": {"clips": {"train": ["aa11", "bb22"]}}}
    made, other = registry.publish(place, b"weights", told), registry.publish(place, b"others", TOLD)
    place.objects.put_bytes(b'{"clips": ["aa11"]}', f"checkpoints/{made.id}/evaluations/s1.json")

    def without(text: bytes) -> bytes:
        return text.replace(b"aa11", b"forgotten")

    assert registry.of_snapshot(place, "tiny", "s1") == [other.id, made.id]
    assert registry.redact(place, without) == [made.id]
    assert registry.of_snapshot(place, "tiny", "s1") == [other.id], "it learnt from what is no more"
    assert registry.redact(place, without) == []
    left = registry.load(place, made.id)
    assert (left.id, left.told["data"]["clips"]["train"]) == (made.id, ["forgotten", "bb22"])
    assert left.weights == b"weights"
    assert registry.load(place, other.id) == other
    files = place.objects.local(registry.checkpoint_row(place, made.id)["uri"]).parent.rglob("*")
    assert not any(b"aa11" in f.read_bytes() for f in files if f.is_file())
