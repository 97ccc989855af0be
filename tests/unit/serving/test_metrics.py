"""What is measured of a mouth, and what is told of workers that draw by different renderers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from modeling.mouth_crop import add, cut
from serving.checkpoints import Split
from serving.engine import Chunk, Session
from serving.lines import pair
from serving.metrics import exposition, held_by_all
from serving.remote import Worker
from serving.routing import Gateway
from serving.talking import DrawnFace
from serving.vitals import Watch
from tests.unit.serving.talker import head


def test_a_worker_with_a_renderer_of_its_own_stands_in_for_what_is_wanted() -> None:
    gateway = Gateway([head()])
    gateway.split = Split("c0+r0", "c1+r0", 0.5, 3)
    rest: dict[str, Any] = {"moving": 0, "vitals": {}, "switches": 0, "slowest_switch_s": 0.0, "on": {}, "resident_bytes": 1,
                            "threads": 1, "switched_s": 0.0}  # fmt: skip
    own = {
        "split": asdict(Split("c0", "c1", 0.5, 3)),
        "renderer": "",
        "serving": "c0",
        "held": ["c0", "c1"],
        "refused": {},
    }
    there = {**own, "split": asdict(gateway.split), "renderer": None, "serving": "c0+r0", "held": ["c0+r0", "c1+r0"]}
    for name, state in (("a", there), ("b", own)):
        gateway.workers[name] = Worker(pair()[0], {"hello": name, "capacity": 1, "state": {**state, **rest}})
    told = held_by_all(gateway)
    assert told["own_renderer"] == ["b"]
    assert {"c0+r0", "c1+r0"} <= set(told["held"])
    text = exposition(gateway).decode()
    assert 'headroom_checkpoint_role{checkpoint="c0",renderer="none",role="stable"} 1.0' in text
    assert 'headroom_checkpoint_role{checkpoint="c1",renderer="r0",role="canary"} 1.0' in text
    gateway.workers["b"].state |= {"held": ["c0"], "refused": {"c1": "checkpoint c1: bad"}}
    told = held_by_all(gateway)
    assert "c1+r0" not in told["held"]
    assert told["refused"]["c1+r0"] == "checkpoint c1: bad"


def test_a_mouth_that_is_painted_still_is_seen_though_the_head_sways() -> None:
    shown = head()
    sound = np.random.default_rng(0).normal(0, 3000, 640 * 50).astype(np.int16)
    motion = np.zeros((50, 9), np.float32)
    motion[:, 0] = 1.5 + np.sin(np.arange(50))
    motion[:, 7] = 0.4 * np.sin(np.arange(50) / 4)
    stage = DrawnFace()
    (drawn,) = stage.step(stage.begin(Session(shown)), Chunk(0, sound, motion))
    first = cut(drawn.frames[0], drawn.squares[0]).astype(np.float32)
    still = [add(f, first - cut(f, at), at) for f, at in zip(drawn.frames, drawn.squares, strict=True)]
    alive, frozen = Watch(shown), Watch(shown)
    alive.saw(motion, drawn.frames, sound, drawn.squares)
    frozen.saw(motion, still, sound, drawn.squares)
    told, other = frozen.vitals.figures(), alive.vitals.figures()
    assert (told["frame_change"] or 0) > 0.3 * (other["frame_change"] or 0), "the head alone has that"
    assert (other["mouth_shown"] or 0) > 0.8
    assert (told["mouth_shown"] or 0) < 0.3 * (other["mouth_shown"] or 0)
