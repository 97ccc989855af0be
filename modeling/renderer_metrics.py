"""How good drawn lower faces are: beside the true frames, and beside copying the reference and the plain warp.

Everything is over the square of modeling/mouth_crop.py, in gray levels of 0 to 255, on frames with a mesh. The mouth is the
lips, all within them, and 7 px of skin. Intervals are of a bootstrap over people.

Legend: T frames, S the square's side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import cv2
import numpy as np
import torch

from modeling.motion_metrics import SILENT_PROB, figure
from modeling.mouth_crop import SIDE_PX
from modeling.perceptual import frechet
from modeling.perceptual.measures import BETTER_LOWER as PERCEPTUAL_LOWER
from modeling.perceptual.measures import Perceptual
from modeling.renderer import RendererNet
from modeling.renderer_set import FaceClip
from modeling.renderer_training import SSIM_SIDE, given_of, mouth_mask, reference_of, ssim_map
from store.media import GRID_FPS

OURS, WARP, COPY, GENERAL, TRUE = "ours", "warp", "copy", "general", "true"
SHIFTED = "shifted"
"""Ours beside a sound that does not fit it: no baseline."""
Embed = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From a picture RGB uint8 and five points of its face (5, 2) to a vector of length 1."""
Rows = Mapping[str, Mapping[str, float]]
"""Of one clip: {who: {measure: value}}."""
IDENTITY_FRAMES = 4
BETTER_LOWER = ("mouth_flicker", "closed_error", "pause_quiver", *PERCEPTUAL_LOWER)
"""Of the measures; of all others more is better, but for RATIOS, which are best at 1."""
RATIOS = ("sharpness", "open_contrast")
SMALL = ("lpips", "temporal_lpips")
"""Told to two more decimals."""
CLOSED = 0.15
"""Of the normalised opening: below it the person's lips are closed."""
OPEN = 1.0
"""From here on they are open."""
TOO_SHORT = "LSE needs 5 frames after each other with 0.6 s of sound on either side, in a clip of 1.44 s; none has"
WARM_FRAMES = 5
"""A constant mouth is drawn so often before its quivering is measured: the state of the frame before settles."""


class Truth(Protocol):
    """What drawn squares are held against, frame by frame, as FaceClip has it: the true squares, masks of the lips, numbers of the
    grid, the normalised opening of the lips, and the probability of speech."""

    @property
    def true(self) -> np.ndarray: ...
    @property
    def lips(self) -> np.ndarray: ...
    @property
    def frames(self) -> np.ndarray: ...
    @property
    def gap(self) -> np.ndarray: ...
    @property
    def speech(self) -> np.ndarray: ...


@torch.inference_mode()
def drawn(net: RendererNet, clip: FaceClip, plate: int) -> np.ndarray:
    """What the network makes of a clip's frames from one of its plates, uint8 (T, S, S, 3), as the engine would: frame by
    frame, begun anew where frames are left out."""
    identity, state = net.identity(torch.from_numpy(reference_of(clip, plate))[None]), net.start()
    made = []
    for row in range(len(clip)):
        if row and clip.frames[row] != clip.frames[row - 1] + 1:
            state = net.start()
        given = torch.from_numpy(given_of(clip, plate, slice(row, row + 1)))
        one, state = net(given, identity, state)
        made.append(picture_of(one[0].numpy()))
    return np.stack(made)


def picture_of(made_CSS: np.ndarray) -> np.ndarray:
    """uint8 (S, S, 3) of values from 0 to 1."""
    return np.asarray(np.clip(np.rint(made_CSS.transpose(1, 2, 0) * 255), 0, 255).astype(np.uint8))


def evaluate(
    net: RendererNet,
    clips: Sequence[FaceClip],
    *,
    general: RendererNet | None = None,
    embed: Embed | None = None,
    perceptual: Perceptual | None = None,
    over_clips: bool = False,
    seed: int = 0,
    on_clip: Callable[[FaceClip, str, Rows], None] = lambda clip, kind, rows: None,
) -> dict[str, Any]:
    """By kind of plate: {"num_clips", "num_people", "seconds", "plates": {kind: {"measures": {who: {measure: figure}},
    "ahead": {baseline: {measure: figure}}}}}; above 0 in "ahead" means that ours is better. `general` is the network that
    this one went on from; with `embed` it is also measured how far the face stays the person's. With `perceptual` there are the
    measures that it has weights for, and "notes" says what is to be known of them, or why there is none. `on_clip` is told each
    clip's own.

    Raises ValueError without a clip.
    """
    if not clips:
        raise ValueError("evaluate: no clip is held out; give a larger tier")
    names = names_of(clips, over_clips)
    measured, notes = fvd_told(clips, names) if perceptual and perceptual.video else (False, [])
    plates: dict[str, Any] = {}
    for place, (kind, _) in enumerate(clips[0].plates):
        rows, videos = [], []
        for clip in clips:
            pictures = shown(net, clip, place, general)
            rows.append(clip_measures(net, clip, place, pictures, embed, perceptual))
            on_clip(clip, kind, rows[-1])
            if perceptual and measured:
                seen = {**pictures, TRUE: clip.true}
                videos.append({who: perceptual.videos(squares, clip) for who, squares in seen.items()})
        plates[kind] = figures_of(rows, names, seed)
        if (
            perceptual
            and perceptual.syncnet
            and "lse_d" not in plates[kind]["measures"][OURS]
            and TOO_SHORT not in notes
        ):
            notes.append(TOO_SHORT)
        if measured:
            for part, made in zip(("measures", "ahead"), frechet.fvd(videos, names, OURS, TRUE, seed), strict=True):
                for who, told in made.items():
                    plates[kind][part][who]["fvd"] = told
    return {
        "num_clips": len(clips),
        "num_people": len({c.who for c in clips}),
        "seconds": round(sum(len(c) for c in clips) / GRID_FPS, 2),
        "plates": plates,
        **({"notes": notes} if notes else {}),
    }


