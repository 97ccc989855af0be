"""Frames and sound as H.264 and AAC: in fragments for a viewer who watches now, or in a file.

One clock: a frame's time is its number times 640 samples of 16 kHz, and both tracks count in such samples, so what is
written can't drift however long it lasts. A fragment leaves with each frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags

from serving.engine import SAMPLE_HZ, SAMPLES_PER_FRAME
from serving.fragments import SOUND, VIDEO, Sample, avc_config, fragment, header, with_lengths
from store.media import GRID_FPS

TIME_BASE = Fraction(1, SAMPLE_HZ)
LIVE_OPTIONS = {"preset": "superfast", "tune": "zerolatency", "crf": "23", "threads": "1", "profile": "baseline"}
FILE_OPTIONS = {"preset": "veryfast", "crf": "18", "threads": "1"}
KEY_FRAMES_S = 1
"""A viewer who comes later, or skips, waits at most so long for a picture."""
AUDIO_BPS = 64_000
AAC_SAMPLES = PRIMING = 1024
"""In a run of coded sound. The encoder begins with one of its own, by which the live stream is put off."""

AGAIN_RUNS = 4
"""Of sound that an encoder hears again to go on as if it had coded all of it: measured, 3 are enough and 2 are not."""


@dataclass(frozen=True)
class Sent:
    """Where a viewer's stream stands: the frame that it began with, the one that comes next, and how many fragments and runs
    of coded sound went out."""

    first_frame: int
    next_frame: int
    fragments: int
    runs: int


class Coded:
    """Encodes a session: coded pictures and runs of coded sound with their times, `first_frame` being time 0."""

    def __init__(
        self, side_px: tuple[int, int], options: dict[str, str], first_frame: int = 0, container: Any = None
    ) -> None:
        self._first = first_frame
        self.video: Any
        self.sound: Any
        if container is None:
            self.video, self.sound = (av.CodecContext.create(name, "w") for name in ("libx264", "aac"))
        else:
            streams = container.add_stream("libx264", rate=GRID_FPS), container.add_stream("aac", rate=SAMPLE_HZ)
            self.video, self.sound = (stream.codec_context for stream in streams)
        self.video.height, self.video.width = side_px
        self.video.pix_fmt, self.video.time_base, self.video.framerate = "yuv420p", TIME_BASE, Fraction(GRID_FPS)
        self.video.gop_size, self.video.options = KEY_FRAMES_S * GRID_FPS, dict(options)
        self.sound.sample_rate, self.sound.layout, self.sound.format = SAMPLE_HZ, "mono", "fltp"
        self.sound.bit_rate, self.sound.time_base = AUDIO_BPS, TIME_BASE
        for context in (self.video, self.sound):
            context.flags |= Flags.global_header
            context.open()
        self._rest: np.ndarray = np.zeros(0, np.int16)
        self._sampled = 0

    def write(self, number: int, picture: np.ndarray, sound_N: np.ndarray) -> tuple[list[Any], list[Any]]:
        """Packets of pictures and of sound after one more frame, RGB uint8, and its 640 samples."""
        assert len(sound_N) == SAMPLES_PER_FRAME
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = (number - self._first) * SAMPLES_PER_FRAME, TIME_BASE
        self._rest = np.concatenate([self._rest, sound_N])
        heard: list[Any] = []
        while len(self._rest) >= AAC_SAMPLES:
            heard += self._hear(AAC_SAMPLES)
        return list(self.video.encode(frame)), heard

    def hear_again(self, from_sample: int, sound_N: np.ndarray) -> list[Any]:
        """Begins the sound anew at a sample of the stream, with what was heard from there on."""
        self._sampled, self._rest = from_sample, sound_N
        made: list[Any] = []
        while len(self._rest) >= AAC_SAMPLES:
            made += self._hear(AAC_SAMPLES)
        return made

    @property
    def heard(self) -> int:
        """Samples that it was given."""
        return self._sampled + len(self._rest)

    def end(self) -> tuple[list[Any], list[Any]]:
        heard = self._hear(len(self._rest)) if len(self._rest) else []
        return list(self.video.encode(None)), [*heard, *self.sound.encode(None)]

    def _hear(self, num: int) -> list[Any]:
        told = (self._rest[:num].astype(np.float32) / 32768)[None]
        frame = av.AudioFrame.from_ndarray(told, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_HZ, self._sampled, TIME_BASE
        self._sampled += num
        self._rest = self._rest[num:].copy()
        return list(self.sound.encode(frame))


class Fragments:
    """A stream for one viewer: `header` first, then what `write` gives, each a fragment that can be decoded at once.

    `after` takes up a stream that somebody else began: where it stands, and the sound, int16, that ends with its last frame,
    of AGAIN_RUNS (0.26 s) or more unless that is all there was. The first frame is then a whole picture, and the coded sound goes
    on with the run after the last one, so that nothing is heard twice or left out.
    """

    def __init__(
        self, side_px: tuple[int, int], first_frame: int = 0, after: tuple[Sent, np.ndarray] | None = None
    ) -> None:
        self._coded = Coded(side_px, LIVE_OPTIONS, first_frame)
        config = avc_config(bytes(self._coded.video.extradata))
        self.header = header(SAMPLE_HZ, side_px, config, bytes(self._coded.sound.extradata))
        self.mime = f'video/mp4; codecs="avc1.{config[1:4].hex()}, mp4a.40.2"'
        """As Media Source Extensions want it told."""
        self.sent = Sent(first_frame, first_frame, 0, 0)
        self._held: list[Any] = []
        self.skew_ms: float | None = None
        """How much later the sound track's clock stands than the picture track's, by what was put out; None before that."""
        if after is not None:
            self._take_up(*after)

    def write(self, number: int, picture: np.ndarray, sound_N: np.ndarray) -> bytes:
        pictures, heard = self._coded.write(number, picture, sound_N)
        heard = self._new([*self._held, *heard])
        self._held = []
        self.sent = replace(self.sent, next_frame=number + 1, runs=self.sent.runs + len(heard))
        if pictures:
            seen_until = _time(pictures[-1:]) + SAMPLES_PER_FRAME
            held = self._coded.heard + PRIMING - AAC_SAMPLES * self.sent.runs
            heard_until = (_time(heard[-1:]) + AAC_SAMPLES if heard else AAC_SAMPLES * self.sent.runs) + held
            self.skew_ms = 1000 * (heard_until - seen_until) / SAMPLE_HZ
        return self._fragment(pictures, heard)

    def _take_up(self, sent: Sent, past: np.ndarray) -> None:
        stands = (sent.next_frame - sent.first_frame) * SAMPLES_PER_FRAME
        begin = max(0, stands - len(past), AAC_SAMPLES * (sent.runs - AGAIN_RUNS))
        begin += -begin % AAC_SAMPLES
        self.sent = sent
        self._held = self._new(self._coded.hear_again(begin, past[len(past) - (stands - begin) :]))

    def _new(self, heard: list[Any]) -> list[Any]:
        """Runs of sound that did not go out yet."""
        return [run for run in heard if _time([run]) >= AAC_SAMPLES * self.sent.runs]

    def end(self) -> bytes:
        return self._fragment(*self._coded.end())

    def _fragment(self, pictures: Sequence[Any], heard: Sequence[Any]) -> bytes:
        if not pictures and not heard:
            return b""
        number = self.sent.fragments + 1
        self.sent = replace(self.sent, fragments=number)
        seen = [Sample(with_lengths(bytes(p)), SAMPLES_PER_FRAME, p.is_keyframe) for p in pictures]
        runs = [Sample(bytes(p), AAC_SAMPLES) for p in heard]
        return fragment(number, [(VIDEO, _time(pictures), seen), (SOUND, _time(heard), runs)])


def _time(packets: Sequence[Any]) -> int:
    """Of the first one, with the encoder's own first run of sound at 0."""
    return PRIMING + int(packets[0].pts) if packets else 0


