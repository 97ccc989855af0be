"""Real clips as captions see them: the first seconds of a labelled file with everything that `caption` reads."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.footage import manifest, media_of, read_frames
from tasks.media.media import Media
from tasks.signal import GRID_FPS, NotApplicable
from tasks.signals import caption, discover

SECONDS = 5.0


@cache
def labelled(root: Path) -> list[tuple[dict[str, Any], Media, dict[str, Any]]]:
    """(entry of the manifest, media without its frames, needs of `caption`) of talk/ and neg/: every signal as `curate`
    computes it. Some minutes for all, so once for the scorecards that run together."""
    return [(entry, _bare(media), needs) for entry, media, needs in _computed(root)]


def _bare(media: Media) -> Media:
    size = {"width_px": media.width_px, "height_px": media.height_px, "source_width_px": media.source_width_px}
    return Media(media.start_frame, media.end_frame, **size, video_has_audio=media.video_has_audio)


def _computed(root: Path) -> Iterator[tuple[dict[str, Any], Media, dict[str, Any]]]:
    for entry in manifest(root, "talk", "neg"):
        frames, width = read_frames(entry["path"], GRID_FPS, max_s=SECONDS)
        if len(frames) < GRID_FPS:
            continue
        media = media_of(frames, GRID_FPS, source_width_px=width)
        media.audio = sound(entry["path"], len(frames))
        media.video_has_audio = media.audio is not None
        yield entry, media, needs_of("caption", media)


def sound(path: Path, num_frames: int) -> np.ndarray | None:
    """16 kHz mono float32 of just the frames; None without a sound track."""
    import av

    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        resampler = av.AudioResampler(format="flt", layout="mono", rate=16_000)
        pieces = []
        for frame in container.decode(audio=0):
            pieces += [f.to_ndarray()[0] for f in resampler.resample(frame)]
            if sum(len(p) for p in pieces) >= num_frames * 640:
                break
    heard = np.concatenate([*pieces, np.zeros(num_frames * 640, np.float32)])
    return np.asarray(heard[: num_frames * 640], np.float32)


def needs_of(name: str, media: Media) -> dict[str, Any]:
    """What a clip signal is given, all of it computed here in the order of discovery."""
    wanted: set[str] = set()
    queue = [name]
    while queue:
        needs = discover()[queue.pop()].spec.needs
        wanted |= set(needs)
        queue += needs
    found: dict[str, Any] = {}
    for need in (n for n in discover() if n in wanted):
        spec = discover()[need].spec
        given = {k: v for k, v in found.items() if k.split(".")[0] in spec.needs}
        if any(found[n] is None for n in spec.needs if n not in spec.optional):
            found[need] = None
            continue
        try:
            made = discover()[need].compute(media, given)
        except NotApplicable:
            found[need] = None
            continue
        found[need] = made.timeline if spec.grain == "video" else made.row
        if spec.grain == "clip" and made.timeline is not None:
            found[f"{need}.timeline"] = made.timeline
        found |= {f"{need}.{vector}": values for vector, values in made.vectors.items()}
    return {k: v for k, v in found.items() if k.split(".")[0] in caption.SIGNAL.needs}
