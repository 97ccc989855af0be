"""Questions, answers and guidelines in words, for pages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from markupsafe import Markup

from tasks.annotation import answers
from tasks.annotation.confidence import Sure

HOW = {"one": "one of", "many": "any of", "spans": "spans of"}


def questions(task_type: str, body: Mapping[str, Any]) -> list[dict[str, str]]:
    """What a schema asks, one line each: {label, name, how}."""
    if task_type == answers.FLAGS:
        how = "flagged where it is seen, from when to when, with a box if wanted"
        return [{"label": k["label"], "name": k["name"], "how": how} for k in body["kinds"]]
    made = []
    for asked in answers.questions(task_type, body):
        if task_type == answers.LIKERT:
            ends = [
                f"{end} ({asked[k]})" if asked[k] else str(end) for k, end in (("low", 1), ("high", body["points"]))
            ]
            how = f"a rating from {ends[0]} to {ends[1]}"
        elif task_type == answers.PAIRWISE:
            how = "left, right, tie or both bad"
        else:
            how = f"{HOW[asked['how']]} {', '.join(asked['choices'])}"
        made.append({"label": asked["label"], "name": asked["name"], "how": how})
    return made


def asked_of(task_type: str, text: str) -> list[dict[str, str]]:
    """Of a body as JSON text; empty while that is none that its type allows."""
    try:
        return questions(task_type, answers.checked_body(task_type, json.loads(text)))
    except (ValueError, AttributeError, TypeError, RecursionError):
        return []


def value(task_type: str, body: Mapping[str, Any], told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(question, what was said) of an answer or a label, in the item's own order of sides."""
    if task_type == answers.FLAGS:
        named = {k["name"]: k["label"] for k in body["kinds"]}
        flags = [
            f"{named.get(f['kind'], f['kind'])} {_span(f)}{' with a box' if f.get('box') else ''}"
            for f in told["flags"]
        ]
        return [("Bad cases", ", ".join(flags) or "none")]
    return [(q["label"], part(told[q["name"]])) for q in answers.questions(task_type, body)]


def part(told: Any) -> str:
    """One part of an answer: a rating, a choice, several, spans."""
    if isinstance(told, list):
        return ", ".join(f"{p['label']} {_span(p)}" if isinstance(p, dict) else str(p) for p in told) or "none"
    if isinstance(told, bool):
        return "there" if told else "not there"
    return str(told).replace("_", " ")


def _span(span: Mapping[str, Any]) -> str:
    return f"{span['start_s']:.2f}–{span['end_s']:.2f} s"


def short(task_type: str, body: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    """A label in one line of a table."""
    said = value(task_type, body, told)
    return (
        said[0][1] if len(said) == 1 else " · ".join(f"{question.rstrip('?: ')}: {answer}" for question, answer in said)
    )


def doubts(questions: Mapping[str, Sure]) -> str:
    """Why a label is to be looked at again: what is not sure, and what the answers make more probable."""
    return "; ".join(
        f"{name.replace('_', ' ')} {s.confidence:.2f}" + (f", more probably {part(s.likeliest)}" if s.differs else "")
        for name, s in questions.items()
    )


@cache
def _markdown() -> Any:
    from markdown_it import MarkdownIt

    kept: Sequence[str] = ("list", "heading", "emphasis", "escape")
    # No HTML, no links, no pictures: guidelines are written by one person and read by many.
    return MarkdownIt("zero", {"html": False, "breaks": True}).enable([*kept, "newline"])


def prose(text: str) -> Markup:
    """Guidelines as they are read: paragraphs, lines, lists, headings, *emphasis* and **bold** of Markdown, and nothing else."""
    # Headings begin below those of the page.
    tokens = _markdown().parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
    md = _markdown()
    return Markup(md.renderer.render(tokens, md.options, {}))  # noqa: S704 - html is off: all text is escaped
