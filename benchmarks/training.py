"""What a training costs: steps and seconds of clips per CPU-second, its data's share, memory, and that of two processes.

    python -m benchmarks.training [--steps 60] [--set batch_size=16 ...] [--recipe audio_to_motion | renderer | ...] [--json]

Audio-to-motion trains on noise in syllables, a renderer on pictures of noise: they cost what voices and faces do. All figures are of processor time, so that a busy machine changes
none of them; the first steps are not counted. A limit is a ratio: of the time that the data may take, of what memory may
grow by over the run, and of what a step of two processes may cost beside that of one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import benchmarks.one_thread  # noqa: F401 - before anything numeric

# isort: split
import numpy as np
import psutil
import torch

from benchmarks.machine import machine
from modeling import renderer_training, training
from modeling.motion import NUM_PARAMETERS, Motion
from modeling.motion_set import MotionClip
from modeling.mouth_crop import SIDE_PX
from modeling.ranks import Machine
from modeling.recipes.audio_to_motion import AudioToMotion, recipe
from modeling.recipes.renderer import Renderer, renderer
from modeling.renderer_set import AVATAR, PORTRAIT, FaceClip
from modeling.training import Progress

MOST_DATA_RATIO, MOST_GROWTH_RATIO, MOST_TWO_RATIO = 0.5, 1.1, 2.0
CLIPS, CLIP_S = 24, 8.0
FACES, FACE_FRAMES = 6, 75
WARM_STEPS = 5
OnStep = Callable[[Progress], None]


def clips() -> list[MotionClip]:
    """Noise in syllables, and a mouth that opens with them."""
    num, made = round(CLIP_S * 25), []
    for number in range(CLIPS):
        draw = np.random.default_rng(number)
        opening = np.clip(np.sin(2 * np.pi * (3 * np.arange(num) / 25 + draw.random())), 0, 1)
        sound = 0.2 * np.repeat(opening, 640) * draw.normal(0, 1, num * 640)
        values = np.outer(opening, np.ones(NUM_PARAMETERS)).astype(np.float32)
        motion = Motion(values, np.ones((num, NUM_PARAMETERS), bool))
        speech = np.ones(num, np.float32)
        made.append(MotionClip(f"c{number}", f"v{number}", f"p{number}", 0, motion, sound.astype(np.float32), speech))
    return made


def faces() -> list[FaceClip]:
    """Pictures of noise, within lips that open and shut."""
    made = []
    for number in range(FACES):
        draw = np.random.default_rng(number)

        def pictures(*shape: int, draw: np.random.Generator = draw) -> np.ndarray:
            return draw.integers(0, 256, (*shape, SIDE_PX, SIDE_PX, 3), np.uint8)

        lips = np.zeros((FACE_FRAMES, 2, SIDE_PX, SIDE_PX), np.uint8)
        for frame, half in enumerate(draw.integers(1, 12, FACE_FRAMES)):
            lips[frame, :, 48 - half : 48 + half, 28:68] = 255
        made.append(
            FaceClip(
                clip_id=f"c{number}", video_id=f"v{number}", who=f"p{number}", weight=None, frames=np.arange(FACE_FRAMES),
                true=pictures(FACE_FRAMES), lips=lips, face=np.full((FACE_FRAMES, SIDE_PX, SIDE_PX), 255, np.uint8),
                warps=pictures(2, FACE_FRAMES), references=pictures(2, 2), plates=[(AVATAR, 0), (PORTRAIT, 1)],
                speech=np.ones(FACE_FRAMES, np.float32), gap=lips[:, 0].mean(axis=(1, 2)).astype(np.float32),
                pictures=np.zeros((2, 256, 256, 3), np.uint8), affines=np.tile(np.eye(2, 3), (2, 1, 1)),
                points=np.full((2, 5, 2), 128.0),
            )
        )  # fmt: skip
    return made


def parts_of(made: AudioToMotion | Renderer) -> tuple[Callable[[int], Any], Callable[[Machine, Path, OnStep], Any]]:
    """(what makes the data of a step, what trains on a machine, into a folder)."""
    if isinstance(made, Renderer):
        shown = faces()
        return renderer_training.Batches(made, shown), lambda on, folder, mark: renderer_training.train_on(
            on, made, shown, folder, mark
        )
    some = clips()
    return training.Batches(made, some), lambda on, folder, mark: training.train_on(
        on, [training.Stage(made, some)], folder, mark
    )


def one_process(made: AudioToMotion | Renderer) -> dict[str, Any]:
    """Processor time of a step and of its data, and memory early and at the end."""
    process, (batches, train) = psutil.Process(), parts_of(made)
    began = time.process_time()
    for step in range(made.num_steps):
        batches(step)
    data_s = (time.process_time() - began) / made.num_steps
    marks: dict[int, tuple[float, float]] = {}

    def mark(done: Progress) -> None:
        if done.step in (WARM_STEPS, made.num_steps):
            marks[done.step] = (time.process_time(), process.memory_info().rss / 2**20)

    with tempfile.TemporaryDirectory() as folder:
        train(Machine("cpu"), Path(folder), mark)
    (early_s, early_mib), (late_s, late_mib) = marks[WARM_STEPS], marks[made.num_steps]
    step_s = (late_s - early_s) / (made.num_steps - WARM_STEPS)
    return {
        "step_cpu_s": step_s,
        "steps_per_cpu_s": 1 / step_s,
        "clip_s_per_cpu_s": made.batch_size * made.crop_frames / 25 / step_s,
        "data_ratio": data_s / step_s,
        "resident_mib": late_mib,
        "growth_ratio": late_mib / early_mib,
    }


def processes_step_s(made: AudioToMotion | Renderer, processes: int) -> float:
    """Processor time of a step over all processes, without their first and last steps."""
    marks: dict[int, float] = {}

    def mark(done: Progress) -> None:
        if done.step in (WARM_STEPS, made.num_steps - WARM_STEPS):
            told = [p.cpu_times() for p in psutil.Process().children(recursive=True)]
            marks[done.step] = sum(t.user + t.system for t in told)

    with tempfile.TemporaryDirectory() as folder:
        parts_of(made)[1](Machine("cpu", processes), Path(folder), mark)
    return (marks[made.num_steps - WARM_STEPS] - marks[WARM_STEPS]) / (made.num_steps - 2 * WARM_STEPS)


def measured(made: AudioToMotion | Renderer) -> dict[str, Any]:
    one = one_process(made)
    two = processes_step_s(made, 2)
    told = {"machine": machine(), "recipe": made.name, "batch_size": made.batch_size, "crop_frames": made.crop_frames}
    return {**told, "one": one, "two_step_cpu_s": two, "two_ratio": two / one["step_cpu_s"]}


def limits(found: dict[str, Any]) -> list[tuple[str, float, float]]:
    """(what, ratio, the most it may be)."""
    one = found["one"]
    return [
        ("processor time of a step's data, of the whole step's", one["data_ratio"], MOST_DATA_RATIO),
        ("resident memory at the end, of that after the first steps", one["growth_ratio"], MOST_GROWTH_RATIO),
        ("processor time of a step by two processes, of that by one", found["two_ratio"], MOST_TWO_RATIO),
    ]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training")
    parser.add_argument("--recipe", default="audio_to_motion")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--set", action="append", default=[], metavar="VALUE=...")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    changed = dict(pair.split("=", 1) for pair in given.set)
    changed |= {"num_steps": given.steps, "save_every": given.steps * 2}
    named = renderer if given.recipe.startswith("renderer") else recipe
    found = measured(named(given.recipe, **changed))
    if given.json:
        print(json.dumps(found))
        return
    one = found["one"]
    print(
        f"| {found['recipe']}, batches of {found['batch_size']} x {found['crop_frames'] / 25:.3g} s; {found['machine']} | |"
    )
    print("|---|---|")
    print(f"| steps per CPU-second | {one['steps_per_cpu_s']:.3g} |")
    print(f"| seconds of clips per CPU-second | {one['clip_s_per_cpu_s']:.3g} |")
    print(f"| resident memory | {one['resident_mib']:.0f} MiB |")
    for what, ratio, most in limits(found):
        print(f"| {what} | {ratio:.2f} (at most {most:g}{'' if ratio <= most else ': missed'}) |")


if __name__ == "__main__":
    main(sys.argv[1:])
