"""A backend whose output is known: it tells which checkpoint it was loaded from, and how often."""

from __future__ import annotations

import time
from typing import Any

from tasks.backend import Checkpoint
from tasks.media.media import Media
from tasks.signal import Compute, Needs, Output

loads: list[Checkpoint] = []


def load(checkpoint: Checkpoint) -> Checkpoint:
    loads.append(checkpoint)
    return checkpoint


def motion(model: Checkpoint, media: Media, needs: Needs, default: Compute) -> Output:
    told = f"{model.model} at {model.revision} in {model.dtype}, {model.batch_size} a batch"
    row: dict[str, Any] = {"model": told, "loads": len(loads), "needs": needs["x"]}
    return Output(row=row)


def takes_a_while(model: Checkpoint, media: Media, needs: Needs, default: Compute) -> Output:
    """The signal's own answer after 50 ms, as of a model at work."""
    time.sleep(0.05)
    return default(media, needs)
