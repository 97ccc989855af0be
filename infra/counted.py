"""Numbers of things, as people say them."""

from __future__ import annotations


def counted(number: int, one: str, many: str) -> str:
    """As "1 person", "1,204 people"."""
    return f"{number:,} {one if number == 1 else many}"


def clips_of_people(num_clips: int, num_people: int) -> str:
    """As "2 clips of 1 person"."""
    return f"{counted(num_clips, 'clip', 'clips')} of {counted(num_people, 'person', 'people')}"
