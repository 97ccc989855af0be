"""Captions from facts, and facts from captions: one vocabulary, written by templates and read by patterns.

The reader takes any English sentence, also one that a model or a person wrote, and tells only what it is sure of;
what it does not find is no claim.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.caption_facts import LANGUAGES, Facts

WORDS_IN_MEDIUM = 12
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PERSON = r"(?:person|man|woman|boy|girl|lady|gentleman|speaker|presenter|host|anchor|reporter|interviewee|narrator)"
PEOPLE = r"(?:people|persons|men|women|boys|girls|speakers|presenters|hosts|anchors|faces)"

_WRITING = "(?:text|captions?|subtitles?|title|sign|banner|logo|watermark|lettering)"


@dataclass(frozen=True)
class Captions:
    short: str
    medium: str
    long: str


def written(facts: Facts) -> Captions:
    """Short: who, how near, what they do. Medium: and where they face, the camera, their first words. Long: all."""
    who, near = _who(facts), f"in a {facts.shot}".replace("a extreme", "an extreme") if facts.shot else ""
    does = _does(facts)
    short = _sentence(f"{who} {near} {does}" if does else f"{who} {near}")
    posture = ", ".join(p for p in (near, facts.facing or "") if p)
    medium = [_sentence(f"{who}, {posture}, {does}" if posture and does else f"{who} {posture} {does}")]
    if facts.words:
        medium.append(f"First words: {_quoted(facts.words, WORDS_IN_MEDIUM)}")
    if facts.text:
        medium.append(f"Text on screen: {_quoted(facts.text, WORDS_IN_MEDIUM)}")
    medium.append(_camera(facts))
    where = ", ".join(p for p in (near, facts.place if facts.place != "in the middle" else "", facts.facing or "") if p)
    long = [_sentence(f"{who}, {where}, {does}" if where and does else f"{who} {where} {does}")]
    if facts.subject:
        long.append(f"Movement is {facts.subject}.")
    long.append(_camera(facts))
    if facts.words:
        long.append(f"They say: {_quoted(facts.words)}" if facts.speaker else f"A voice says: {_quoted(facts.words)}")
    if facts.text:
        long.append(f"Text on screen: {_quoted(facts.text)}")
    if facts.quality:
        long.append(f"The picture is of {facts.quality} quality.")
    if facts.sound:
        long.append(f"The sound is {facts.sound}.")
    return Captions(short, _joined(medium), _joined(long))


def _who(facts: Facts) -> str:
    if not facts.people:
        if facts.body:
            return "a person whose face is not seen"
        return "nobody is seen" if facts.people == 0 else "a scene"
    if facts.people == 1:
        return "one person"
    return f"{NUMBERS[facts.people] if facts.people < len(NUMBERS) else 'many'} people"


def _does(facts: Facts) -> str:
    if facts.speech is None:
        return ""
    language = f" {facts.language}" if facts.language else ""
    in_language = f" in {facts.language}" if facts.language else ""
    if facts.speech == "none":
        return "is silent" if facts.people == 1 else "without speech"
    if facts.speaker and facts.people == 1:
        return f"speaks{language}" if facts.speech == "most" else f"speaks{language} now and then"
    often = "is heard" if facts.speech == "most" else "is heard now and then"
    return f"while a voice{in_language} {often}"


def _camera(facts: Facts) -> str:
    return f"The camera is {facts.camera}." if facts.camera else ""


def _sentence(text: str) -> str:
    plain = re.sub(r"\s+([,.])", r"\1", " ".join(text.split())).strip(" ,")
    return plain[:1].upper() + plain[1:] + "."


def _quoted(text: str, count: int | None = None) -> str:
    """In double quotes, with a full stop where it lacks one; `count` words, or 8 letters for each, at most."""
    words = text.split()
    cut = text if count is None else " ".join(words[:count])[: 8 * count]
    more = " ..." if len(cut) < len(" ".join(words)) else ""
    plain = cut.replace('"', "'")
    return f'"{plain}{more}"' if (plain + more).endswith((".", "!", "?", "。")) else f'"{plain}{more}".'


def _joined(sentences: list[str]) -> str:
    return " ".join(s for s in sentences if s)


def claims(caption: str) -> dict[str, str]:
    """Facts that an English caption states, by name: people (a number), speech (yes, no), language, text (yes, no, or
    what it quotes), camera (still, moving), shot (close, medium, long), facing (camera, away), sound, quality."""
    quoted: list[str] = []

    def put_aside(match: re.Match[str]) -> str:  # what is said or shown is no claim of the caption's own
        quoted.append(match.group(1))
        return f"#{len(quoted) - 1}#" + ("." if match.group(1).endswith((".", "!", "?", "。")) else "")

    plain = re.sub(r"[\"“]([^\"”]*)[\"”]", put_aside, caption).lower()
    found: dict[str, str] = {}
    for name, rules in _RULES.items():
        for pattern, value in rules:
            match = re.search(pattern, plain)
            if match:
                found[name] = value or _number(match.group(1))
                break
    language = next((n for n in LANGUAGES.values() if re.search(rf"\b{n.lower()}\b", plain)), None)
    if language:
        found["language"] = language
    shown = re.search(rf"\b{_WRITING}\b[^.#]*#(\d+)#|#(\d+)#[^.#]*\b{_WRITING}\b", plain)
    if shown:
        found["text"] = quoted[int(shown.group(1) or shown.group(2))]
    return found


def _number(word: str) -> str:
    return str(NUMBERS.index(word)) if word in NUMBERS else word


_RULES: dict[str, list[tuple[str, str]]] = {
    "people": [
        (r"\b(?:nobody|no one|no (?:person|people|face))\b", "0"),
        (rf"\b(two|three|four|five|six|seven|eight|nine|\d) (?:\w+ ){{0,2}}{PEOPLE}\b", ""),
        (r"\b(?:a couple|a pair) of\b", "2"),
        (rf"\b{PERSON}\b[^.]*\band (?:a|an|another) (?:\w+ ){{0,2}}{PERSON}\b", "2"),
        (rf"\b(?:a|an|one|the|single) (?:[\w-]+ ){{0,3}}{PERSON}\b", "1"),
    ],
    "speech": [
        (
            r"\b(?:says nothing|without speech|does not speak|doesn't speak|not speaking|silent(?:ly)?|in silence|no (?:speech|voice|"
            r"sound)|without (?:speaking|talking|sound))\b",
            "no",
        ),
        (
            r"\b(?:speaks?|speaking|spoken|talks?|talking|says|saying|voice|narrat\w+|explain\w*|interview\w*|lectur\w+|"
            r"sings?|singing|tells|addresses|presents|reads aloud)\b",
            "yes",
        ),
    ],
    "text": [
        (r"\b(?:no|without)(?: any)? (?:text|captions?|subtitles?|writing)\b", "no"),
        (rf"\b{_WRITING}\b", "yes"),
    ],
    "camera": [
        (r"\bcamera (?:is |stays |remains )?(?:almost )?(?:still|static|fixed|steady)\b|\b(?:static|fixed) (?:camera|shot)\b", "still"),
        (r"\bcamera (?:is |keeps )?(?:mov\w+|pans?|panning|zoom\w*|tilts?|shak\w+|track\w*)\b|\bhand-?held\b", "moving"),
    ],
    "shot": [
        (r"\bmedium close-?ups?\b", "medium"),
        (r"\bclose-?ups?\b|\bhead and shoulders\b", "close"),
        (r"\bmedium(?: long)?[ -]shots?\b|\bwaist[- ]up\b", "medium"),
        (r"\b(?:long|wide|full)[ -](?:shots?|body)\b", "long"),
    ],
    "facing": [
        (r"\b(?:facing|faces|looking (?:straight )?(?:at|into)|looks (?:straight )?(?:at|into)) the (?:camera|viewer)\b", "camera"),
        (r"\bin profile\b|\bturned (?:to|away)\b|\blook\w* (?:up|down|away|aside|to the)\b|\bfacing away\b", "away"),
    ],
    "sound": [
        (r"\bsound is clean\b|\b(?:clear|clean) (?:sound|audio)\b", "clean"),
        (r"\bsound is noisy\b|\bnois[ey]\w*\b", "noisy"),
    ],
    "quality": [
        (r"\bhigh[- ](?:picture )?quality\b", "high"),
        (r"\b(?:poor|low)[- ](?:picture )?quality\b|\bblurry\b|\bpixelated\b", "poor"),
    ],
}  # fmt: skip
