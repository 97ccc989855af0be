"""Runs signals over one span of one video, all that are stale together over one decode."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.backend import model_s
from tasks.deadline import within_limit
from tasks.digest import (
    ContractError,
    declared_row,
    declared_table,
    digest,
    digest_of_file,
    digest_of_values,
    joined,
    timeline_schema,
)
from tasks.media.errors import MediaError
from tasks.media.media import Media
from tasks.signal import LoadedSignal, Needs, NotApplicable, Output, Status

MAX_ATTEMPTS = 5
FAILURES_SHOWN = 20
HOST = socket.gethostname()


@dataclass
class Held:
    """One row of one signal, as stored or just computed: its provenance and, where asked for, its values."""

    status: Status
    reason: str
    fingerprint: str
    input_digest: int
    output_digest: int
    attempts: int = 0
    not_before: float = 0.0
    computed_at: float = 0.0
    row: dict[str, Any] = field(default_factory=dict)
    timeline: pa.Table | None = None
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    cpu_s: float = 0.0
    model_s: float = 0.0
    """Of `cpu_s`' time, or beside it, that a backend's model was at work."""


@dataclass(frozen=True)
class Failure:
    """A row that failed, for people: of which signal, on what, and why."""

    signal: str
    what: str
    reason: str


@dataclass
class Tally:
    """Rows computed and failed, per signal."""

    computed: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    """The first FAILURES_SHOWN of them."""

    def add(self, other: Tally) -> None:
        self.failures += other.failures[: FAILURES_SHOWN - len(self.failures)]
        for mine, theirs in ((self.computed, other.computed), (self.failed, other.failed)):
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + count

    def count(self, name: str, held: Held, what: str) -> None:
        """`what` names the clip or the part of a video for people."""
        has_failed = held.status.startswith("failed")
        part = self.failed if has_failed else self.computed
        part[name] = part.get(name, 0) + 1
        if has_failed and len(self.failures) < FAILURES_SHOWN:
            self.failures.append(Failure(name, what, held.reason))


def is_stale(held: Held | None, fingerprint: str, input_digest: int, now: float) -> bool:
    """The one rule of staleness, said in SQL too by tasks/stale.py (a test holds them together)."""
    if held is None or held.fingerprint != fingerprint or held.input_digest != input_digest:
        return True
    return 0.0 < held.not_before <= now


def input_digest(
    signal: LoadedSignal, video: Mapping[str, Any], start_frame: int, end_frame: int, needs: Iterable[int]
) -> int:
    """The span, what the signal looks at of the media, and the output digests of the rows it needs, combined.

    A signal that looks at no media still depends on the span.
    """
    told = digest(video["source_width_px"], start_frame, end_frame)
    if signal.spec.look.frames_fps:
        told ^= digest_of_file(video["proxy_sha256"])
    if signal.spec.look.audio:
        told ^= digest_of_file(video["audio_sha256"])
    for need in needs:
        told ^= need
    return told


def blocked_by(signal: LoadedSignal, held: Mapping[str, Held]) -> str:
    """Why the signal can't apply: the first need that is not ok and not optional; empty when there is none."""
    for need in signal.spec.needs:
        if need not in signal.spec.optional and need in held and held[need].status != "ok":
            return f"{need}: {held[need].reason}"
    return ""


def attempt(
    signal: LoadedSignal,
    run: Callable[[], Output],
    digest_in: int,
    before: Held | None,
    now: float,
    window: int | None = None,
) -> Held:
    """Runs a signal once and turns whatever happens into a row. Nothing a signal raises stops the batch."""
    began, model_since = time.thread_time(), model_s()
    values = Output()
    try:
        status: Status = "ok"
        reason = ""
        values = _checked(signal, within_limit(signal.name, run))
    except NotApplicable as outcome:
        status, reason = "not_applicable", str(outcome)
    except (MemoryError, ConnectionError, TimeoutError) as error:
        status, reason = "failed_transient", f"{type(error).__name__}: {error}"
    except MediaError as error:
        status = "failed_transient" if error.transient else "failed_permanent"
        reason = f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 - the boundary of third-party code: the row tells what happened
        status, reason = "failed_permanent", f"{type(error).__name__}: {error}"
    tries = before.attempts + 1 if before and before.status == "failed_transient" else 1
    if status == "failed_transient" and tries >= MAX_ATTEMPTS:
        status, reason = "failed_permanent", f"{reason} (after {tries} attempts)"
    if status != "ok":
        values = Output()
    told = digest_of_values(values.row, values.timeline, values.vectors) if status == "ok" else digest(status, reason)
    return Held(
        status=status,
        reason=reason[:500],
        fingerprint=signal.fingerprint,
        input_digest=digest_in,
        output_digest=digest(signal.name, window, told),
        attempts=tries,
        not_before=now + 60 * 2**tries if status == "failed_transient" else 0.0,
        computed_at=now,
        row=dict(values.row),
        timeline=values.timeline,
        vectors=dict(values.vectors),
        cpu_s=time.thread_time() - began,
        model_s=model_s() - model_since,
    )


