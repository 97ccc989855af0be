"""What a live avatar's engine costs: frames a second on one core, switching checkpoints, memory, A/V skew.

    python -m benchmarks.serving [--avatar PORTRAIT] [--chunks 10000] [--hour 3600] [--price 0.10] [--json]
    python -m benchmarks.serving --backends    # benchmarks/serving_backends.py

What runs the two networks on one core is timed by itself too (`--backends`: nothing else is).
The network has the size of the recipe and is untrained: it costs what a trained one does. Without --avatar the samples'
portrait is shown, at 256 px. Frames a second count processor time of one thread: motion, drawing and H.264 together, by the
warp alone and with a renderer of the recipe's size over it.
The renderer's step is timed where HEADROOM_RENDERER_RUNTIME has it run, on a CPU or a GPU, for one session and for eight at
once; from it and the cores follow the streams that a machine carries, and with `--price` (of the machine, an hour) what a
stream costs a minute. Offline rendering is timed one sound at a time and eight at once.
benchmarks/serving_workers.py measures what a gateway and its workers make of it. A switch of checkpoints, of motion and of
renderers, is timed in a session that ticks in real time beside it. Skew is that of benchmarks/serving_skew.py. It ends with 1
when a limit is broken: LEAST_FPS and those below it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import benchmarks.one_thread  # noqa: F401 - before anything numeric

# isort: split
import av
import cv2
import numpy as np
import psutil
import torch

from benchmarks import serving_backends
from benchmarks.machine import machine
from benchmarks.serving_skew import skew
from modeling.audio_to_motion import MotionNet
from modeling.idle_motion import Idle
from modeling.mouth_crop import SIDE_PX as MOUTH_PX
from modeling.recipes.audio_to_motion import recipe
from modeling.recipes.renderer import renderer
from modeling.renderer import GIVEN, RendererNet
from modeling.renderer_export import export as export_renderer
from modeling.renderer_runtime import runtime_of, step_of
from serving.avatar import Avatar, of_picture
from serving.checkpoints import Checkpoints
from serving.engine import Chunk, Module, Session
from serving.inbox import TICK_S, TICK_SAMPLES
from serving.live import LiveSession
from serving.publish import Fragments, frames_of
from serving.refined_face import Drawing
from serving.render import Studio
from serving.talking import talking
from tasks.samples.carriers import PORTRAIT

IDLE = Idle(blinks_per_min=26, blink_depth=0.9, sway=(0.2, 0.3, 0.1), pole=(0.9, 0.9, 0.9))
FEW_CHUNKS = 100
LEAST_FPS, MOST_GROWTH_MIB = 30.0, 5.0
"""Of one core at 256 px, and between chunk 100 and the last."""
MOST_SKEW_MS, MOST_FIRST_S = 40.0, 0.5
MOST_SWITCH_MS = 1.0
"""Of the median: the longest of them tells of the machine too."""


def module() -> Module[tuple[MotionNet, Idle]]:
    torch.manual_seed(0)
    return Module("audio_to_motion", "untrained", (MotionNet(recipe("audio_to_motion")).eval(), IDLE))


def held() -> Checkpoints:
    """One checkpoint; another one of the same network can be loaded."""
    return Checkpoints(talking(module()), lambda name: talking(replace(module(), checkpoint=name)))


def voice(num: int) -> np.ndarray:
    """Noise in syllables, int16."""
    loud = np.clip(np.sin(np.arange(num) / 16_000 * 2 * np.pi * 4), 0, 1)
    return (np.random.default_rng(0).normal(0, 4000, num) * loud).clip(-32768, 32767).astype(np.int16)


def drawing() -> Module[Drawing]:
    """A renderer of the recipe's size, untrained, run as HEADROOM_RENDERER_RUNTIME says, by a graph where onnx makes one."""
    torch.manual_seed(0)
    net = RendererNet(renderer()).eval()
    try:
        graph: bytes | None = export_renderer(net, {})
    except ValueError:  # onnx is not installed
        graph = None
    step = step_of(runtime_of(os.environ.get("HEADROOM_RENDERER_RUNTIME", "")), net, graph)
    return Module("renderer", "untrained", Drawing(net, step))


