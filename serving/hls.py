"""HLS for many viewers: a session's fragments as segments in memory, the last few of them, with a playlist (RFC 8216).

Only a window is held, and nothing lies on a disk: when the session goes, so do its segments.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise

from serving.engine import SAMPLE_HZ
from serving.fragments import Piece, pieces

SEGMENT_S = 2.0
"""At least; a segment begins with a whole picture, and there is one a second."""
TOLD = 6
"""Segments in the playlist; a few more are held for whoever asks late."""
HELD = 9


@dataclass(frozen=True)
class Segment:
    """`stream` counts the streams of a session: each has a header of its own, and times that begin at 0."""

    number: int
    stream: int
    seconds: float
    data: bytes


class Hls:
    """What many may watch of one session."""

    def __init__(self) -> None:
        self._headers: dict[int, bytes] = {}
        self._stream = self._number = self._changes = 0
        self._segments: deque[Segment] = deque()
        self._now: list[Piece] = []

    def begin(self, header: bytes) -> None:
        """Another stream begins: its viewer came, or came back."""
        self._cut()
        self._stream += 1
        self._headers[self._stream] = header

    def put(self, data: bytes) -> None:
        for piece in pieces(data):
            if piece.is_key and self._now and piece.time - self._now[0].time >= SEGMENT_S * SAMPLE_HZ:
                self._cut(piece.time)
            if piece.is_key or self._now:
                self._now.append(piece)

    def end(self) -> None:
        self._segments.clear()
        self._now.clear()
        self._headers.clear()

    def playlist(self) -> str | None:
        """None before the first segment is whole."""
        told = list(self._segments)[-TOLD:]
        if not told:
            return None
        before = [s for s in self._segments if s.number < told[0].number]
        skipped = self._changes + sum(a.stream != b.stream for a, b in pairwise([*before, told[0]]))
        lines = [
            "#EXTM3U", "#EXT-X-VERSION:7", f"#EXT-X-TARGETDURATION:{max(round(s.seconds + 0.5) for s in told)}",
            f"#EXT-X-MEDIA-SEQUENCE:{told[0].number}", f"#EXT-X-DISCONTINUITY-SEQUENCE:{skipped}", "#EXT-X-INDEPENDENT-SEGMENTS",
        ]  # fmt: skip
        stream = 0
        for segment in told:
            if segment.stream != stream:
                lines += ["#EXT-X-DISCONTINUITY"] if stream else []
                lines.append(f'#EXT-X-MAP:URI="{segment.stream}.mp4"')
                stream = segment.stream
            lines += [f"#EXTINF:{segment.seconds:.3f},", f"{segment.number}.m4s"]
        return "\n".join([*lines, ""])

    def file(self, name: str) -> bytes | None:
        """A header, "N.mp4", or a segment, "N.m4s"; None for what is not held (any more)."""
        number, _, kind = name.partition(".")
        if not number.isdecimal() or len(number) > 9:
            return None
        if kind == "mp4":
            return self._headers.get(int(number))
        found = next((s for s in self._segments if s.number == int(number)), None)
        return found.data if found and kind == "m4s" else None

    def _cut(self, until: int | None = None) -> None:
        """What was gathered is a segment; `until` is when the next one begins, if that is known."""
        if not self._now:
            return
        end = self._now[-1].time + self._now[-1].duration if until is None else until
        seconds = (end - self._now[0].time) / SAMPLE_HZ
        self._segments.append(Segment(self._number, self._stream, seconds, b"".join(p.data for p in self._now)))
        self._number += 1
        self._now = []
        while len(self._segments) > HELD:
            gone = self._segments.popleft()
            if self._segments[0].stream != gone.stream:
                self._changes += 1
                del self._headers[gone.stream]
