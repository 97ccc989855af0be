"""What the flows that train show of it: losses and pictures for TensorBoard, a progress bar and the last picture in the Prefect
UI, steps for who watches."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import numpy as np
from prefect import Task
from prefect.artifacts import create_image_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE

from modeling.motion_picture import png
from modeling.training import Progress
from store.scrub import SIDE_BY_SIDE

if TYPE_CHECKING:
    from flows.drawn import Drawn

ARTIFACT_INTERVAL_S = 2.0
PICTURE_INTERVAL_S = 60.0
NUM_PICTURED = 3
"""Held-out clips that are drawn; the erasure of one of them drops the pictures."""
TIME_ALONE = (
    "**held_out: time.** Too few people to hold some out: it is judged on ends of the clips that it learnt from, "
    "which says nothing of people it never saw."
)
Result = TypeVar("Result")
Net = TypeVar("Net")
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

    def figures(self, part: str, values: Mapping[str, float]) -> None:
        """Measures of what was held out."""
        for name, value in values.items():
            self._board.add_scalar(f"{part}/{name}", value, 0)

    def drawn(self, made: Drawn | None, step: int) -> None:
        """The sheet of what was drawn, in TensorBoard and in the Prefect UI, whose description names whom it shows."""
        import cv2

        if made is None or made.sheet is None:
            return
        picture = np.asarray(cv2.imdecode(np.frombuffer(made.sheet, np.uint8), cv2.IMREAD_COLOR))
        self._board.add_image("held_out/side_by_side", picture[..., ::-1], step, dataformats="HWC")
        create_image_artifact(
            image_url=f"data:image/jpeg;base64,{base64.b64encode(made.sheet).decode()}",
            key=SIDE_BY_SIDE,
            description=f"Held-out clips beside their source, also as videos: {', '.join(made.told['videos'])}",
        )


@dataclass(frozen=True)
class Pictures(Generic[Net]):
    """What a training draws: `saved` gives the network as it was saved last, `draw` what it makes of held-out clips, RGB uint8
    (H, W, 3). `tag` is TensorBoard's, `key` Prefect's, `told` says what is seen."""

    key: str
    tag: str
    told: str
    clip_ids: Sequence[str]
    saved: Callable[[], Net | None]
    draw: Callable[[Net], np.ndarray]


class Pictured(Shown, Generic[Net]):
    """Also what the network makes of held-out clips, as it comes to look: at most once a minute for TensorBoard."""

    def __init__(self, folder: Path, save_every: int, pictures: Pictures[Net]) -> None:
        super().__init__(folder)
        self._save_every, self._pictures = save_every, pictures
        self._drawn_at = time.monotonic()

    def __call__(self, done: Progress) -> None:
        super().__call__(done)
        fresh = (
            done.step > self._save_every and (done.step - 1) % self._save_every == 0
        )  # the step after one that was saved
        if fresh and time.monotonic() - self._drawn_at > PICTURE_INTERVAL_S and (net := self._pictures.saved()):
            self._drawn_at = time.monotonic()
            self._picture(net, done.step - 1)

    def last(self, net: Net, step: int) -> None:
        """Of the whole training: also for the Prefect UI, and as samples.png."""
        data = png(self._picture(net, step))
        (self._folder / "samples.png").write_bytes(data)
        create_image_artifact(
            image_url=f"data:image/png;base64,{base64.b64encode(data).decode()}",
            key=self._pictures.key,
            description=f"{self._pictures.told}: clips {', '.join(self._pictures.clip_ids)}",
        )

    def _picture(self, net: Net, step: int) -> np.ndarray:
        picture = self._pictures.draw(net)
        self._board.add_image(self._pictures.tag, picture, step, dataformats="HWC")
        return picture
