"""A decoder that is killed under a batch, as by a system that runs short of memory: no row tells of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from store.workspace import Workspace
from tasks.media.errors import MediaError
from tasks.media.media import Media
from tasks.media.reader import Reader
from tests.unit.tasks.stand_in import run, wide

pytestmark = pytest.mark.usefixtures("quick_sql")


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often the decoder is still to die in the middle of a window, and of a clip."""
    left, blocks, sampled = {"window": 0, "clip": 0}, Reader.blocks, Reader.sampled

    def dies(what: str) -> None:
        if left[what]:
            left[what] -= 1
            raise MediaError("decode", "the decoder died with status -9 (no message); it starts anew", transient=True)

    def dying_blocks(self: Reader, *told: Any, **more: Any) -> Iterator[Media]:
        for media in blocks(self, *told, **more):
            yield media
            dies("window")

    def dying_sampled(self: Reader, *told: Any, **more: Any) -> Media:
        dies("clip")
        return sampled(self, *told, **more)

    monkeypatch.setattr(Reader, "blocks", dying_blocks)
    monkeypatch.setattr(Reader, "sampled", dying_sampled)
    return left


def values(workspace: Workspace) -> list[dict[str, Any]]:
    rows = wide(workspace).to_dicts()
    return [{k: v for k, v in r.items() if not k.endswith(("computed_at", "created_at"))} for r in rows]


def test_one_death_costs_nothing_but_the_time(workspace: Workspace, deaths: dict[str, int]) -> None:
    deaths.update(window=1, clip=1)
    outcome = run(workspace)
    assert deaths == {"window": 0, "clip": 0}
    assert outcome.tally.failed == {}
    assert {r[f"{n}_status"] for r in values(workspace) for n in ("brightness", "double")} == {"ok"}


def test_what_its_decoder_left_twice_is_tried_later(
    workspace: Workspace, deaths: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths.update(window=2)
    assert set(run(workspace).tally.failed) == {"luma", "faces", "flow", "keyframes", "cuts"}
    with workspace.views() as reader:
        (row,) = reader.sql("SELECT DISTINCT status, reason FROM timelines WHERE status <> 'ok'").to_dicts()
    assert row["status"] == "failed_transient"
    assert row["reason"].startswith("MediaError: decode: the decoder died with status -9")
    later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: later)
    assert run(workspace).tally.failed == {}
    assert [{r[f"{n}_status"] for n in ("brightness", "double")} for r in values(workspace)] == [{"ok"}] * 2


def test_a_clip_that_its_decoder_left_twice_is_tried_later(
    workspace: Workspace, deaths: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths.update(clip=2)
    (failure,) = {f.reason for f in run(workspace).tally.failures}
    assert failure.startswith("MediaError: decode: the decoder died with status -9")
    assert "failed_transient" in {r["loudness_status"] for r in values(workspace)}
    later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: later)
    assert run(workspace).tally.failed == {}
    assert {r["loudness_status"] for r in values(workspace)} == {"ok", "not_applicable"}
