"""What the signals say of a span of video, in the few words that a caption is made of: facts, not yet sentences.

A fact is NULL (None) where the signal behind it is not ok; a caption then leaves it out. To add one: a field here,
its line in `facts_of`, its phrase and its pattern in tasks/caption_text.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.digest import between
from tasks.media.media import Media

EVIDENCE = (
    "flow",
    "vad",
    "head_pose",
    "pose",
    "speech",
    "lip_sync",
    "overlay_text",
    "visual_quality",
    "speech_quality",
)
"""Signals that facts are read from where they are there; faces always are."""
FACE_SCORE_MIN = 0.85
"""Surer than the detector's own bound: talking heads score 0.90 or more, a cat and traffic up to 0.80."""
DETECTION_FRAMES = 5
SHOTS = (
    (0.7, "extreme close-up"),
    (0.33, "close-up"),
    (0.19, "medium close-up"),
    (0.11, "medium shot"),
    (0.055, "medium long shot"),
    (0.0, "long shot"),
)
"""By the main face's height, hairline to chin, in the frame's height."""
SPEECH_PROB = 0.5
SPEECH_MOST, SPEECH_SOME = 0.5, 0.08
IN_SYNC_CONFIDENCE = 0.3
"""lip_sync: 1 % of other people's voices reach it."""
ASIDE_DEG, PROFILE_DEG, UP_DOWN_DEG = 20.0, 55.0, 20.0
CAMERA_STILL, CAMERA_MOVES = 0.5, 4.0
"""Percent of the frame's height a second: tripods stay below 0.5, hands that hold a camera still below 4."""
SUBJECT_STILL, SUBJECT_LIVELY = 0.15, 3.0
GRADES = ((4.0, "high"), (3.0, "fair"), (0.0, "poor"))
CLEAN_DB, NOISY_DB = 25.0, 10.0
UNSPACED = ("zh", "ja", "th")
LANGUAGES = {
    "ar": "Arabic", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish",
    "fa": "Persian", "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian",
    "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "nl": "Dutch", "no": "Norwegian",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sv": "Swedish", "th": "Thai",
    "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """Of one span. `people` counts faces; `speech` is most, some or none of the time; `speaker` is "seen" when the
    voice goes with the visible lips. `words` are those that begin in the span, `text` what is written in the picture.
    """

    people: int | None = None
    body: bool | None = None
    shot: str | None = None
    place: str | None = None
    facing: str | None = None
    speech: str | None = None
    speaker: str | None = None
    language: str | None = None
    words: str | None = None
    text: str | None = None
    camera: str | None = None
    subject: str | None = None
    quality: str | None = None
    sound: str | None = None


def facts_of(needs: Mapping[str, Any], media: Media, start_frame: int, end_frame: int) -> Facts:
    """Facts of the frames [start_frame, end_frame) of a clip, from its timelines cut to them and from its rows.

    `needs` holds what signals gave, None where one is not ok.
    """
    cut = {n: between(t, start_frame, end_frame) for n, t in needs.items() if isinstance(t, pa.Table)}
    people = _people(cut["faces"], start_frame, end_frame) if "faces" in cut else None
    speech = _speech(cut["vad"]) if "vad" in cut else None if media.video_has_audio else "none"
    words = words_of(cut["speech.timeline"], needs["speech"]["language"]) if "speech.timeline" in cut else ""
    spoken, text, looks = needs.get("speech"), needs.get("overlay_text"), needs.get("visual_quality")
    sound, sync, pose = needs.get("speech_quality"), needs.get("lip_sync"), needs.get("pose")
    seen = bool(people) and sync is not None and sync["confidence"] >= IN_SYNC_CONFIDENCE
    shot, place = _framing(cut["faces"], media.width_px, media.height_px) if people else (None, None)
    return Facts(
        people=people,
        body=pose["person_ratio"] >= 0.5 if pose else None,
        shot=shot,
        place=place,
        facing=_facing(cut["head_pose.timeline"]) if people and "head_pose.timeline" in cut else None,
        speech=speech,
        speaker="seen" if seen and speech in ("most", "some") else None,
        language=LANGUAGES.get(str(spoken["language"])) if spoken and speech != "none" else None,
        words=words or None,
        text=" / ".join(text["text"].splitlines()) if text else None,
        camera=_speed(cut, "camera", (CAMERA_STILL, CAMERA_MOVES), ("still", "almost still", "moving")),
        subject=_speed(cut, "subject", (SUBJECT_STILL, SUBJECT_LIVELY), ("still", "calm", "lively"))
        if people
        else None,
        quality=next(word for least, word in GRADES if looks["quality"] >= least) if looks else None,
        sound=_sound(sound) if sound and speech in ("most", "some") else None,
    )


def words_of(words: pa.Table, language: str | None) -> str:
    """Words of a timeline as one text, as the language writes them."""
    return ("" if language in UNSPACED else " ").join(w for w in words["word"].to_pylist() if w)


def _people(faces: pa.Table, start_frame: int, end_frame: int) -> int | None:
    """Faces on a sampled frame, median; None where no frame was sampled."""
    sampled = range(-(-start_frame // DETECTION_FRAMES) * DETECTION_FRAMES, end_frame, DETECTION_FRAMES)
    if len(sampled) == 0:
        return None
    sure = faces["frame"].to_numpy()[faces["score"].to_numpy() >= FACE_SCORE_MIN]
    return int(np.median([(sure == frame).sum() for frame in sampled]) + 0.5)


def _framing(faces: pa.Table, width_px: int, height_px: int) -> tuple[str | None, str | None]:
    """(shot, place) of the largest face of each frame, median."""
    rows = {n: faces[n].to_numpy() for n in ("frame", "x0", "y0", "x1", "y1", "score")}
    area = (rows["x1"] - rows["x0"]) * (rows["y1"] - rows["y0"]) * (rows["score"] >= FACE_SCORE_MIN)
    largest = [
        int(np.flatnonzero(rows["frame"] == f)[area[rows["frame"] == f].argmax()]) for f in np.unique(rows["frame"])
    ]
    largest = [i for i in largest if area[i] > 0]
    if not largest:
        return None, None
    height = float(np.median((rows["y1"] - rows["y0"])[largest])) / height_px
    middle = float(np.median((rows["x0"] + rows["x1"])[largest])) / 2 / width_px
    place = "on the left" if middle < 0.35 else "on the right" if middle > 0.65 else "in the middle"
    return next(name for least, name in SHOTS if height >= least), place


def _facing(turns: pa.Table) -> str | None:
    if turns.num_rows == 0:
        return None
    yaw, pitch = (float(np.median(turns[f"{angle}_deg"].to_numpy())) for angle in ("yaw", "pitch"))
    if abs(yaw) >= PROFILE_DEG:
        return "in profile"
    if abs(yaw) >= ASIDE_DEG:
        return "turned to the right" if yaw > 0 else "turned to the left"
    if abs(pitch) >= UP_DOWN_DEG:
        return "looking up" if pitch > 0 else "looking down"
    return "facing the camera"


def _speech(vad: pa.Table) -> str | None:
    if vad.num_rows == 0:
        return None
    share = float((vad["speech_prob"].to_numpy() >= SPEECH_PROB).mean())
    return "most" if share >= SPEECH_MOST else "some" if share >= SPEECH_SOME else "none"


def _speed(
    cut: Mapping[str, pa.Table], column: str, bounds: tuple[float, float], words: tuple[str, str, str]
) -> str | None:
    if "flow" not in cut or cut["flow"].num_rows == 0:
        return None
    speed = float(cut["flow"][column].to_numpy().mean())
    return words[int(np.searchsorted(bounds, speed, side="right"))]


def _sound(row: Mapping[str, Any]) -> str | None:
    if row["snr_db"] >= CLEAN_DB:
        return "clean"
    return "noisy" if row["snr_db"] < NOISY_DB else "fair"
