"""A signal under development, tried on clips of a workspace: computed in memory, nothing is stored.

What it needs is read from the store where it is there and current, and computed beside it where not.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from infra import weights
from store.ledger import Manifest
from store.workspace import Workspace
from tasks.compute import Held, WindowRun, attempt, blocked_by
from tasks.digest import between
from tasks.held import clip_parts, held_row, held_timelines, needs_of, stitched, timeline_of, windows_of
from tasks.media.errors import MediaError
from tasks.media.reader import Reader
from tasks.new_signal import FOLDERS, ROOT
from tasks.signal import LoadedSignal, NotApplicable, Output, Signal, fingerprint_of
from tasks.signals import discover

SCORECARD_FILES = 4
"""Of each folder of footage: a scorecard under development is looked at, the whole one is run by its own command."""


@dataclass(frozen=True)
class Tried:
    """The signal on one clip. `clip` is its row with that of its video's media."""

    clip: dict[str, Any]
    held: Held
    needs: dict[str, Held]
    cpu_s: float

    @property
    def seconds(self) -> float:
        return (int(self.clip["end_frame"]) - int(self.clip["start_frame"])) / 25


@dataclass
class Trial:
    """What came of it. `computed` are the needs that were not in the store, with the clips they were computed for."""

    signal: LoadedSignal
    file: Path
    asked: int
    tried: list[Tried] = field(default_factory=list)
    computed: dict[str, int] = field(default_factory=dict)
    decode_cpu_s: float = 0.0
    wall_s: float = 0.0

    @property
    def cost(self) -> float:
        """CPU-seconds per second of clip, without decoding; the first clip, which loads what there is to load, apart."""
        warm = self.tried[1:] or self.tried
        return sum(t.cpu_s for t in warm) / max(sum(t.seconds for t in warm), 1e-9)

    @property
    def decode_cost(self) -> float:
        return self.decode_cpu_s / max(sum(t.seconds for t in self.tried), 1e-9)