def long_run(shown: Avatar, chunks: int, drawn_by: Module[Drawing] | None = None) -> dict[str, Any]:
    """One session of so many chunks of a frame each: frames a second, and memory on the way."""
    session, process = Session(shown), psutil.Process()
    running, stream = talking(module(), drawn_by).open(session), Fragments(shown.plate.picture.shape[:2])
    sound, written, resident = voice(640 * 250), 0, {}
    began = time.thread_time()
    for number in range(chunks):
        at = number % 250 * 640
        for chunk in running.step(Chunk(number, sound[at : at + 640])):
            for told in frames_of(chunk.first_frame, chunk.frames, chunk.sound):
                written += len(stream.write(*told))
        if number + 1 in (FEW_CHUNKS, chunks // 2, chunks):
            resident[number + 1] = process.memory_info().rss / 2**20
    took = time.thread_time() - began
    last = resident[chunks] - resident[min(resident)]
    return {
        "chunks": chunks, "fps": chunks / took, "ms_a_frame": 1000 * took / chunks, "mbit_s": written * 8 / (chunks / 25) / 1e6,
        "resident_mib": resident, "growth_mib": last, "wall_s_by_stage": {k: round(v, 1) for k, v in session.told.items()},
    }  # fmt: skip


def step_ms(drawn_by: Drawing, at_once: int, times: int = 100) -> float:
    """Milliseconds on the clock that the renderer's step takes, its state handed on, for so many sessions."""
    draw, start = np.random.default_rng(0), drawn_by.net.start(at_once).numpy()
    given = draw.random((at_once, GIVEN, MOUTH_PX, MOUTH_PX), np.float32)
    identity = draw.random((at_once, drawn_by.net.recipe.identity_width, *start.shape[2:]), np.float32)
    state, took = start, []
    for number in range(times + 10):
        began = time.perf_counter()
        _, state = drawn_by.step(given, identity, state)
        if number >= 10:
            took.append(1000 * (time.perf_counter() - began))
    return float(np.median(took))


def carried(warp_fps: float, step_fps: float, cores: int, *, on_gpu: bool) -> float:
    """Streams of 25 frames a second that a machine carries: each core warps and codes, and the step runs on the cores too or on
    a GPU of its own, whose frames a second for eight sessions at once bound them then."""
    if on_gpu:
        return min(cores * warp_fps, step_fps) / 25
    return cores / (1 / warp_fps + 1 / step_fps) / 25


def offline(shown: Avatar, drawn_by: Module[Drawing], num: int = 8, seconds: float = 4.0) -> dict[str, float]:
    """Frames a second on the clock of so many sounds, one at a time and all at once."""
    import soundfile

    with tempfile.TemporaryDirectory(prefix="offline") as name:
        folder = Path(name)
        sounds = [folder / f"{n}.wav" for n in range(num)]
        for number, file in enumerate(sounds):
            soundfile.write(file, np.roll(voice(round(seconds * 16_000)), 400 * number), 16_000)
        said, told = Studio(talking(module(), drawn_by), shown), {}
        for way, at_once in (("alone", 1), ("at_once", num)):
            began = time.perf_counter()
            made = [d for _, d in said.said([(f, folder / way / f"{f.stem}.mp4") for f in sounds], at_once)]
            told[way] = sum(d["frames"] for d in made if isinstance(d, dict)) / (time.perf_counter() - began)
    return {"sounds": num, **told}


def switches(shown: Avatar, times: int = 50, *, renderers: bool = False) -> dict[str, Any]:
    """A live session that is switched between two checkpoints of motion, or of a renderer over the same motion, while it
    ticks in real time: milliseconds that it stood still for each, milliseconds that making ready took beside it, and frames
    that its viewer did not get."""
    one = module()
    live = LiveSession(talking(one), shown, shown.plate.picture.shape[:2])
    if renderers:
        others = [talking(one, replace(drawing(), checkpoint=name)) for name in ("b", "a")]
    else:
        others = [talking(replace(module(), checkpoint=name)) for name in ("b", "a")]
    _, made = live.watch()
    sound, stop = voice(TICK_SAMPLES), threading.Event()

    def tick() -> None:
        nonlocal made
        due = time.perf_counter()
        while not stop.is_set():
            made += live.tick(sound)[0]
            due += TICK_S
            time.sleep(max(0.0, due - time.perf_counter()))

    ticking = threading.Thread(target=tick)
    ticking.start()
    still, whole = [], []
    try:
        for number in range(times):
            time.sleep(TICK_S / 2)
            began = time.perf_counter()
            still.append(1000 * live.switch(others[number % 2])[0])
            whole.append(1000 * (time.perf_counter() - began))
    finally:
        stop.set()
        ticking.join(20)
    with av.open(io.BytesIO(made)) as container:
        times_seen = [int(f.pts) for f in container.decode(video=0)]
    lost = (times_seen[-1] - times_seen[0]) // 640 + 1 - len(times_seen)
    return {"switches": times, "still_ms": {"median": float(np.median(still)), "worst": max(still)},
            "ready_ms": {"median": float(np.median(whole)), "worst": max(whole)},
            "frames": len(times_seen), "lost_frames": lost}  # fmt: skip


def first_fragment_s(shown: Avatar) -> float:
    """From the first tick's sound to the first fragment with it, of a session that is new: motion, drawing and coding."""
    live = LiveSession(talking(module()), shown, shown.plate.picture.shape[:2])
    live.watch()
    sound, began = voice(TICK_SAMPLES), time.perf_counter()
    while not live.tick(sound)[0]:
        pass
    return time.perf_counter() - began


def faults(found: dict[str, Any]) -> list[str]:
    """What is not as it must be."""
    made = []
    for name in ("run", "renderer"):
        told = found[name]
        if told["fps"] < LEAST_FPS:
            made.append(f"{name}: {told['fps']:.1f} frames a second of one core, at least {LEAST_FPS:g} are needed")
        if told["growth_mib"] > MOST_GROWTH_MIB:
            made.append(
                f"{name}: {told['growth_mib']:.1f} MiB more after {told['chunks']} chunks, at most {MOST_GROWTH_MIB:g}"
            )
    for name in ("switch", "renderer_switch"):
        told = found[name]
        if told["still_ms"]["median"] > MOST_SWITCH_MS or told["lost_frames"]:
            made.append(
                f"{name}: stands still for {told['still_ms']['median']:.3f} ms, at most {MOST_SWITCH_MS:g}; "
                f"{told['lost_frames']} frames lost"
            )
    for when, ms in zip(("early", "late"), found["skew"]["click_after_flash_ms"], strict=True):
        if abs(ms) > MOST_SKEW_MS:
            made.append(f"skew: {ms:+.1f} ms {when} in {found['skew']['seconds']} s, at most {MOST_SKEW_MS:g}")
    if found["first_fragment_s"] > MOST_FIRST_S:
        made.append(f"first fragment: {found['first_fragment_s']:.2f} s, at most {MOST_FIRST_S:g}")
    return made


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving")
    parser.add_argument("--avatar", type=Path)
    parser.add_argument("--chunks", type=int, default=10_000)
    parser.add_argument("--hour", type=int, default=3600)
    parser.add_argument("--price", type=float, help="of a machine like this one, an hour, in any currency")
    parser.add_argument(
        "--backends", action="store_true", help="only what runs the networks on one core, each beside torch"
    )
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if given.backends:
        told = serving_backends.backends()
        print(json.dumps(told) if given.json else serving_backends.table(told))
        return 0
    shown = of_picture(given.avatar or PORTRAIT.path())
    runtime, drawn_by = runtime_of(os.environ.get("HEADROOM_RENDERER_RUNTIME", "")), drawing()
    timed = {n: step_ms(drawn_by.model, n) for n in (1, 8)}
    found: dict[str, Any] = {"machine": machine(), "switch": switches(shown),
             "renderer_switch": switches(shown, renderers=True), "backends": serving_backends.backends(),
             "run": long_run(shown, given.chunks), "renderer": long_run(shown, given.chunks, drawn_by), "skew": skew(shown, given.hour),
             "first_fragment_s": first_fragment_s(shown),
             "step": {"runtime": asdict(runtime), "ms": timed}, "offline": offline(shown, drawn_by)}  # fmt: skip
    on_gpu, cores = runtime.device != "cpu", os.cpu_count() or 1
    streams = carried(found["run"]["fps"], 8000 / timed[8], cores, on_gpu=on_gpu)
    found["streams"] = {"cores": cores, "num": streams, "cost_a_minute": given.price and given.price / 60 / streams}
    wrong = faults(found)
    if given.json:
        print(json.dumps({**found, "faults": wrong}))
        return len(wrong) > 0
    run = found["run"]
    memory = ", ".join(f"{mib:.0f} MiB after {chunks:,}" for chunks, mib in run["resident_mib"].items())
    print(f"| {found['machine']} | |\n|---|---|")
    print(
        f"| frames a second, 256 px, one core | {run['fps']:.0f} ({run['ms_a_frame']:.1f} ms a frame), {run['mbit_s']:.2f} Mbit/s |"
    )
    drawn = found["renderer"]
    print(
        f"| ... with a renderer over it | {drawn['fps']:.0f} ({drawn['ms_a_frame']:.1f} ms a frame), "
        f"memory +{drawn['growth_mib']:.0f} MiB |"
    )
    print(
        f"| the renderer's step, {runtime.name} on {runtime.device} | {timed[1]:.2f} ms for one session, {timed[8]:.2f} ms for "
        "eight at once |"
    )
    cost = (
        f", {found['streams']['cost_a_minute']:.6f} a stream-minute at {given.price:g} an hour" if given.price else ""
    )
    print(f"| streams that {cores} cores{' and the GPU' if on_gpu else ''} carry | {streams:.1f}{cost} |")
    many = found["offline"]
    print(
        f"| offline, {many['sounds']} sounds, frames a second | {many['alone']:.0f} one at a time, {many['at_once']:.0f} at once |"
    )
    for what, switch in (("checkpoint", found["switch"]), ("renderer", found["renderer_switch"])):
        print(
            f"| a live session stands still to change {what} | {switch['still_ms']['median']:.3f} ms, at worst "
            f"{switch['still_ms']['worst']:.3f} (made ready beside it in {switch['ready_ms']['median']:.0f}); "
            f"{switch['lost_frames']} of {switch['frames']} frames lost |"
        )
    print(f"| resident memory over chunks | {memory} |")
    early, late = found["skew"]["click_after_flash_ms"]
    print(f"| sound after picture, early and after {given.hour} s | {early:+.1f} ms, {late:+.1f} ms |")
    print(f"| a new session's first tick of sound to its fragment | {1000 * found['first_fragment_s']:.0f} ms |")
    print(serving_backends.table(found["backends"]))
    for fault in wrong:
        print(f"not as it must be: {fault}", file=sys.stderr)
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
