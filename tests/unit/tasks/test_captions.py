from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.caption_check import verdicts
from tasks.caption_facts import Facts
from tasks.caption_text import claims, written

TALKS = Facts(
    people=1,
    shot="close-up",
    place="on the left",
    facing="facing the camera",
    speech="most",
    speaker="seen",
    language="English",
    words='I said "no" to them.',
    text="BREAKING NEWS / Channel 5",
    camera="still",
    subject="calm",
    quality="high",
    sound="clean",
)


def test_three_lengths_tell_ever_more() -> None:
    made = written(TALKS)
    assert made.short == "One person in a close-up speaks English."
    assert made.medium == (
        "One person, in a close-up, facing the camera, speaks English. First words: \"I said 'no' to them.\" "
        'Text on screen: "BREAKING NEWS / Channel 5". The camera is still.'
    )
    assert made.long.startswith("One person, in a close-up, on the left, facing the camera, speaks English. Movement")
    assert "They say: \"I said 'no' to them.\"" in made.long
    assert made.long.endswith("The picture is of high quality. The sound is clean.")


@pytest.mark.parametrize(
    ("facts", "short"),
    [
        (Facts(), "A scene."),
        (Facts(people=0), "Nobody is seen."),
        (Facts(people=0, body=True, speech="none"), "A person whose face is not seen without speech."),
        (Facts(people=1, speech="none"), "One person is silent."),
        (Facts(people=1, speech="some", speaker="seen"), "One person speaks now and then."),
        (Facts(people=1, speech="most"), "One person while a voice is heard."),
        (
            Facts(people=2, shot="medium shot", speech="most", speaker="seen", language="French"),
            "Two people in a medium shot while a voice in French is heard.",
        ),
        (Facts(people=12, shot="extreme close-up"), "Many people in an extreme close-up."),
    ],
)
def test_what_is_not_known_is_left_out(facts: Facts, short: str) -> None:
    assert written(facts).short == short


@pytest.mark.parametrize(
    ("caption", "told"),
    [
        ("A young woman speaks to the camera.", {"people": "1", "speech": "yes"}),
        ("Two men are talking in a kitchen.", {"people": "2", "speech": "yes"}),
        ("A man and a woman sit at a table, silent.", {"people": "2", "speech": "no"}),
        ("An empty street; no people, no sound.", {"people": "0", "speech": "no"}),
        ("A close-up of a bearded man looking at the camera.", {"people": "1", "shot": "close", "facing": "camera"}),
        ("Medium shot of a news anchor in profile.", {"people": "1", "shot": "medium", "facing": "away"}),
        ('A presenter; the banner reads "Local News".', {"people": "1", "text": "Local News"}),
        ('The words "Local News" appear on a banner.', {"text": "Local News"}),
        ("A person talks. There is no text.", {"people": "1", "speech": "yes", "text": "no"}),
        ("A hand-held camera follows a cat.", {"camera": "moving"}),
        ("The camera is almost still.", {"camera": "still"}),
        ('She says: "Two men talk German." There is no text on screen.', {"speech": "yes", "text": "no"}),
        (
            "A low-quality recording with noisy sound, in Spanish.",
            {"quality": "poor", "sound": "noisy", "language": "Spanish"},
        ),
        ("A bowl of fruit on a table.", {}),
    ],
)
def test_claims_of_captions_that_people_write(caption: str, told: dict[str, str]) -> None:
    assert claims(caption) == told


def test_templates_are_read_back_as_they_were_meant() -> None:
    made = written(TALKS)
    found = verdicts([made.short, made.medium, made.long], TALKS)
    assert {v.name for v in found} == {
        "people", "speech", "language", "text", "camera", "shot", "facing", "quality", "sound",
    }  # fmt: skip
    assert all(v.holds for v in found), found


@pytest.mark.parametrize(
    "change",
    [
        {"people": 2},
        {"speech": "none"},
        {"language": "German"},
        {"text": "WEATHER"},
        {"text": ""},
        {"camera": "moving"},
        {"shot": "long shot"},
        {"facing": "in profile"},
        {"quality": "poor"},
        {"sound": "noisy"},
    ],
)
def test_each_wrong_fact_is_found(change: dict[str, object]) -> None:
    told = verdicts([written(TALKS).long], replace(TALKS, **change))  # type: ignore[arg-type]
    assert [v.name for v in told if v.holds is False] == list(change)


def test_what_no_signal_can_say_is_no_verdict() -> None:
    assert {v.holds for v in verdicts([written(TALKS).long], Facts())} == {None}


def test_a_person_without_a_face_is_a_person() -> None:
    assert verdicts(["A man walks."], Facts(people=0, body=True))[0].holds
    assert verdicts(["A man walks."], Facts(people=0, body=False))[0].holds is False


@pytest.mark.parametrize(
    ("quote", "holds"), [("breaking news", True), ("Braking newz", True), ("Weather", False), ("...", False)]
)
def test_quoted_text_may_be_misread_a_little(quote: str, holds: bool) -> None:
    told = verdicts([f'The banner says "{quote}" today'], Facts(text="BREAKING NEWS / Channel 5"))
    assert [v.holds for v in told if v.name == "text"] == [holds]
