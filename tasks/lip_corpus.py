"""Features of talking heads, to fit lip-sync on: from raw video files to one .npz each.

    python -m tasks.lip_corpus OUT_FOLDER VIDEO ...

Give clips of one person each who speaks in view; see `modeling/lip_sync.py` for what is done with them.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from tasks.digest import declared_table
from tasks.lip_features import lip_motion, lip_shape, voice_motion
from tasks.media.normalise import normalise
from tasks.media.reader import Reader
from tasks.signal import WINDOW_FRAMES
from tasks.signals import faces, landmarks, vad
from tasks.whisper import encode

BLOCK_FRAMES = 250

log = logging.getLogger(__name__)


def export(videos: Sequence[Path], folder: Path) -> list[Path]:
    """The files written: `lips_TD` and `voice_TL` at 25 rows a second, named for the video.

    Raises ValueError for a video without sound, without a face, or of the same name as another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [v.name for v in videos]
    if len(set(names)) < len(names):
        raise ValueError(f"two videos have the same name: {sorted(n for n in set(names) if names.count(n) > 1)}")
    written = []
    for video in videos:
        with tempfile.TemporaryDirectory() as scratch:
            lips, voice = features(video, Path(scratch))
        written.append(folder / f"{video.name}.npz")
        np.savez(written[-1], lips_TD=lips.astype(np.float32), voice_TL=voice.astype(np.float32))
        log.info("%s: %d frames", video.name, len(lips))
    return written


def features(video: Path, scratch: Path) -> tuple[np.ndarray, np.ndarray]:
    """Lip motion (T, 12) and voice motion (T, 768) of a whole video file."""
    made = normalise(video, scratch)
    if made.audio_path is None:
        raise ValueError(f"{video.name}: no sound ({made.audio_reason}); lip-sync is fitted on people who speak")
    with Reader() as reader:
        mesh = timelines(reader, made.proxy_path, made.audio_path, made.num_frames)["landmarks"]
        audio = reader.read_audio(made.audio_path, 0, made.num_frames)
    if mesh.num_rows < made.num_frames / 2:
        raise ValueError(f"{video.name}: no face in most frames; lip-sync is fitted on faces in view")
    return lip_motion(lip_shape(mesh, 0, made.num_frames)), voice_motion(encode(audio))


def timelines(reader: Reader, proxy: Path, audio: Path | None, num_frames: int) -> dict[str, pa.Table]:
    """The timelines that lip-sync needs, over a whole proxy, without a workspace; `vad` only where there is sound."""
    made: dict[str, pa.Table] = {}
    for name, module in (("faces", faces), ("landmarks", landmarks), ("vad", vad)):
        look = module.SIGNAL.look
        if look.audio and audio is None:
            continue
        blocks = reader.blocks(
            proxy,
            audio if look.audio else None,
            num_frames,
            0,
            num_frames,
            block_frames=BLOCK_FRAMES if look.frames_fps else WINDOW_FRAMES,
            context_frames=look.context_frames,
            fps=look.frames_fps,
        )
        parts = [module.compute(media, made).timeline for media in blocks]
        made[name] = pa.concat_tables(
            [declared_table(module.SIGNAL.timeline, part) for part in parts if part is not None]
        )
    return made


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Export features for modeling.lip_sync.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("videos", type=Path, nargs="+")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    export(options.videos, options.folder)


if __name__ == "__main__":
    main()
