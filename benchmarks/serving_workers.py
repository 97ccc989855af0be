"""What `headroom serve` with worker processes bears: sessions in real time, a worker that is killed, viewers who come and go.

    python -m benchmarks.serving_workers [--avatar PORTRAIT] [--sessions 2] [--seconds 60] [--cycles 100] [--json]

A server with as many workers as sessions is started on a workspace of its own, with an untrained network of the recipe's size,
which costs what a trained one does. Each viewer sends speech-like noise as it would be spoken and takes in what comes. Ends
with 1 when a session does not keep real time (a twentieth of the ticks over 120 ms late, or a hundredth of the frames 50 ms or
more after the one before), a killed worker leaves a session without a frame for 5 s or loses one, or 100 viewers who came and
went leave threads, files, processes or over 5 MiB behind.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import psutil
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from benchmarks.machine import machine
from store import deployments, registry
from store.deployments import Server
from store.workspace import Workspace, open_workspace
from tasks.samples.carriers import PORTRAIT

ROOT = Path(__file__).resolve().parents[1]
START_S = 180.0
SAMPLE_HZ, FRAME_SAMPLES = 16_000, 640
LEAST_FPS = 24.5
MOST_P99_GAP_MS = 50.0
"""Between two frames as they arrive, which are 40 apart."""
MOST_LATE_RATIO, MOST_GAP_S, MOST_GROWTH_MIB = 0.05, 5.0, 5.0
MOST_FIRST_MS = 500.0
LATE_S = 0.12
"""A tick that is so late leaves a viewer's picture standing (serving/vitals.py)."""
WARM_CYCLES = 20


@dataclass(frozen=True)
class Served:
    """A running server: its workspace, how it is reached, and its gateway's process."""

    place: Workspace
    server: Server
    gateway: psutil.Process

    def workers(self) -> dict[str, dict[str, int]]:
        """Sessions and capacity of each worker, by name; none while no worker is there."""
        answer = httpx.get(
            f"{self.server.url}/api/checkpoints", headers={"x-headroom-probe": self.server.key}, timeout=30
        )
        return dict(answer.json().get("workers", {}))

    def free(self) -> int:
        return int(httpx.get(f"{self.server.url}/api/avatars", timeout=30).json()["free"])

    def process_of(self, worker: str) -> psutil.Process:
        return next(child for child in self.gateway.children() if worker in child.cmdline())


@contextmanager
def started(place: Workspace, avatar: Path, num_workers: int, sessions: int) -> Iterator[Served]:
    """`headroom serve` on a workspace with a checkpoint; ends with the block, and its workers with it."""
    log = place.settings.workspace / "serve.log"
    command = [sys.executable, "-m", "headroom", "serve", "--workspace", str(place.settings.workspace), "--port", "0"]
    command += ["--workers", str(num_workers), "--sessions", str(sessions), "--avatar", str(avatar)]
    command += ["--client-sessions", "0", "--client-openings", "0"]  # all viewers are here
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
    try:
        until = time.monotonic() + START_S
        # One that was killed is still in the ledger.
        while not (there := [s for s in deployments.servers(place) if s.pid == process.pid]):
            if time.monotonic() > until or process.poll() is not None:
                break
            time.sleep(0.2)
        if not there:
            raise RuntimeError(f"the server did not start: {log.read_text()[-1000:]}")
        made = Served(place, there[0], psutil.Process(process.pid))
        waited(lambda: len(made.workers()) == num_workers)
        yield made
    finally:
        children = psutil.Process(process.pid).children() if process.poll() is None else []
        process.terminate()
        process.wait(30)
        _, alive = psutil.wait_procs(children, timeout=20)
        for child in alive:
            child.kill()
        assert not alive, "workers end with their gateway"


def waited(done: Any) -> None:
    until = time.monotonic() + START_S
    while not done():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.1)


