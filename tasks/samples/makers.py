"""How each sample is made: two talking heads from a portrait and a voice, the others from those and real footage.

Every maker writes one file, `out`; `made` is the folder where the samples before it lie.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tasks.samples import carriers
from tasks.samples.ffmpeg import AAC, H264, encode, run
from tasks.samples.portrait import ASTRONAUT, Look, film
from tasks.samples.voice import mouthing, read_speech

Maker = Callable[[Path, Path], None]
SPEECH_GAIN = 3.0
"""The recording peaks at 0.16."""
LATE_MS = 280
CUT_FRAME = 125
FROZEN_FROM_S = 0.5


def talker(start_s: float, duration_s: float, look: Look, fps: int) -> Maker:
    def make(made: Path, out: Path) -> None:
        sound, rate_hz = read_speech(carriers.SPEECH.path(), start_s, duration_s, SPEECH_GAIN)
        frames = film(carriers.PORTRAIT.path(), ASTRONAUT, look, mouthing(sound, rate_hz, fps), fps)
        with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
            wav = _wav(Path(scratch), sound, rate_hz)
            encode(frames, (look.side_px, look.side_px), fps, wav, out)

    return make


def variant(source: str, *options: str) -> Maker:
    """FFmpeg's options on one of the samples made before."""

    def make(made: Path, out: Path) -> None:
        run("-i", made / source, *options, out)

    return make


def copy_of(carried: carriers.Carried) -> Maker:
    def make(made: Path, out: Path) -> None:
        shutil.copyfile(carried.path(), out)

    return make


def truncated(source: str) -> Maker:
    """The first 60 % of the bytes: an MP4's index comes last, so nothing of it can be decoded."""

    def make(made: Path, out: Path) -> None:
        whole = (made / source).read_bytes()
        out.write_bytes(whole[: len(whole) * 6 // 10])

    return make


def noisy(source: str, start_s: float, duration_s: float) -> Maker:
    """White noise as loud as the speech: 0 dB signal to noise."""

    def make(made: Path, out: Path) -> None:
        sound, rate_hz = read_speech(carriers.SPEECH.path(), start_s, duration_s, SPEECH_GAIN)
        noise = np.random.default_rng(0).normal(0, float(np.sqrt(np.mean(sound**2))), len(sound))
        with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
            wav = _wav(Path(scratch), np.clip(sound + noise, -1, 1), rate_hz)
            maps = ("-map", "0:v", "-map", "1:a", "-t", str(duration_s))
            run("-i", made / source, "-i", wav, *maps, *H264, *AAC, out)

    return make


def captioned(source: str, duration_s: float) -> Maker:
    """A channel's name in the corner and two lines of text over the chest."""

    def make(made: Path, out: Path) -> None:
        import cv2

        layer = np.zeros((512, 512, 4), np.uint8)
        cv2.rectangle(layer, (0, 404), (511, 496), (110, 30, 20, 235), cv2.FILLED)
        white, blue = (255, 255, 255, 255), (110, 30, 20, 255)
        for text, at, size, colour in (
            ("MORNING REPORT", (18, 442), 1.0, white),
            ("Watch the full story tonight at nine", (18, 482), 0.72, white),
            ("CHANNEL 5", (346, 40), 0.85, blue),
        ):
            cv2.putText(layer, text, at, cv2.FONT_HERSHEY_DUPLEX, size, colour, 2, cv2.LINE_AA)
        with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
            png = Path(scratch) / "text.png"
            cv2.imwrite(str(png), layer)
            run("-i", made / source, "-i", png, "-filter_complex", "overlay", "-t", str(duration_s), *H264, *AAC, out)

    return make


def spliced(first: str, second: str, cut_s: float) -> Maker:
    """`cut_s` of one sample, then as much of another from its first second on, without a transition."""
    scene = "setpts=PTS-STARTPTS,fps=25,scale=512:512,setsar=1"
    graph = (
        f"[0:v]trim=end={cut_s},{scene}[v0];[0:a]atrim=end={cut_s},asetpts=PTS-STARTPTS[a0];"
        f"[1:v]trim=start=1:end={1 + cut_s},{scene}[v1];[1:a]atrim=start=1:end={1 + cut_s},asetpts=PTS-STARTPTS[a1];"
        "[v0][a0][v1][a1]concat=n=2:v=1:a=1"
    )

    def make(made: Path, out: Path) -> None:
        run("-i", made / first, "-i", made / second, "-filter_complex", graph, *H264, *AAC, out)

    return make


SLIDES = (
    ("Quarterly results", "Revenue up 12 percent", "Costs flat", "Outlook unchanged"),
    ("What we learned", "Measure before you change", "Keep what works", "Write it down"),
    ("Next steps", "Hire two engineers", "Ship in March", "Questions?"),
)


def slide_show(start_s: float, duration_s: float, fps: int = 25) -> Maker:
    def make(made: Path, out: Path) -> None:
        sound, rate_hz = read_speech(carriers.CONVERSATION.path(), start_s, duration_s)
        with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
            wav = _wav(Path(scratch), sound, rate_hz)
            encode(_slides(round(duration_s * fps)), (1280, 720), fps, wav, out)

    return make


def _slides(num_frames: int) -> Iterator[np.ndarray]:
    import cv2

    drawn = []
    for title, *points in SLIDES:
        slide = np.full((720, 1280, 3), 246, np.uint8)
        cv2.rectangle(slide, (0, 0), (1279, 150), (92, 58, 24), cv2.FILLED)
        cv2.putText(slide, title, (70, 100), cv2.FONT_HERSHEY_DUPLEX, 2.0, (255, 255, 255), 3, cv2.LINE_AA)
        for i, point in enumerate(points):
            at = (110, 280 + 130 * i)
            cv2.putText(slide, f"- {point}", at, cv2.FONT_HERSHEY_DUPLEX, 1.5, (40, 40, 40), 2, cv2.LINE_AA)
        drawn.append(slide)
    for i in range(num_frames):
        yield drawn[i * len(drawn) // num_frames]


def _wav(folder: Path, sound: np.ndarray, rate_hz: int) -> Path:
    import soundfile

    wav = folder / "sound.wav"
    soundfile.write(wav, sound, rate_hz, subtype="PCM_16")
    return wav