def names_of(clips: Sequence[FaceClip], over_clips: bool) -> list[str]:
    """What is drawn anew for intervals: people, or clips."""
    return [c.who if not over_clips else f"{c.who} {c.clip_id} {c.frames[0]}" for c in clips]


def fvd_told(clips: Sequence[FaceClip], names: Sequence[str]) -> tuple[bool, list[str]]:
    """Whether clips are enough for FVD, and what is to be said of that."""
    num = [len(frechet.videos_of(clip.frames)) for clip in clips]
    refused = frechet.refusal(sum(num), len({name for name, n in zip(names, num, strict=True) if n}))
    told = refused or frechet.caution(sum(num))
    return not refused, [told] if told else []


def figures_of(
    rows: Sequence[Rows], names: Sequence[str], seed: int, lower: Sequence[str] = BETTER_LOWER
) -> dict[str, Any]:
    """{"measures", "ahead"} of clips, as `evaluate` has them; of the measures in `lower` less is better."""

    def told(measure: str, values: Sequence[float | None]) -> dict[str, float] | None:
        known = [(v, n) for v, n in zip(values, names, strict=True) if v is not None]
        digits = 6 if measure in SMALL else 4
        return figure([v for v, _ in known], [n for _, n in known], seed, digits).to_dict() if known else None

    kinds = list(dict.fromkeys(who for row in rows for who in row))
    measures = {
        who: {m: v for m in _names(rows, who) if (v := told(m, [r.get(who, {}).get(m) for r in rows])) is not None}
        for who in kinds
    }
    ahead = {}
    for other in (who for who in kinds if who not in (OURS, TRUE, SHIFTED)):
        ahead[other] = {
            m: made
            for m in measures[OURS]
            if (made := told(m, [_better(m, r[OURS], r.get(other, {}), lower) for r in rows])) is not None
        }
    return {"measures": measures, "ahead": ahead}


def _names(rows: Sequence[Rows], who: str) -> list[str]:
    """Of all measures that any clip has, in their order."""
    return list(dict.fromkeys(name for row in rows for name in row.get(who, {})))


def _better(measure: str, ours: Mapping[str, float], theirs: Mapping[str, float], lower: Sequence[str]) -> float | None:
    if measure not in ours or measure not in theirs:
        return None
    if measure in RATIOS:
        return abs(theirs[measure] - 1) - abs(ours[measure] - 1)
    return (theirs[measure] - ours[measure]) * (1 if measure in lower else -1)


def shown(net: RendererNet, clip: FaceClip, plate: int, general: RendererNet | None = None) -> dict[str, np.ndarray]:
    """Squares uint8 (T, S, S, 3) of ours, the warp, the copy, and the one that ours went on from."""
    copies = np.broadcast_to(clip.references[plate, 0], clip.true.shape)
    pictures = {OURS: drawn(net, clip, plate), WARP: clip.warps[plate], COPY: copies}
    return pictures if general is None else {**pictures, GENERAL: drawn(general, clip, plate)}


def clip_measures(
    net: RendererNet, clip: FaceClip, plate: int, pictures: Mapping[str, np.ndarray], embed: Embed | None = None,
    perceptual: Perceptual | None = None,
) -> dict[str, dict[str, float]]:  # fmt: skip
    """Of one clip, {who: {measure: value}} of what is `shown`; those of silence where the clip has any."""
    told = {who: picture_measures(squares, clip) for who, squares in pictures.items()}
    with_true = {**pictures, TRUE: clip.true}
    if perceptual is not None:
        for who, squares in pictures.items():
            told[who] |= perceptual.beside_true(squares, clip)
        for who, measures in perceptual.with_sound(with_true, clip, plate).items():
            told.setdefault(who, {}).update(measures)
    if embed is not None:
        for who, squares in with_true.items():
            told.setdefault(who, {})["identity"] = identity(squares, clip, plate, embed)
    told[OURS]["still_quiver"] = still_quiver(net, clip, plate)
    told[OURS]["border_step"] = border_step(pictures[OURS], clip.warps[plate])
    return told