@dataclass
class Viewer:
    """One session, and what came of it."""

    served: Served
    data: bytearray = field(default_factory=bytearray)
    came: list[float] = field(default_factory=list)
    """When each frame did."""
    clock: dict[str, float] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)

    def open(self) -> httpx.Response:
        url = self.served.server.url
        key = httpx.get(f"{url}/api/avatars", timeout=30).json()["avatars"][0]["key"]
        return httpx.post(f"{url}/api/sessions", json={"avatar": key}, timeout=60)

    def line(self, made: dict[str, str]) -> Any:
        url = self.served.server.url.replace("http", "ws", 1)
        line = connect(f"{url}/api/sessions/{made['id']}", max_size=None, open_timeout=30)
        line.send(json.dumps({"token": made["token"]}))
        return line

    def take(self, line: Any) -> None:
        """One message."""
        message = line.recv(timeout=60)
        if isinstance(message, bytes):
            self.data += message
            self.came += [time.monotonic()] * message.count(b"moof")
            return
        told = json.loads(message)
        if told["type"] == "clock":
            self.clock = told
        elif told["type"] == "state":
            self.told = told

    def leave(self, line: Any) -> None:
        line.send("end")
        try:
            while True:
                self.take(line)
        except ConnectionClosed:
            return

    def gap_s(self) -> float:
        """The longest time without a frame."""
        return max(b - a for a, b in itertools.pairwise(self.came))

    def frames(self) -> list[int]:
        """Times of all frames, in samples."""
        with av.open(io.BytesIO(bytes(self.data))) as container:
            return [int(f.pts) for f in container.decode(video=0)]

    def lost(self) -> int:
        """Frames that the clock counts and that did not come, or came twice; one is held back, and one of the tick after the
        last clock may be here."""
        times = self.frames()
        wanted = round((self.clock["at_s"] - 1024 / SAMPLE_HZ) * 25) - 1
        in_order = sum(b - a == FRAME_SAMPLES for a, b in itertools.pairwise(times)) + 1
        return max(wanted - len(times), len(times) - wanted - 1, len(times) - in_order)


def spoken(viewer: Viewer, seconds: float, ready: threading.Barrier) -> None:
    """Speaks for so long, and takes in what comes."""
    made = viewer.open().json()
    sound = voice(round(seconds * SAMPLE_HZ)).astype("<i2").tobytes()
    with viewer.line(made) as line:
        while len(viewer.came) < 3:
            viewer.take(line)
        ready.wait()
        began, sent = time.monotonic(), 0
        while viewer.clock["taken"] < len(sound) // 2 - 1280:
            due = min(len(sound), 2 * round((time.monotonic() - began + 0.1) * SAMPLE_HZ))
            if due > sent:
                line.send(sound[sent:due])
                sent = due
            viewer.take(line)
            if time.monotonic() - began > 3 * seconds + 30:
                return
        viewer.leave(line)


def voice(num: int) -> np.ndarray:
    """Noise in syllables, int16."""
    loud = np.clip(np.sin(np.arange(num) / SAMPLE_HZ * 2 * np.pi * 4), 0, 1)
    return (np.random.default_rng(0).normal(0, 4000, num) * loud).clip(-32768, 32767).astype(np.int16)