class WindowRun:
    """One video signal over the blocks of one window, block by block beside other signals of the same decode."""

    def __init__(self, signal: LoadedSignal, keep: Callable[[Mapping[str, bytes]], None] | None = None) -> None:
        """`keep` puts objects into storage; a signal that gives some without it fails."""
        self.signal = signal
        self._keep = keep
        self.cpu_s = 0.0
        self._parts: list[pa.Table] = []
        self._reasons: list[str] = []
        self._error: Exception | None = None

    def feed(self, media: Media, needs: Needs) -> pa.Table:
        """The block's timeline; empty when the signal does not apply here, or failed here or in an earlier block."""
        empty = timeline_schema(self.signal.spec.timeline).empty_table()
        if self._error is not None:
            return empty
        began = time.thread_time()
        try:
            made = within_limit(self.signal.name, lambda: self.signal.compute(media, needs))
            timeline = made.timeline
            if timeline is None:
                raise ContractError("a video signal returns a timeline")
            if made.objects:
                if self._keep is None:
                    raise ContractError(f"returned {len(made.objects)} objects where none are kept")
                self._keep(made.objects)
            self._parts.append(declared_table(self.signal.spec.timeline, timeline))
            return self._parts[-1]
        except NotApplicable as outcome:
            self._reasons.append(str(outcome))
        except Exception as error:  # noqa: BLE001 - raised again by output(), which the row of the window tells
            self._error = error
        finally:
            self.cpu_s += time.thread_time() - began
        return empty

    def fail(self, error: Exception) -> None:
        self._error = self._error or error

    def output(self) -> Output:
        """The window's timeline. Raises what a block raised; NotApplicable only if no block was applicable."""
        if self._error is not None:
            raise self._error
        if self._reasons and not self._parts:
            raise NotApplicable(self._reasons[0])
        return Output(timeline=joined(self._parts, self.signal.spec.timeline))


def provenance(held: Held) -> dict[str, Any]:
    return {
        "status": held.status,
        "reason": held.reason or None,
        "fingerprint": held.fingerprint,
        "input_digest": held.input_digest,
        "output_digest": held.output_digest,
        "computed_at": held.computed_at,
        "attempts": held.attempts,
        "not_before": held.not_before,
    }


def log_row(
    name: str, held: Held, video_id: str, clip_id: str | None, window: int | None, media_s: float
) -> dict[str, Any]:
    return {
        "video_id": video_id,
        "clip_id": clip_id,
        "signal": name,
        "grain": "video" if clip_id is None else "clip",
        "window_index": window,
        **provenance(held),
        "cpu_s": held.cpu_s,
        "model_s": held.model_s,
        "media_s": media_s,
        "host": HOST,
    }


def _checked(signal: LoadedSignal, output: Output) -> Output:
    spec = signal.spec
    if spec.grain == "video":
        return output
    timeline = output.timeline
    if (timeline is None) != (not spec.timeline):
        raise ContractError(
            f"timeline {'missing' if timeline is None else 'returned'}, {'' if spec.timeline else 'not '}declared"
        )
    shapes = {name: vector.shape for name, vector in output.vectors.items()}
    if shapes != {name: (dim,) for name, dim in spec.vectors.items()}:
        raise ContractError(f"vectors {shapes}, declared {dict(spec.vectors)}")
    for name, vector in output.vectors.items():
        if not np.all(np.isfinite(vector)):
            raise ContractError(f"vector {name} holds values that are not finite")
    return Output(
        row=declared_row(spec.columns, output.row),
        timeline=None if timeline is None else declared_table(spec.timeline, timeline),
        vectors={n: np.round(v.astype(np.float32), 5) for n, v in output.vectors.items()},
    )
