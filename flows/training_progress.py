"""What the flows that train show of it: losses for TensorBoard, a progress bar in the Prefect UI, steps for who watches."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from prefect import Task
from prefect.artifacts import create_image_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE

from modeling.training import Progress
from store.scrub import SIDE_BY_SIDE

if TYPE_CHECKING:
    from flows.drawn import Drawn

ARTIFACT_INTERVAL_S = 2.0
TIME_ALONE = (
    "**held_out: time.** Too few people to hold some out: it is judged on ends of the clips that it learnt from, "
    "which says nothing of people it never saw."
)
Result = TypeVar("Result")
OnStep = Callable[[Progress], None]

_watcher: ContextVar[OnStep | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(on_step: OnStep | None) -> Iterator[None]:
    """Calls `on_step` after each step of the trainings inside."""
    token = _watcher.set(on_step)
    try:
        yield
    finally:
        _watcher.reset(token)


def task_of(name: str, told: str, run: Callable[[], Result]) -> Result:
    """A Prefect task without parameters: it would walk through them and hash them."""
    made: Result = Task(run, name=name, task_run_name=lambda: told, cache_policy=NO_CACHE, persist_result=False)()
    return made


class Shown:
    """Losses as TensorBoard events in the run's folder, and a progress bar in the Prefect UI. Called after each step."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._watcher = folder, _watcher.get()
        self._bar: Any = None
        self._written_at = 0.0

    def __enter__(self) -> Self:
        from tensorboardX import SummaryWriter

        self._board = SummaryWriter(str(self._folder / "events"))
        return self

    def __exit__(self, *failure: object) -> None:
        self._board.close()

    def __call__(self, done: Progress) -> None:
        for name, value in done.losses.items():
            self._board.add_scalar(f"loss/{name}", value, done.step)
        if self._watcher:
            self._watcher(done)
        if done.step == done.num_steps or time.monotonic() - self._written_at > ARTIFACT_INTERVAL_S:
            self._written_at = time.monotonic()
            percent = round(100 * done.step / done.num_steps, 1)
            stage = f", stage {done.stage} of {done.num_stages}" if done.num_stages > 1 else ""
            told = f"Training: step {done.step:,} of {done.num_steps:,}{stage}, loss {done.losses['loss']:.3f}"
            if self._bar is None:
                self._bar = create_progress_artifact(percent, key="progress-train", description=told)
            else:
                update_progress_artifact(self._bar, percent, description=told)

    def drawn(self, made: Drawn | None, step: int) -> None:
        """The sheet of what was drawn, in TensorBoard and in the Prefect UI, whose description names whom it shows."""
        import cv2
        import numpy as np

        if made is None or made.sheet is None:
            return
        picture = np.asarray(cv2.imdecode(np.frombuffer(made.sheet, np.uint8), cv2.IMREAD_COLOR))
        self._board.add_image("held_out/side_by_side", picture[..., ::-1], step, dataformats="HWC")
        create_image_artifact(
            image_url=f"data:image/jpeg;base64,{base64.b64encode(made.sheet).decode()}",
            key=SIDE_BY_SIDE,
            description=f"Held-out clips beside their source, also as videos: {', '.join(made.told['videos'])}",
        )