def real_time(served: Served, num: int, seconds: float) -> dict[str, Any]:
    """So many sessions at once: frames a second that came, the share of ticks that were late, and frames lost."""
    viewers, ready = [Viewer(served) for _ in range(num)], threading.Barrier(num)
    load, before = os.getloadavg()[0], cpu_s(served)
    threads = [threading.Thread(target=spoken, args=(viewer, seconds, ready)) for viewer in viewers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent, found = cpu_s(served) - before, []
    for viewer in viewers:
        gaps = np.diff(viewer.came[3:])
        found.append({
            "fps": round(len(gaps) / (viewer.came[-1] - viewer.came[3]), 2), "gap_s": round(viewer.gap_s(), 3),
            "p99_gap_ms": round(1000 * float(np.percentile(gaps, 99)), 1),
            "late_ratio": round(2 * float(np.mean(gaps > FRAME_SAMPLES / SAMPLE_HZ + LATE_S)), 4),  # of ticks of two
            "lost_frames": viewer.lost(), "kbit_s": round(8 * len(viewer.data) / len(viewer.came) * 25 / 1000),
            "engine_fps": viewer.told["fps"],
        })  # fmt: skip
    frames = sum(len(viewer.came) for viewer in viewers)
    return {
        "sessions": found,
        "seconds": seconds,
        "cpu_ms_a_frame": round(1000 * spent / frames, 1),
        "load_before": round(load, 1),
        "load_after": round(os.getloadavg()[0], 1),
    }


def cpu_s(served: Served) -> float:
    """Processor time of the gateway and its workers so far."""
    there = [served.gateway, *served.gateway.children(recursive=True)]
    return sum(p.cpu_times().user + p.cpu_times().system for p in there)


def first_fragment(served: Served, tries: int) -> dict[str, Any]:
    """Milliseconds from the first 100 ms of sound until a fragment can be decoded, and until one that shows the last of that
    sound can: 200 of these the session waits for more sound."""
    found = [_first_fragment(served) for _ in range(tries)]
    first, said = (1000 * np.array(part) for part in zip(*found, strict=True))
    return {"tries": tries, "first_ms": {"median": float(np.median(first)), "worst": float(first.max())},
            "said_ms": {"median": float(np.median(said)), "worst": float(said.max())}}  # fmt: skip


def _first_fragment(served: Served) -> tuple[float, float]:
    viewer, first_s, ends_s = Viewer(served), 0.0, None
    waited(served.free)
    made = viewer.open().json()
    with viewer.line(made) as line:
        line.send(voice(1600).astype("<i2").tobytes())
        began = time.perf_counter()
        while True:
            viewer.take(line)
            if ends_s is None and viewer.clock.get("taken") == 1600:
                ends_s = viewer.clock["at_s"]
            if b"moof" not in viewer.data:
                continue
            shown_s = viewer.frames()[-1] / SAMPLE_HZ
            first_s = first_s or time.perf_counter() - began
            if ends_s is not None and shown_s + 0.04 >= ends_s - 0.001:
                said_s = time.perf_counter() - began
                viewer.leave(line)
                return first_s, said_s


def killed(served: Served, how: signal.Signals = signal.SIGKILL, after_s: float = 1.0) -> dict[str, Any]:
    """A worker that is killed while its session speaks, after so much of its sound: seconds without a frame, and frames lost."""
    viewer = Viewer(served)
    made = viewer.open().json()
    name = next(worker for worker, told in served.workers().items() if told["sessions"])
    victim, sound = served.process_of(name), voice(6 * SAMPLE_HZ)
    with viewer.line(made) as line:
        for at in range(0, len(sound), SAMPLE_HZ):
            line.send(sound[at : at + SAMPLE_HZ].astype("<i2").tobytes())
        is_killed = False
        while not viewer.clock or viewer.clock["taken"] < len(sound):
            viewer.take(line)
            if not is_killed and viewer.clock and viewer.clock["taken"] >= after_s * SAMPLE_HZ:
                victim.send_signal(how)
                is_killed = True
        viewer.leave(line)
    began = time.monotonic()
    waited(lambda: victim.pid not in {child.pid for child in served.gateway.children()})
    waited(lambda: name in served.workers())
    return {"how": how.name, "gap_s": round(viewer.gap_s(), 2), "lost_frames": viewer.lost(),
            "replaced_s": round(time.monotonic() - began, 1)}  # fmt: skip


def cycles(served: Served, times: int, warm: int = WARM_CYCLES) -> dict[str, Any]:
    """Viewers who come, get a few frames, and go, half of them without a word: what that leaves in the server's processes,
    after some that warm it up."""
    for number in range(warm):
        _come_and_go(served, number)
    before = held_by(served)
    for number in range(times):
        _come_and_go(served, number)
    after = held_by(served)
    return {"cycles": times, **{name: round(after[name] - before[name], 1) for name in before}}


def _come_and_go(served: Served, number: int) -> None:
    viewer = Viewer(served)
    while (answer := viewer.open()).status_code != httpx.codes.CREATED:
        time.sleep(0.05)
    made = answer.json()
    if number % 2:  # cut off; another one comes back to the session and ends it
        with viewer.line(made) as line:
            while len(viewer.came) < 2:
                viewer.take(line)
    with viewer.line(made) as line:
        while len(viewer.came) < 4:
            viewer.take(line)
        viewer.leave(line)


def held_by(served: Served) -> dict[str, float]:
    """Threads, open files, processes and MiB of the gateway and its workers together, once all sessions are gone."""
    capacity = sum(told["capacity"] for told in served.workers().values())
    waited(lambda: served.free() == capacity)
    time.sleep(2)
    there = [served.gateway, *served.gateway.children(recursive=True)]
    return {
        "threads": sum(p.num_threads() for p in there), "files": sum(p.num_fds() for p in there),
        "processes": len(there), "resident_mib": sum(p.memory_info().rss for p in there) / 2**20,
    }  # fmt: skip


def faults(found: dict[str, Any]) -> list[str]:
    """What is not as it must be."""
    made = [f"session {n}: {s}" for n, s in enumerate(found["real_time"]["sessions"])
            if s["late_ratio"] > MOST_LATE_RATIO or s["lost_frames"] or s["fps"] < LEAST_FPS
            or s["p99_gap_ms"] >= MOST_P99_GAP_MS]  # fmt: skip
    made += [f"killed: {k}" for k in found["killed"] if k["gap_s"] >= MOST_GAP_S or k["lost_frames"]]
    if (first_ms := found["first_fragment"]["first_ms"]["worst"]) > MOST_FIRST_MS:
        made.append(f"first fragment: {first_ms:.0f} ms at worst, at most {MOST_FIRST_MS:g}")
    left = found["cycles"]
    if any(left[name] > 0 for name in ("threads", "files", "processes")) or left["resident_mib"] > MOST_GROWTH_MIB:
        made.append(f"left behind: {left}")
    return made


def published(place: Workspace) -> str:
    """An untrained network of the recipe's size, in a workspace."""
    import torch
    from safetensors.torch import save

    from benchmarks.serving import IDLE
    from modeling.audio_to_motion import MotionNet
    from modeling.recipes.audio_to_motion import recipe

    torch.manual_seed(0)
    net = MotionNet(recipe("audio_to_motion")).eval()
    told = {
        "kind": "audio_to_motion", "recipe": asdict(net.recipe), "idle": json.loads(json.dumps(IDLE.to_dict())),
        "snapshot": {"id": "none", "sha256": "0", "tier": "none"},
    }  # fmt: skip
    return registry.publish(place, save({k: v.contiguous() for k, v in net.state_dict().items()}), told).id


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving_workers")
    parser.add_argument("--avatar", type=Path)
    parser.add_argument("--sessions", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        place = open_workspace(Path(folder) / "ws")
        published(place)
        with started(place, given.avatar or PORTRAIT.path(), given.sessions, given.sessions) as served:
            found = {
                "machine": machine(), "first_fragment": first_fragment(served, 10), "real_time": real_time(served, given.sessions, given.seconds),
                "cycles": cycles(served, given.cycles),
                "killed": [killed(served, how) for how in (signal.SIGKILL, signal.SIGSTOP)],
            }  # fmt: skip
    wrong = faults(found)
    if given.json:
        print(json.dumps({**found, "faults": wrong}))
        return len(wrong) > 0
    load = found["real_time"]
    print(f"| {found['machine']}, load {load['load_before']} before, {load['load_after']} after | |\n|---|---|")
    first = found["first_fragment"]
    for what, name in (("the first decodable fragment", "first_ms"), ("the fragment with the last of it", "said_ms")):
        print(
            f"| first 100 ms of sound to {what} | {first[name]['median']:.0f} ms, at worst {first[name]['worst']:.0f} |"
        )
    for number, told in enumerate(load["sessions"], 1):
        print(
            f"| session {number} of {given.sessions}, {given.seconds:.0f} s | {told['fps']} frames a second, "
            f"{100 * told['late_ratio']:.1f} % of ticks late, p99 gap between frames {told['p99_gap_ms']:.0f} ms, "
            f"the longest {1000 * told['gap_s']:.0f} ms, {told['kbit_s']} kbit/s, "
            f"{told['lost_frames']} frames lost |"
        )
    print(
        f"| processor time of gateway and workers together | {load['cpu_ms_a_frame']} ms a frame, "
        f"{load['cpu_ms_a_frame'] * 25 / 1000:.2f} cores a session |"
    )
    for told in found["killed"]:
        print(f"| {told['how']} of a worker | {told['gap_s']} s without a frame, {told['lost_frames']} lost |")
    left = found["cycles"]
    print(
        f"| {left['cycles']} viewers came and went | {left['threads']:+.0f} threads, {left['files']:+.0f} files, "
        f"{left['processes']:+.0f} processes, {left['resident_mib']:+.1f} MiB |"
    )
    for fault in wrong:
        print(f"not as it must be: {fault}", file=sys.stderr)
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
