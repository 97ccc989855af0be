"""Numbers of things, as people say them."""

from __future__ import annotations

from infra.counted import clips_of_people


def test_one_is_one() -> None:
    assert clips_of_people(2, 1) == "2 clips of 1 person"
    assert clips_of_people(1, 2) == "1 clip of 2 people"
    assert clips_of_people(1204, 0) == "1,204 clips of 0 people"
