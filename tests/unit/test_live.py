"""`demo --live` between the single commands: what it learns from, what it leaves as it is, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from dashboards import live as shown
from flows import deploy, deploy_servers, live_session, train
from headroom import live
from store.workspace import open_workspace

FIGURE = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 2}
MEASURES = dict.fromkeys(shown.MEASURES, FIGURE)
TRAINED = {
    "id": "c0ffee0123456789",
    "recipe": {"num_steps": 400},
    "data": {
        "clips": {"train": ["a", "b"]}, "people": {"train": ["p"]}, "seconds": {"train": 35.4}, "heard_twice": ["b"],
        "licences": {"CC-BY-4.0, consent yes": 2},
    },
    "metrics": {
        "held_out": "time",
        "held_time": {
            "num_clips": 2, "num_people": 1, "seconds": 4.8, "measures": {"mean_motion": MEASURES, "ours": MEASURES},
            "ahead": {"mean_motion": {**MEASURES, "correlation": {**FIGURE, "value": -0.1}}},
            "silence": {"after_voice_open": FIGURE, "after_voice_quiver": FIGURE},
        },
    },
}  # fmt: skip


class Held:
    """A corpus of tiers with so many seconds."""

    def __init__(self, root: Path, seconds: dict[str, float | None]) -> None:
        self.workspace, self.seconds = open_workspace(root), seconds

    def sql(self, query: str) -> pl.DataFrame:
        if "sum(" in query:
            return pl.DataFrame({"s": [next(s for tier, s in self.seconds.items() if tier in query)]})
        return pl.DataFrame({"clip_id": ["a"]})


def built(*tiers: str) -> list[dict[str, Any]]:
    return [{"tier": tier, "snapshot": f"of {tier}"} for tier in tiers]


def test_the_strictest_tier_that_holds_enough_is_learnt_from(tmp_path: Path) -> None:
    corpus: Any = Held(tmp_path, {"a2v_gold": 12.0, "a2v_silver": 31.0, "a2v_bronze": 90.0})
    assert live._enough(corpus, built(*live.TIERS)) == ("a2v_silver", "of a2v_silver")
    corpus = Held(tmp_path, {"a2v_gold": None, "a2v_silver": 12.0, "a2v_bronze": 29.0})
    with pytest.raises(
        ValueError, match="too little to learn from .a2v_gold holds 0 s, .* 29 s; at least 30 s are needed"
    ):
        live._enough(corpus, built(*live.TIERS))


def test_a_second_run_leaves_all_as_it_is_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus: Any = Held(tmp_path / "ws", dict.fromkeys(live.TIERS, 40.0))
    state, did = "serving", iter(["trained", "nothing", "nothing", "nothing"])
    recorded: list[Path] = []

    @contextmanager
    def servers_of(place: object, face: str) -> Iterator[tuple[list[str], list[str]]]:
        yield [face], []

    def record(server: str, sound: np.ndarray, out: Path, face: str) -> dict[str, Any]:
        out.parent.mkdir(exist_ok=True)
        out.write_bytes(b"mp4")
        recorded.append(out)
        figures = {"frames": 289.0, "lost_frames": 0.0, "fps": 100.0, "skew_ms": 0.1, "mouth_loudness": 0.7}
        return {"path": str(out), "checkpoint": TRAINED["id"], "avatar": face, **figures}

    monkeypatch.setattr(train, "run_train", lambda *a, **k: {**TRAINED, "did": next(did)})
    monkeypatch.setattr(
        deploy, "run_deploy",
        lambda root, name, **k: {"checkpoint": name, "state": state, "reason": "r", "did": "nothing", "before": ""},
    )  # fmt: skip
    monkeypatch.setattr(deploy_servers, "servers_of", servers_of)
    monkeypatch.setattr(live_session, "record", record)

    def run() -> str:
        told = live.live(corpus, built(*live.TIERS), lambda text: None, _training)
        shown.came_live(told, tmp_path / "ws")
        return " ".join(capsys.readouterr().out.split())

    first, second = run(), run()
    assert "nothing was trained" not in first
    for said in ("nothing was trained now", "serves already; nothing to do", "recorded before"):
        assert said in second
    assert len(recorded) == 1
    for said in ("2 clips, 35.4 s, of 1 person (a2v_gold), 400 steps", "says nothing of people it never saw",
                 "behind mean motion", "held time: 2 clips, 4.8 s", "serve --avatar a"):  # fmt: skip
        assert said in first
    assert "held people" not in first + second
    recorded[0].unlink()
    assert "recorded before" not in run(), "a session that is gone is had again"
    state = "refused"
    assert "session" not in run().split("deployment", 1)[1].split("training 0 s")[0], "nothing serves, nothing is shown"


@contextmanager
def _training() -> Iterator[Any]:
    yield lambda done: None