class Recording:
    """An MP4 file; it takes its name only when it is whole. Raises ValueError for a name that is no MP4's."""

    def __init__(self, out: Path, side_px: tuple[int, int]) -> None:
        out = out.absolute()
        if out.suffix.lower() != ".mp4" or out.is_dir():
            raise ValueError(f"render: {out} is no file to write; give a name that ends in .mp4")
        out.parent.mkdir(parents=True, exist_ok=True)
        self._out, self._part = out, out.with_name(f".{out.stem}.part.mp4")
        self._container = av.open(str(self._part), "w", options={"movflags": "faststart"})
        self._coded = Coded(side_px, FILE_OPTIONS, container=self._container)

    def write(self, number: int, picture: np.ndarray, sound_N: np.ndarray) -> None:
        self._mux(self._coded.write(number, picture, sound_N))

    def end(self) -> Path:
        self._mux(self._coded.end())
        self._container.close()
        self._part.replace(self._out)
        return self._out

    def abandon(self) -> None:
        self._container.close()
        self._part.unlink(missing_ok=True)

    def _mux(self, packets: tuple[list[Any], list[Any]]) -> None:
        for stream, made in zip(self._container.streams, packets, strict=True):
            for packet in made:
                packet.stream = stream
                self._container.mux(packet)


def frames_of(
    first_frame: int, frames: Sequence[np.ndarray], sound_N: np.ndarray
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Number, picture and sound of each frame of a chunk."""
    for place, picture in enumerate(frames):
        yield first_frame + place, picture, sound_N[place * SAMPLES_PER_FRAME : (place + 1) * SAMPLES_PER_FRAME]
