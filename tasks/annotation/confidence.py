"""How sure each question of a label is: the Dawid-Skene posterior of its value, given all answers of the label's batch.

It stands beside the label and never changes it. Where it says something else than the label, a reviewer is to look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil, floor, prod
from typing import Any

from tasks.annotation import answers, truth

MIN_COMPARED = 20
"""A batch with fewer items that two or more people answered does not tell how people err: nothing has a confidence."""
SHARED = 5.0
"""Each rater's errors are taken for those of all raters until about so many answers to a class tell otherwise."""
DOUBTFUL = 0.8
"""Under it a label is to be looked at again."""
TOLERANCE = 1e-3
"""Of the posteriors: a fiftieth of a step, in a fifth of the rounds that the last digits take."""
STEP = 0.05
"""A confidence that moved by less than this is not delivered again."""
REVIEWER = 0
"""The rater that all reviewers are together: an item has one review, and one reviewer may have few."""


@dataclass(frozen=True)
class Variable:
    """What has one of few values in each answer: a rating, a choice, whether a kind was raised or a choice taken."""

    question: str
    classes: Sequence[Any]
    of: Callable[[Mapping[str, Any]], Any]
    """Its class in an answer; in a label, of a rating, maybe between two."""
    name: str | None = None
    """Of a question with several: the kind or choice."""


@dataclass(frozen=True)
class Sure:
    """Of one question of a label."""

    confidence: float
    """Posterior probability of the label's value, in [0, 1]. Of a rating between two grades, of either; of several choices, or
    labels of spans, of all of them, taken as independent. Where a span begins and ends is no part of it."""
    likeliest: Any
    """The most probable value: a grade, a choice, whether a kind is there, or the list of choices."""
    differs: bool
    """Whether that is another one than the label's."""

    @property
    def doubtful(self) -> bool:
        return self.differs or self.confidence < DOUBTFUL


def variables(task_type: str, body: Mapping[str, Any]) -> list[Variable]:
    """Of a schema, by its questions; of flags a question is a kind of bad case, as in the record.

    The grades of a rating are classes without an order: the confusion matrix itself learns that a 4 is given for a 5 more
    often than a 1 is, and whose ratings run low, for which a model of normal errors would need a scale of equal steps.
    """
    if task_type == answers.FLAGS:
        return [Variable(k["name"], (False, True), _has("flags", "kind", k["name"])) for k in body["kinds"]]
    made = []
    for asked in answers.questions(task_type, body):
        name = asked["name"]
        if task_type == answers.LIKERT:
            made.append(Variable(name, range(1, body["points"] + 1), _part(name)))
        elif task_type == answers.PAIRWISE or asked["how"] == "one":
            made.append(Variable(name, asked.get("choices", answers.CHOICES), _part(name)))
        else:
            key = "label" if asked["how"] == "spans" else ""
            made += [Variable(name, (False, True), _has(name, key, c), c) for c in asked["choices"]]
    return made


def _part(name: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda value: value[name]


def _has(name: str, key: str, wanted: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda value: any((part[key] if key else part) == wanted for part in value[name])


def of_labels(
    batch: Mapping[str, Any], votes: Sequence[Mapping[str, Any]], labels: Sequence[Mapping[str, Any]]
) -> dict[int, dict[str, Sure]]:
    """By item and question; empty where too few answers tell, and without an item that nobody's answer counts for.

    `batch` has task_type and body; `votes` are store.annotation_items.votes_in, ordered by item; `labels` have item_id, value.
    """
    num_answers = [len(list(group)) for _, group in groupby(votes, key=lambda v: v["item_id"])]
    if sum(num > 1 for num in num_answers) < MIN_COMPARED:
        return {}
    asked = variables(batch["task_type"], batch["body"])
    place = {item: i for i, item in enumerate(dict.fromkeys(v["item_id"] for v in votes))}
    who = {p: i for i, p in enumerate(sorted({_rater(v) for v in votes}))}
    known = [label for label in labels if label["item_id"] in place]
    found: dict[int, dict[str, list[tuple[Variable, float, Any, bool]]]] = {x["item_id"]: {} for x in known}
    for variable in asked:
        number = {c: i for i, c in enumerate(variable.classes)}
        told = [(place[v["item_id"]], who[_rater(v)], number[variable.of(v["value"])]) for v in votes]
        posterior = truth.dawid_skene(
            told, len(place), len(who), len(number), shared=SHARED, tolerance=TOLERANCE
        ).posterior
        for label in known:
            row, value = posterior[place[label["item_id"]]], variable.of(label["value"])
            held = {value} if value in number else {floor(value), ceil(value)}
            likeliest = variable.classes[int(row.argmax())]
            sure = min(1.0, float(sum(row[number[h]] for h in sorted(held))))
            parts = found[label["item_id"]].setdefault(variable.question, [])
            parts.append((variable, sure, likeliest, likeliest not in held))
    return {item: {q: _joined(parts) for q, parts in by_question.items()} for item, by_question in found.items()}


def _rater(vote: Mapping[str, Any]) -> int:
    return REVIEWER if vote["purpose"] == "review" else int(vote["person_id"])


def _joined(parts: Sequence[tuple[Variable, float, Any, bool]]) -> Sure:
    several = parts[0][0].name is not None
    likeliest = [v.name for v, _, there, _ in parts if there] if several else parts[0][2]
    return Sure(round(prod(sure for _, sure, _, _ in parts), 4), likeliest, any(differs for *_, differs in parts))


def to_look_at(labels: Sequence[Mapping[str, Any]], sure: Mapping[int, Mapping[str, Sure]]) -> list[Mapping[str, Any]]:
    """Labels that the raters alone decided and that are doubtful, the least sure first: {item_id, value, questions: {name:
    Sure}, least}. One that a reviewer decided, or has before him, is not among them."""
    found = []
    for label in labels:
        if label["how"] != "consensus" or label["state"] != "done":
            continue
        questions = {q: s for q, s in sure.get(label["item_id"], {}).items() if s.doubtful}
        if questions:
            least = min(s.confidence for s in questions.values())
            found.append({**label, "questions": questions, "least": least})
    return sorted(found, key=lambda x: (x["least"], x["item_id"]))


def least(sure: Mapping[str, Sure]) -> float | None:
    return min((s.confidence for s in sure.values()), default=None)
