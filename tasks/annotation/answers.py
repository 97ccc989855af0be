"""The task types: what a schema of each may say, what an answer must hold, and how alike two answers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from store.label_views import RATING_POINTS, RATINGS

LIKERT, PAIRWISE, FLAGS, ATTRIBUTES = "likert", "pairwise", "flags", "attributes"
TASK_TYPES = (LIKERT, PAIRWISE, FLAGS, ATTRIBUTES)
CHOICES = ("left", "right", "tie", "both_bad")
"""Of a pairwise answer as it is stored: left and right are the item's own order, whatever side the rater saw."""
SWAPPED = {"left": "right", "right": "left"}
SPAN_IOU = 0.5
"""From this overlap on, two spans of one label are the same event."""

DEFAULTS: dict[str, dict[str, Any]] = {
    LIKERT: {
        "points": 5,
        "dimensions": [
            {"name": "visual_quality", "label": "Visual quality", "low": "unusable", "high": "flawless"},
            {"name": "facial_naturalness", "label": "Facial naturalness", "low": "artificial", "high": "like life"},
            {"name": "lip_sync", "label": "Lip-sync accuracy", "low": "unrelated", "high": "exact"},
            {"name": "motion_smoothness", "label": "Motion smoothness", "low": "jumpy", "high": "smooth"},
        ],
    },
    PAIRWISE: {
        "dimensions": [
            {"name": "identity", "label": "Which keeps the person's identity better?"},
            {"name": "expression", "label": "Which has the better expression?"},
            {"name": "sync", "label": "Which fits the voice better?"},
        ]
    },
    FLAGS: {
        "kinds": [
            {"name": "identity_drift", "label": "Identity drift"},
            {"name": "teeth", "label": "Teeth"},
            {"name": "occlusion_glitch", "label": "Occlusion glitch"},
            {"name": "asymmetric_blink", "label": "Asymmetric blink"},
        ]
    },
    ATTRIBUTES: {
        "attributes": [
            {"name": "gaze", "label": "Gaze", "how": "one", "choices": ["camera", "away", "mixed"]},
            {"name": "emotion", "label": "Emotion", "how": "one", "choices": ["neutral", "happy", "sad", "angry", "other"]},
            {"name": "speaking_style", "label": "Speaking style", "how": "many", "choices": ["calm", "lively", "reading"]},
            {"name": "gesture", "label": "Gesture", "how": "spans", "choices": ["hands", "nod", "shrug"]},
        ]
    },
}  # fmt: skip


