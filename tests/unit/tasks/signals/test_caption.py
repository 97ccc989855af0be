from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tasks.digest import declared_row, declared_table
from tasks.media.media import Media
from tasks.signal import NotApplicable, Output
from tasks.signals import caption, caption_agreement, discover

NUM_FRAMES = 300


def table(frames: list[int], **columns: Any) -> pa.Table:
    return pa.table({"frame": pa.array(frames, pa.int32()), **columns})


def faces(frames: list[int], x0: float = 200, size: float = 150) -> pa.Table:
    n = len(frames)
    return table(frames, x0=[x0] * n, y0=[100.0] * n, x1=[x0 + size] * n, y1=[100.0 + size] * n, score=[0.95] * n)


def needs(**more: Any) -> dict[str, Any]:
    """A person in 12 s of 640 x 360 who speaks from 2 s to 6 s; the camera moves in the last 2 s."""
    frames = list(range(100, 100 + NUM_FRAMES))
    spoken = [0.9 if 150 <= f < 250 else 0.01 for f in frames]
    sampled = list(range(100, 100 + NUM_FRAMES, 5))
    told: dict[str, Any] = {
        **dict.fromkeys(caption.SIGNAL.needs),
        "faces": faces(sampled),
        "vad": table(frames, speech_prob=spoken),
        "flow": table(
            sampled, camera=[9.0 if f >= 350 else 0.1 for f in sampled], subject=[1.0] * len(sampled)
        ),
        "speech": {"language": "en"},
        "speech.timeline": table([148, 160, 200], word=["Good", "evening", "everybody."]),
        "overlay_text": {"text": "LIVE"},
        "visual_quality": {"quality": 4.5},
        "speech_quality": {"snr_db": 40.0},
        "lip_sync": {"confidence": 0.8},
        "pose": {"person_ratio": 1.0},
    }  # fmt: skip
    return told | more


def media(has_audio: bool = True) -> Media:
    return Media(100, 100 + NUM_FRAMES, 640, 360, video_has_audio=has_audio)


def made(**more: Any) -> Output:
    """Checked as the engine checks it."""
    output = caption.compute(media(), needs(**more))
    declared_row(caption.SIGNAL.columns, output.row)
    assert output.timeline is not None
    return Output(output.row, declared_table(caption.SIGNAL.timeline, output.timeline))


def told(output: Output, kind: str) -> list[tuple[int, int, str]]:
    assert output.timeline is not None
    return [(r["frame"], r["end_frame"], r["text"]) for r in output.timeline.to_pylist() if r["kind"] == kind]


def test_a_clip_in_three_lengths() -> None:
    row = made().row
    assert row["short"] == "One person in a close-up speaks English now and then."
    assert 'First words: "Good evening everybody."' in row["medium"]
    assert 'Text on screen: "LIVE".' in row["long"]
    assert "The camera is almost still." in row["long"]
    assert row["num_facts"] == 13  # no head pose


def test_windows_of_five_seconds_tell_their_own_part() -> None:
    first, second, third = told(made(), "window")
    assert [w[:2] for w in (first, second, third)] == [(100, 225), (225, 350), (350, 400)]
    assert 'First words: "Good evening everybody."' in first[2]
    assert "speaks" in first[2]
    assert "now and then" in second[2]
    assert "is silent" in third[2]
    assert ["The camera is still." in w[2] for w in (first, second, third)] == [True, True, False]
    assert "The camera is moving." in third[2]


@pytest.mark.parametrize(("length", "ends"), [(125, [125]), (140, [140]), (150, [125, 150]), (10, [10])])
def test_a_short_rest_belongs_to_the_window_before(length: int, ends: list[int]) -> None:
    assert [end for _, end in caption.spans(0, length)] == ends


def test_events_have_their_times() -> None:
    output = made()
    assert told(output, "speech") == [(150, 250, '"Good evening everybody."')]
    assert told(output, "camera") == [(350, 400, "the camera moves")]
    assert told(output, "face") == []


def test_a_short_pause_does_not_end_a_voice() -> None:
    frames = list(range(100, 400))
    spoken = [0.9 if 150 <= f < 250 and not 180 <= f < 190 else 0.0 for f in frames]
    assert [e[:2] for e in told(made(vad=table(frames, speech_prob=spoken)), "speech")] == [(150, 250)]


def test_a_face_that_leaves_and_another_that_comes() -> None:
    alone = faces([f for f in range(100, 400, 5) if f < 300 or f >= 340])
    second = faces(list(range(200, 240, 5)), x0=400, size=100)
    both = pa.concat_tables([alone, second]).sort_by("frame")
    found = told(made(faces=both), "face")
    assert found == [(200, 240, "another face comes into the picture"), (300, 340, "no face is seen")]


def test_a_turned_head_is_an_event_and_a_fact() -> None:
    frames = list(range(100, 400))
    turns = table(frames, yaw_deg=[30.0 if f >= 200 else 0.0 for f in frames], pitch_deg=[0.0] * 300)
    output = made(head_pose={"yaw_deg": 20.0}, **{"head_pose.timeline": turns})
    assert told(output, "turn") == [(200, 400, "the head is turned to the right")]
    assert "turned to the right" in output.row["medium"]


def test_without_anything_but_faces_there_is_still_a_caption() -> None:
    bare = {**dict.fromkeys(caption.SIGNAL.needs), "faces": faces([])}
    assert caption.compute(media(), bare).row["short"] == "Nobody is seen."
    silent = caption.compute(media(has_audio=False), {**bare, "faces": faces(list(range(100, 400, 5)))})
    assert silent.row["short"] == "One person in a close-up is silent."


def test_words_of_a_language_without_spaces_are_joined() -> None:
    words = table([150, 160], word=["你", "好"])
    row = made(speech={"language": "zh"}, **{"speech.timeline": words}).row
    assert 'First words: "你好".' in row["medium"]


def agreement(captions: str, **more: Any) -> dict[str, Any]:
    row = dict.fromkeys(("short", "medium", "long"), captions)
    output = caption_agreement.compute(media(), {**needs(**more), "caption": row})
    return declared_row(caption_agreement.SIGNAL.columns, output.row)


def test_a_true_caption_agrees_and_a_false_one_says_where_not() -> None:
    assert agreement('A man speaks English. The banner reads "Live".')["agreement"] == 1
    wrong = agreement("Two women speak German in a close-up.")
    assert wrong["agreement"] == pytest.approx(0.5)
    assert (wrong["num_claims"], wrong["num_contradicted"]) == (4, 2)
    assert wrong["contradicted"] == "people=2, language=German"
    assert wrong["video_match"] is None


def test_template_captions_agree_with_what_they_are_made_of() -> None:
    row = made().row
    output = caption_agreement.compute(media(), {**needs(), "caption": row})
    assert (output.row["agreement"], output.row["contradicted"]) == (1, "")


def test_a_caption_without_a_claim() -> None:
    with pytest.raises(NotApplicable, match="state nothing that can be checked"):
        agreement("A bowl of fruit.")


def test_both_are_discovered_after_what_they_read() -> None:
    order = list(discover())
    assert order.index("speech") < order.index("caption") < order.index("caption_agreement")
    assert np.all([n in caption.SIGNAL.needs for n in caption.SIGNAL.optional])