def load_signal(file: Path) -> LoadedSignal:
    """The signal of a file that need not lie among the others. Raises ValueError that says what is wrong with it."""
    if file.suffix != ".py" or not file.is_file():
        raise ValueError(f"{file}: no such Python file; headroom signal new NAME writes one")
    spec = importlib.util.spec_from_file_location(f"headroom_tried_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        own = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)]
        line = getattr(error, "lineno", None) or (own[-1] if own else None)
        raise ValueError(f"{file}, line {line}: {type(error).__name__}: {error}") from error
    declared, compute = getattr(module, "SIGNAL", None), getattr(module, "compute", None)
    if not isinstance(declared, Signal) or not callable(compute):
        raise ValueError(f"{file}: holds no SIGNAL = Signal(...) and no compute(media, needs); declare both")
    others = {n: s for n, s in discover().items() if n != file.stem}
    if unknown := [n for n in declared.needs if n not in others]:
        raise ValueError(f"{file}: needs {unknown[0]!r}, which is none of {', '.join(sorted(others))}")
    if declared.grain == "video" and (of_clips := [n for n in declared.needs if others[n].spec.grain == "clip"]):
        raise ValueError(f"{file}: a video signal can't need {of_clips[0]!r}, a clip signal")
    sha256 = {w: weights.entry(w).sha256 for w in declared.weights}
    return LoadedSignal(file.stem, declared, compute, fingerprint_of(file.stem, declared, sha256))


def try_signal(
    workspace: Workspace,
    file: Path,
    *,
    num_clips: int = 50,
    budget_s: float = 40.0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Trial:
    """Computes the signal on at most `num_clips` clips of as many videos as possible: on those that fit into `budget_s`,
    as far as the clips before tell, and on one at least. `on_progress` is told how many are done, and of how many.

    Raises ValueError for a file that holds no signal, and for a workspace without clips.
    """
    began = time.monotonic()
    file = file.absolute()
    signal = load_signal(file)
    manifest = workspace.ledger.manifest()
    clips = _clips(workspace, num_clips)
    if not clips:
        raise ValueError(f"{workspace.settings.workspace}: holds no clips; headroom curate PATH makes some")
    trial = Trial(signal, file, len(clips))
    with Reader() as reader:
        ends_s: list[float] = []
        for done, clip in enumerate(clips):
            if done and _next_ends_s(ends_s) > budget_s:
                break
            if on_progress:
                on_progress(done, len(clips))
            bench = _Bench(workspace, manifest, clip, reader, trial)
            needs = {n: bench.need(n) for n in signal.spec.needs}
            held, cpu_s = bench.compute(signal, needs)
            trial.tried.append(Tried(clip, held, needs, cpu_s))
            ends_s.append(time.monotonic() - began)
    if on_progress:
        on_progress(len(trial.tried), len(clips))
    trial.wall_s = time.monotonic() - began
    return trial


def _next_ends_s(ends_s: Sequence[float]) -> float:
    """When the next clip would be done, by when each before it was; the first one, which loads what there is to load,
    says nothing of others."""
    usual_s = (ends_s[-1] - ends_s[0]) / (len(ends_s) - 1) if len(ends_s) > 1 else 0.0
    return ends_s[-1] + usual_s


@dataclass
class _Bench:
    """One clip on which signals are computed in memory."""

    workspace: Workspace
    manifest: Manifest
    clip: Mapping[str, Any]
    reader: Reader
    trial: Trial
    _known: dict[str, Held] = field(default_factory=dict)

    def need(self, name: str) -> Held:
        """As it is stored if it is current; else computed, with what it needs itself."""
        if name not in self._known:
            signal = discover()[name]
            held = self._stored(signal)
            if held is None or held.fingerprint != signal.fingerprint or held.status.startswith("failed"):
                held, _ = self.compute(signal, {n: self.need(n) for n in signal.spec.needs})
                self.trial.computed[name] = self.trial.computed.get(name, 0) + 1
            self._known[name] = held
        return self._known[name]

    def _stored(self, signal: LoadedSignal) -> Held | None:
        video_id, clip_id, name = self.clip["video_id"], self.clip["clip_id"], signal.name
        if signal.spec.grain == "video":
            windows = list(windows_of(self.clip))
            lines = held_timelines(self.workspace, self.manifest, video_id, windows, [name])
            return stitched(lines, name, self.clip) if all(name in lines.get(w, {}) for w in windows) else None
        rows = self.workspace.record.read(self.manifest, "signals", where=f"clip_id = '{clip_id}'").to_pylist()
        held = held_row(signal, rows[0]) if rows else None
        parts = clip_parts(self.workspace, self.manifest, signal, [clip_id]) if held else {}
        return replace(held, **parts.get(clip_id, {})) if held else None

    def compute(self, signal: LoadedSignal, needs: Mapping[str, Held]) -> tuple[Held, float]:
        """The outcome and the CPU-seconds that `compute` took, of all threads, without decoding."""
        if blocked := blocked_by(signal, needs):
            return attempt(signal, _raising(NotApplicable(blocked)), 0, None, 0.0), 0.0
        try:
            if signal.spec.grain == "video":
                return self._by_blocks(signal, needs)
            media = self._decoded(signal)
        except MediaError as error:
            return attempt(signal, _raising(error), 0, None, 0.0), 0.0
        given = needs_of(signal.spec.needs, needs, media.start_frame, media.end_frame)
        began = time.process_time()
        made = attempt(signal, lambda: signal.compute(media, given), 0, None, 0.0)
        return made, time.process_time() - began

    def _decoded(self, signal: LoadedSignal) -> Any:
        before = self._child_cpu_s()
        look, clip = signal.spec.look, self.clip
        media = self.reader.sampled(self._proxy, self._audio(signal), *self._span, look.frames_fps)
        media.source_width_px, media.video_has_audio = int(clip["source_width_px"]), bool(clip["has_audio"])
        self.trial.decode_cpu_s += self._child_cpu_s() - before
        return media

    def _by_blocks(self, signal: LoadedSignal, needs: Mapping[str, Held]) -> tuple[Held, float]:
        look, before, cpu_s = signal.spec.look, self._child_cpu_s(), 0.0
        run = WindowRun(signal)
        blocks = self.reader.blocks(
            self._proxy,
            self._audio(signal),
            int(self.clip["num_frames"]),
            *self._span,
            context_frames=look.context_frames,
            fps=look.frames_fps,
            source_width_px=int(self.clip["source_width_px"]),
        )
        for media in blocks:
            media.video_has_audio = bool(self.clip["has_audio"])
            began = time.process_time()
            given = {n: between(timeline_of(needs, n), media.start_frame, media.end_frame) for n in needs}
            run.feed(media, given)
            cpu_s += time.process_time() - began
        self.trial.decode_cpu_s += self._child_cpu_s() - before
        return attempt(signal, run.output, 0, None, 0.0, 0), cpu_s

    @property
    def _span(self) -> tuple[int, int]:
        return int(self.clip["start_frame"]), int(self.clip["end_frame"])

    @property
    def _proxy(self) -> Path:
        return self.workspace.objects.local(self.clip["proxy_uri"])

    def _audio(self, signal: LoadedSignal) -> Path | None:
        uri = self.clip["audio_uri"]
        return self.workspace.objects.local(uri) if uri and signal.spec.look.audio else None

    def _child_cpu_s(self) -> float:
        if self.reader.child_pid is None:
            return 0.0
        try:
            times = psutil.Process(self.reader.child_pid).cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return float(times.user + times.system)


def _raising(error: Exception) -> Any:
    def run() -> Output:
        raise error

    return run


def _clips(workspace: Workspace, count: int) -> list[dict[str, Any]]:
    """One clip of each video, then a second of each, up to `count`; ids are hashes, so their order is a fair draw."""
    with workspace.views() as reader:
        rows = reader.sql(
            """SELECT c.clip_id, c.video_id, c.start_frame, c.end_frame, c.start_s, c.end_s, v.source_width_px, v.name,
               v.proxy_uri, v.proxy_sha256, v.audio_uri, v.has_audio, v.num_frames,
               row_number() OVER (PARTITION BY c.video_id ORDER BY c.clip_id) AS turn
               FROM clips c JOIN videos v USING (video_id) WHERE v.proxy_uri IS NOT NULL
               ORDER BY turn, c.video_id LIMIT ?""",
            [count],
        )
    return [dict(row) for row in rows.iter_rows(named=True)]


@dataclass
class Scorecard:
    """A scorecard that runs beside the trial, over a few files of each folder of footage.

    `published` is what the whole one last measured, with the version it measured: told where the run beside tells
    nothing, as the larger ones do not within a minute.
    """

    problem: str
    published: Mapping[str, Any] | None = None
    _child: subprocess.Popen[str] | None = None

    def told(self, wait_s: float) -> dict[str, Any]:
        """Its rows and what they are of; those published where the run beside tells none, and why it does not."""
        of, rows = "a few files of each folder: a look, not a result", self.rows(wait_s)
        if not rows and self.published:
            of, rows = f"version {self.published['version']}, measured {self.published['date']}", self.published["rows"]
        return {"scorecard": rows, "scorecard_of": of if rows else "", "scorecard_problem": self.problem}

    def rows(self, wait_s: float) -> list[dict[str, Any]]:
        """Its rows, if it ends in time; else none, and `problem` says why."""
        if self._child is None:
            return []
        try:
            told, said = self._child.communicate(timeout=max(wait_s, 0.1))
        except subprocess.TimeoutExpired:
            self.stop()
            self.problem = "took longer than there was time"
            return []
        if self._child.returncode != 0:
            self.problem = (said.strip().splitlines() or ["it said nothing"])[-1]
            return []
        found: list[dict[str, Any]] = json.loads(told)
        return found

    def stop(self) -> None:
        """Ends it, if it still runs."""
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.communicate()


def start_scorecard(file: Path, root: Path = ROOT) -> Scorecard:
    """Starts the scorecard of a signal that lies in its place in the checkout; says why there is none where not."""
    name, place = file.stem, root / FOLDERS["signal"].format(file.stem)
    if file.absolute() != place:
        return Scorecard(f"it is measured once the file lies at {place.relative_to(root)}")
    card = root / FOLDERS["scorecard"].format(name)
    if not card.is_file():
        return Scorecard(f"there is no {card.relative_to(root)}")
    environment = {**os.environ, "HEADROOM_SCORECARD_FILES": str(SCORECARD_FILES)}
    command = [sys.executable, "-m", f"benchmarks.scorecards.{name}", "--json"]
    results = card.parent / "results" / f"{name}.json"
    published = json.loads(results.read_text()) if results.is_file() else None
    child = subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    return Scorecard("", published, child)