def questions(task_type: str, body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What an answer must answer, one entry per dimension or attribute; for flags there is one: which kinds."""
    if task_type == FLAGS:
        return [{"name": "flags", "label": "Bad cases"}]
    found: list[Mapping[str, Any]] = body["attributes" if task_type == ATTRIBUTES else "dimensions"]
    return found


def checked_body(task_type: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """A schema's body with nothing but what its type knows. Raises ValueError that names what is wrong."""
    if task_type not in TASK_TYPES:
        raise ValueError(f"task type {task_type!r} is none of {', '.join(TASK_TYPES)}")
    key = {FLAGS: "kinds", ATTRIBUTES: "attributes"}.get(task_type, "dimensions")
    entries = body.get(key)
    if not isinstance(entries, list) or not 1 <= len(entries) <= 9:
        raise ValueError(f"a {task_type} schema needs 1 to 9 {key}: one per key of the keyboard")
    kept = [_checked_entry(task_type, key, entry) for entry in entries]
    if len({e["name"] for e in kept}) != len(kept):
        raise ValueError(f"two {key} have the same name")
    names = [e["name"] for e in kept]
    return {key: kept} | ({"points": _checked_points(body, names)} if task_type == LIKERT else {})


def _checked_points(body: Mapping[str, Any], names: Sequence[str]) -> int:
    points = body.get("points", 5)
    if not isinstance(points, int) or not 2 <= points <= 9:
        raise ValueError(f"points {points!r}: a Likert scale has 2 to 9")
    taken = [name for name in names if name in RATINGS.values()]
    if points != RATING_POINTS and taken:
        raise ValueError(
            f"points {points}: {taken[0]} is a column of `labels` that tiers compare on a scale of 1 to {RATING_POINTS}; give "
            f"{RATING_POINTS} points, or the dimension another name, as {taken[0]}_{points}"
        )
    return points


def _checked_entry(task_type: str, key: str, entry: Any) -> dict[str, Any]:
    name = str(entry.get("name", "")) if isinstance(entry, dict) else ""
    if not (name.isidentifier() and name.islower()):
        raise ValueError(f"{key}: {name!r} is no name; write it in lower case with underscores, as lip_sync")
    kept: dict[str, Any] = {"name": name, "label": str(entry.get("label") or name)}
    if task_type == LIKERT:
        kept |= {"low": str(entry.get("low", "")), "high": str(entry.get("high", ""))}
    if task_type == ATTRIBUTES:
        how, choices = entry.get("how", "one"), entry.get("choices")
        if how not in ("one", "many", "spans"):
            raise ValueError(f"{name}: how {how!r} is none of one, many, spans")
        if not isinstance(choices, list) or not 2 <= len(set(map(str, choices))) == len(choices) <= 9:
            raise ValueError(f"{name}: needs 2 to 9 different choices")
        kept |= {"how": how, "choices": [str(c) for c in choices]}
    return kept


def checked(task_type: str, body: Mapping[str, Any], value: Any, duration_s: float) -> dict[str, Any]:
    """An answer with nothing but what its schema asks for. Raises ValueError for a missing or wrong part."""
    if not isinstance(value, dict):
        raise ValueError("an answer is an object by question")
    if task_type == FLAGS:
        kinds = [k["name"] for k in body["kinds"]]
        return {"flags": [_checked_span(f, "kind", kinds, duration_s) for f in _listed(value.get("flags"), "flags")]}
    return {
        q["name"]: _checked_part(task_type, body, q, value.get(q["name"]), duration_s)
        for q in questions(task_type, body)
    }


def _checked_part(
    task_type: str, body: Mapping[str, Any], question: Mapping[str, Any], part: Any, duration_s: float
) -> Any:
    name = question["name"]
    if task_type == LIKERT:
        if type(part) is not int or not 1 <= part <= body["points"]:
            raise ValueError(f"{name}: {part!r} is no rating from 1 to {body['points']}")
        return part
    allowed = CHOICES if task_type == PAIRWISE else tuple(question["choices"])
    if task_type == PAIRWISE or question["how"] == "one":
        if part not in allowed:
            raise ValueError(f"{name}: {part!r} is none of {', '.join(allowed)}")
        return part
    if question["how"] == "spans":
        return [_checked_span(s, "label", allowed, duration_s) for s in _listed(part, name)]
    if unknown := [c for c in _listed(part, name) if c not in allowed]:
        raise ValueError(f"{name}: {unknown[0]!r} is none of {', '.join(allowed)}")
    return sorted(set(part))


def _listed(part: Any, name: str) -> list[Any]:
    if not isinstance(part, list) or len(part) > 100:
        raise ValueError(f"{name}: a list of at most 100 is needed")
    return part


def _checked_span(span: Any, key: str, allowed: Sequence[str], duration_s: float) -> dict[str, Any]:
    """{key, start_s, end_s, box}; the box is x0, y0, x1, y1 as shares of the frame, in [0, 1], or None."""
    if not isinstance(span, dict) or span.get(key) not in allowed:
        raise ValueError(f"a span's {key} must be one of {', '.join(allowed)}")
    start, end = _number(span.get("start_s")), _number(span.get("end_s"))
    if not 0 <= start < end <= duration_s + 0.04:
        raise ValueError(f"span {start:g} to {end:g} s: must lie within the clip's {duration_s:g} s and not be empty")
    made = {key: span[key], "start_s": round(start, 3), "end_s": round(min(end, duration_s), 3)}
    if key != "kind":
        return made
    box = span.get("box")
    if box is not None:
        x0, y0, x1, y1 = [_number(v) for v in box] if isinstance(box, list) and len(box) == 4 else [0.0] * 4
        if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
            raise ValueError(f"box {box!r}: needs x0 < x1 and y0 < y1 within [0, 1]")
        box = [round(v, 4) for v in (x0, y0, x1, y1)]
    return made | {"box": box}


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e9 < value < 1e9:
        raise ValueError(f"{value!r} is no number")
    return float(value)


def unswapped(task_type: str, value: Mapping[str, Any], swapped: bool) -> dict[str, Any]:
    """The answer in the item's own order of sides, given as the rater saw them."""
    if task_type != PAIRWISE or not swapped:
        return dict(value)
    return {name: SWAPPED.get(side, side) for name, side in value.items()}


def alike(
    task_type: str, body: Mapping[str, Any], one: Mapping[str, Any], other: Mapping[str, Any]
) -> dict[str, float]:
    """How alike two answers are by question, in [0, 1].

    Likert: 1 - |a - b| / 2, not below 0. Pairwise and single attributes: equal or not. Multiple attributes: Jaccard.
    Spans: F1 of the spans matched at IoU 0.5. Flags: the positive-specific agreement of the kinds raised,
    2|A and B| / (|A| + |B|); two answers that raise none are alike, but agree on nothing positive, so there the question is
    left out: it would let pass who flags at random, since most clips have nothing to flag.
    """
    if task_type == FLAGS:
        kinds = [{f["kind"] for f in answer["flags"]} for answer in (one, other)]
        return {"flags": _dice(kinds[0], kinds[1])} if kinds[0] or kinds[1] else {}
    return {q["name"]: part_alike(task_type, q, one[q["name"]], other[q["name"]]) for q in questions(task_type, body)}


def weight(task_type: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """What a comparison of two answers weighs among others: 1, and of flags the kinds that they raised, on average.

    So weighted, the mean of `alike` is the positive-specific agreement pooled over items. Unweighted, one flag too many on a
    clean clip would undo a clip with three that were all found.
    """
    if task_type != FLAGS:
        return 1.0
    return sum(len({f["kind"] for f in answer["flags"]}) for answer in (one, other)) / 2


def part_alike(task_type: str, question: Mapping[str, Any], a: Any, b: Any) -> float:
    if task_type == LIKERT:
        return max(0.0, 1 - abs(float(a) - float(b)) / 2)
    if task_type == PAIRWISE or question["how"] == "one":
        return float(a == b)
    if question["how"] == "many":
        union = set(a) | set(b)
        return len(set(a) & set(b)) / len(union) if union else 1.0
    return span_f1(a, b)


def mean_alike(task_type: str, body: Mapping[str, Any], one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    return mean_of(alike(task_type, body, one, other))


def mean_of(by_question: Mapping[str, float]) -> float:
    """Over the questions; of none, where both raised no flag, 1."""
    return sum(by_question.values()) / len(by_question) if by_question else 1.0


def span_f1(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> float:
    """F1 of labelled spans matched one to one, best overlap first, at IoU of at least 0.5; 1 when both are empty."""
    if not one and not other:
        return 1.0
    pairs = sorted(((_iou(a, b), i, j) for i, a in enumerate(one) for j, b in enumerate(other)), reverse=True)
    used: tuple[set[int], set[int]] = (set(), set())
    for overlap, i, j in pairs:
        if overlap >= SPAN_IOU and i not in used[0] and j not in used[1]:
            used[0].add(i)
            used[1].add(j)
    return 2 * len(used[0]) / (len(one) + len(other))


def _iou(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    if a["label"] != b["label"]:
        return 0.0
    shared = min(a["end_s"], b["end_s"]) - max(a["start_s"], b["start_s"])
    union = max(a["end_s"], b["end_s"]) - min(a["start_s"], b["start_s"])
    return float(max(0.0, shared) / union)


def _dice(a: set[str], b: set[str]) -> float:
    return 2 * len(a & b) / (len(a) + len(b))
