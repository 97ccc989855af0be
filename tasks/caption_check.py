"""Whether what a caption states holds by the signals: claim by claim, for captions by templates, models and people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from tasks.caption_facts import Facts
from tasks.caption_text import claims

MIN_TEXT_MATCH = 0.6
SHOT_CLASSES = {
    "extreme close-up": ("close",),
    "close-up": ("close",),
    "medium close-up": ("close", "medium"),
    "medium shot": ("medium",),
    "medium long shot": ("medium", "long"),
    "long shot": ("long",),
}


@dataclass(frozen=True)
class Verdict:
    """One claim of a caption, and whether it holds; None where no signal can say."""

    name: str
    claimed: str
    holds: bool | None


def verdicts(captions: Sequence[str], facts: Facts) -> list[Verdict]:
    """The different claims of all the captions of one clip, each once."""
    stated = dict.fromkeys((n, v) for caption in captions for n, v in claims(caption).items())
    return [Verdict(name, value, _holds(name, value, facts)) for name, value in stated]


def _holds(name: str, value: str, facts: Facts) -> bool | None:
    if name == "people":
        return _people_hold(int(value), facts)
    if name == "speech":
        return None if facts.speech is None else (facts.speech != "none") == (value == "yes")
    if name == "text":
        return None if facts.text is None else _text_holds(value, facts.text)
    met = {
        "language": facts.language,
        "camera": facts.camera,
        "shot": facts.shot,
        "facing": facts.facing,
        "sound": facts.sound,
        "quality": facts.quality,
    }[name]
    if met is None:
        return None
    if name == "language":
        return met == value
    if name == "camera":
        return met in (("still", "almost still") if value == "still" else ("moving", "almost still"))
    if name == "shot":
        return value in SHOT_CLASSES[met]
    if name == "facing":
        return (met == "facing the camera") == (value == "camera")
    return met in (value, "fair")  # sound and quality: words in the middle fit both ends


def _people_hold(claimed: int, facts: Facts) -> bool | None:
    """A body without a face is a person too."""
    if facts.people is None:
        return None
    return claimed == facts.people or (claimed == 1 and facts.people == 0 and bool(facts.body))


def _text_holds(value: str, text: str) -> bool:
    if value in ("yes", "no"):
        return bool(text) == (value == "yes")
    quoted, shown = ("".join(c for c in t.lower() if c.isalnum()) for t in (value, text))
    if not quoted or not shown:
        return False
    found = sum(b.size for b in SequenceMatcher(None, quoted, shown, autojunk=False).get_matching_blocks())
    return found / len(quoted) >= MIN_TEXT_MATCH