def picture_measures(made_TSSC: np.ndarray, clip: Truth) -> dict[str, float]:
    """`psnr` and `ssim` over the square, `mouth_psnr` and `mouth_ssim` over the mouth; `mouth_flicker`: by how many gray
    levels a frame the error changes; `sharpness`: the mouth's fine detail beside the true one; `open_contrast`: light and dark
    within lips that are open, beside the true ones; `closed_error`: how far the lips are off where they are closed;
    `pause_quiver`: how much the mouth changes in pauses beyond what the person's does."""
    made, true = made_TSSC.astype(np.float64), clip.true.astype(np.float64)
    mouth = np.stack([mouth_mask(lips[1]) for lips in clip.lips])
    wrong = made - true
    squared = (wrong**2).mean(axis=3)
    found = {
        "psnr": _psnr(squared.mean()),
        "mouth_psnr": _psnr(squared[mouth].mean()),
        **_ssims(made_TSSC, clip.true, mouth),
        "sharpness": _detail(made, mouth) / max(_detail(true, mouth), 1e-6),
    }
    open_ = (clip.gap > OPEN)[:, None, None] & (clip.lips[:, 1] > 127)
    if open_.any():
        found["open_contrast"] = _contrast(made, open_) / max(_contrast(true, open_), 1e-6)
    next_to = np.diff(clip.frames) == 1
    both = mouth[1:] & mouth[:-1] & next_to[:, None, None]
    if both.any():
        found["mouth_flicker"] = float(np.abs(np.diff(wrong, axis=0)).mean(axis=3)[both].mean())
    closed = (clip.gap < CLOSED)[:, None, None] & (clip.lips[:, 1] > 127)
    if closed.any():
        found["closed_error"] = float(np.abs(wrong.mean(axis=3))[closed].mean())
    quiet = clip.speech < SILENT_PROB
    still = both & (quiet[1:] & quiet[:-1])[:, None, None]
    if still.any():
        change = [np.abs(np.diff(v, axis=0)).mean(axis=3)[still].mean() for v in (made, true)]
        found["pause_quiver"] = float(change[0] - change[1])
    return {name: float(value) for name, value in found.items()}


def identity(squares_TSSC: np.ndarray, clip: FaceClip, plate: int, embed: Embed) -> float:
    """Cosine between the person's picture and the same picture with the lower face of other frames in it, the mean over a few
    frames: 1 is the same face. What the true frames have is the most that can be asked for."""
    points = clip.points[plate]
    own = embed(clip.pictures[plate], points)
    chosen = np.unique(np.linspace(0, len(clip) - 1, IDENTITY_FRAMES).astype(int))
    return float(np.mean([own @ embed(clip.in_picture(plate, squares_TSSC[row]), points) for row in chosen]))


@torch.inference_mode()
def still_quiver(net: RendererNet, clip: FaceClip, plate: int) -> float:
    """Gray levels by which the mouth changes from a frame to the next while warp and lips stand still: 0 is best. Measured on
    the clip's first frame, once the state has settled."""
    identity, state = net.identity(torch.from_numpy(reference_of(clip, plate))[None]), net.start()
    given, made = torch.from_numpy(given_of(clip, plate, slice(0, 1))), []
    for _ in range(WARM_FRAMES + 5):
        one, state = net(given, identity, state)
        made.append(one[0].numpy().transpose(1, 2, 0) * 255)
    mouth = mouth_mask(clip.lips[0, 1])
    return float(np.abs(np.diff(np.stack(made[WARM_FRAMES:]), axis=0))[:, mouth].mean())


def border_step(made_TSSC: np.ndarray, warps_TSSC: np.ndarray) -> float:
    """The largest change of a pixel on the square's border, in gray levels: above 1, the square would be seen as a box.
    Within, the change fades in over some pixels."""
    changed = np.abs(made_TSSC.astype(int) - warps_TSSC).max(axis=(0, 3))
    inner = slice(1, SIDE_PX - 1)
    changed[inner, inner] = 0
    return float(changed.max())


def _contrast(pictures: np.ndarray, where: np.ndarray) -> float:
    """Mean over frames of the standard deviation of gray within the lips."""
    return float(np.mean([p.mean(axis=2)[w].std() for p, w in zip(pictures, where, strict=True) if w.any()]))


def _psnr(mean_squared: float) -> float:
    return float(10 * np.log10(255**2 / max(mean_squared, 1e-3)))


def _ssims(made: np.ndarray, true: np.ndarray, mouth: np.ndarray) -> dict[str, float]:
    a, b = (torch.from_numpy(np.ascontiguousarray(v.transpose(0, 3, 1, 2))).float() / 255 for v in (made, true))
    told = ssim_map(a, b).mean(dim=1).numpy()
    room = SSIM_SIDE // 2
    return {"ssim": float(told.mean()), "mouth_ssim": float(told[mouth[:, room:-room, room:-room]].mean())}


def _detail(pictures: np.ndarray, mouth: np.ndarray) -> float:
    """Mean size of what a blur over 1 px takes away from the mouth."""
    fine = [np.abs(p - cv2.GaussianBlur(p, (0, 0), 1.0)).mean(axis=2) for p in pictures]
    return float(np.stack(fine)[mouth].mean())
