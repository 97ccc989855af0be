"""Videos in a row and stills on a sheet: each in its place, under its name, and nobody twice before all came once."""

from __future__ import annotations

import numpy as np

from modeling.side_by_side import (
    LABEL_PX,
    NAME_PX,
    NUM_STILLS,
    STILL_PX,
    beside,
    chosen,
    jpeg,
    sheet,
    size_of,
)

GREEN, RED = (0, 200, 0), (200, 0, 0)


def video(colours: list[tuple[int, int, int]]) -> np.ndarray:
    return np.stack([np.full((64, 64, 3), colour, np.uint8) for colour in colours])


def test_videos_stand_in_a_row_and_a_single_picture_stands_still() -> None:
    shown = {"source": video([GREEN, RED, GREEN]), "still": video([RED])}
    frames = list(beside(shown))
    assert len(frames) == 3
    assert {f.shape[:2] for f in frames} == {size_of(shown)} == {(LABEL_PX + 64, 128)}
    assert [tuple(f[LABEL_PX + 5, 5]) for f in frames] == [GREEN, RED, GREEN]
    assert {tuple(f[LABEL_PX + 5, 64 + 5]) for f in frames} == {RED}
    assert frames[0][:LABEL_PX].max() > 150, "the names are written over them"


def test_a_sheet_has_a_row_a_video_of_stills_from_the_first_to_the_last() -> None:
    ends = video([GREEN, *[RED] * (NUM_STILLS + 4), GREEN])
    made = sheet({"clip a": {"source": ends, "ours": video([RED])}, "clip b": {"source": ends}})
    assert made.shape == (2 * LABEL_PX + 3 * STILL_PX, NAME_PX + NUM_STILLS * STILL_PX, 3)
    middle = LABEL_PX + STILL_PX // 2
    row = [tuple(made[middle, NAME_PX + at * STILL_PX + 5]) for at in range(NUM_STILLS)]
    assert row == [GREEN, *[RED] * (NUM_STILLS - 2), GREEN]
    assert jpeg(made)[:2] == b"\xff\xd8"


def test_each_person_comes_once_before_anybody_a_second_time() -> None:
    assert chosen(["ann", "ann", "ben", "ann", "cho"], 4) == [0, 2, 4, 1]
    assert chosen(["ann"], 3) == [0]
