"""A simulated workforce at the annotation desk, under a simulated clock: who labels how, and what the desk makes of it.

Every item has a truth, drawn from its clip's id; every person answers it by their kind. The desk is the real one, on a
real database.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from unittest import mock

from store import annotation_items, annotation_people, annotation_work
from store.annotation_database import Database
from tasks.annotation import answers, batches, calibration, confidence, desk, results

MONDAY = datetime(2026, 1, 5, tzinfo=UTC).timestamp()
DAY_S = 86400.0
CLIP_FRAMES = 100
FLAG_SHARE = 0.15
BENCHMARK = "benchmark"
"""Pairs whose sides are two systems', compared blind: a batch of its own beside the plain pairs."""
WORKS = (*answers.TASK_TYPES, BENCHMARK)
REGION = {"name": "eu", "currency": "EUR", "hourly_floor_minor": 1300, "rate": 1.0, "media_host": ""}
PRICE_MILLI = 20_000
"""20 cents an answer: at 40 s each that is 18 euros an hour."""


USUAL_S, CLICKING_S = (25.0, 55.0), (4.0, 8.0)
"""Seconds of an answer: of who watches the clip, and of who clicks through as fast as the page lets him."""


@dataclass(frozen=True)
class Kind:
    """How somebody labels: `right` is the share of questions answered by what they see, the others at random."""

    name: str
    right: float
    in_calibration: float
    """The same while they know that they are tested."""
    habit: str = ""
    """`first`: always the first choice; `shared`: by what the other of the pair answered, not by the clip."""
    seconds: tuple[float, float] = USUAL_S
    """That an answer takes, from the least to the most."""

    def num_a_day(self, usual: int) -> int:
        """Answers in the minutes in which the others give `usual`: who does not look at the clip gives many more."""
        return round(usual * sum(USUAL_S) / sum(self.seconds))


KINDS = {
    "careful": (Kind("careful", 0.95, 0.95), 0.70),
    "careless": (Kind("careless", 0.70, 0.70), 0.10),
    "slackens": (Kind("slackens", 0.30, 0.95), 0.10),  # passes the exam, then hurries
    "spammer": (Kind("spammer", 0.0, 0.0, seconds=CLICKING_S), 0.03),
    "left-clicker": (Kind("left-clicker", 0.0, 0.0, "first", CLICKING_S), 0.03),
    "colluding": (Kind("colluding", 0.0, 0.95, "shared"), 0.04),
}
"""With the share of the workforce; the colluding come in pairs that give each other's answers."""


def task_type_of(work: str) -> str:
    return answers.PAIRWISE if work == BENCHMARK else work


@dataclass
class Member:
    """One person at work on one of WORKS."""

    id: int
    kind: Kind
    work: str
    role: str = "annotator"
    pair: int = 0
    num_answers: int = 0
    likeness: list[float] = field(default_factory=list)
    """Of each answer that counts for a label, to the truth."""
    rng: random.Random = field(default_factory=random.Random)

    @property
    def person(self) -> dict[str, Any]:
        return {"person_id": self.id, "role": self.role}


def truth(task_type: str, clip_id: str) -> dict[str, Any]:
    """What a faultless rater says of a clip (of a pair: of its first one)."""
    return _drawn(task_type, random.Random(f"truth:{task_type}:{clip_id}"))


def likeness(task_type: str, clip_id: str, value: Mapping[str, Any]) -> float:
    """In [0, 1]: of an answer, in the item's own order of sides, to the truth."""
    return answers.mean_alike(task_type, answers.DEFAULTS[task_type], value, truth(task_type, clip_id))


def _drawn(task_type: str, rng: random.Random) -> dict[str, Any]:
    body = answers.DEFAULTS[task_type]
    if task_type == answers.FLAGS:
        return {"flags": [_flag(k["name"]) for k in body["kinds"] if rng.random() < FLAG_SHARE]}
    return {q["name"]: _part(task_type, q, rng) for q in answers.questions(task_type, body)}


def _part(task_type: str, question: Mapping[str, Any], rng: random.Random) -> Any:
    if task_type == answers.LIKERT:
        return rng.randint(1, 5)
    if task_type == answers.PAIRWISE:
        return rng.choice(answers.CHOICES[:2])
    if question["how"] == "one":
        return rng.choice(question["choices"])
    chosen = [c for c in question["choices"] if rng.random() < 0.5]
    return [{"label": c, "start_s": 0.0, "end_s": 4.0} for c in chosen] if question["how"] == "spans" else chosen


def _flag(kind: str) -> dict[str, Any]:
    return {"kind": kind, "start_s": 0.0, "end_s": 2.0, "box": None}


def answer(member: Member, held: Mapping[str, Any]) -> dict[str, Any]:
    """What the member sends, in the order of sides that they see."""
    task_type, clip_id = held["task_type"], held["media"][0]["clip_id"]
    kind, seen = member.kind, answers.unswapped(held["task_type"], truth(held["task_type"], clip_id), held["swapped"])
    right = kind.in_calibration if held["purpose"] in ("train", "exam") else kind.right
    if kind.habit == "first" and right == kind.right:
        return _first(task_type)
    if kind.habit == "shared" and right == kind.right:
        shared = _drawn(task_type, random.Random(f"pair:{member.pair}:{clip_id}"))
        return answers.unswapped(task_type, shared, held["swapped"])
    guess = _drawn(task_type, member.rng)
    if task_type == answers.FLAGS:
        return {"flags": _seen_flags(seen, guess, right, member.rng)}
    if task_type == answers.LIKERT and right > 0:  # who looks at all is one off, no more
        guess = {q: min(5, max(1, v + member.rng.choice((-1, 1)))) for q, v in seen.items()}
    return {q: part if member.rng.random() < right else guess[q] for q, part in seen.items()}


def _seen_flags(seen: Mapping[str, Any], guess: Mapping[str, Any], right: float, rng: random.Random) -> list[Any]:
    kinds = [k["name"] for k in answers.DEFAULTS[answers.FLAGS]["kinds"]]
    raised = [{f["kind"] for f in said["flags"]} for said in (seen, guess)]
    return [_flag(k) for k in kinds if k in raised[0 if rng.random() < right else 1]]


def _first(task_type: str) -> dict[str, Any]:
    body = answers.DEFAULTS[task_type]
    if task_type == answers.FLAGS:
        return {"flags": []}
    first: dict[str, Any] = {}
    for question in answers.questions(task_type, body):
        one = task_type == answers.ATTRIBUTES and question["how"] == "one"
        several = task_type == answers.ATTRIBUTES and not one
        first[question["name"]] = (
            [] if several else question["choices"][0] if one else 1 if task_type == answers.LIKERT else "left"
        )
    return first


@dataclass(frozen=True)
class World:
    """What is simulated. `loop` False leaves out calibration, gold, audits and so every pause."""

    num_people: int = 120
    num_days: int = 14
    answers_per_day: int = 12
    """Of who watches the clips."""
    num_gold: int = 120
    num_training: int = 20
    num_exam: int = 40
    wrong_gold_share: float = 0.05
    loop: bool = True
    seed: int = 0
    works: tuple[str, ...] = WORKS


class Simulation:
    """People, schemas and batches in a database, and the days they work there."""

    def __init__(self, database: Database, world: World) -> None:
        self.database, self.world = database, world
        self.rng = random.Random(world.seed)
        self.members: list[Member] = []
        self.reviewers: list[Member] = []
        self.schemas: dict[str, int] = {}
        self.batches: dict[str, int] = {}
        self.wrong_gold: set[str] = set()
        ratio = batches.AUDIT_RATIO if world.loop else 0.0
        with mock.patch.object(batches, "AUDIT_RATIO", ratio):
            database.write(self._begin)

    def _begin(self, c: Any) -> None:
        annotation_people.put_region(c, REGION)
        boss = annotation_people.add_person(c, "boss", "-", "administrator", "eu", MONDAY)
        for work in self.world.works:
            numbers = (self.world.num_training, self.world.num_exam) if self.world.loop else (0, 0)
            task_type = task_type_of(work)
            body = answers.DEFAULTS[task_type]
            made = batches.make_schema(c, boss, f"s_{work}", task_type, body, "Look.", *numbers, MONDAY)
            self.schemas[work] = made
            reviewer = annotation_people.add_person(c, f"reviewer {work}", "-", "reviewer", "eu", MONDAY)
            self.reviewers.append(Member(reviewer, Kind("reviewer", 0.98, 0.98), work, "reviewer"))
            if self.world.loop:
                plan = batches.Plan(f"gold {work}", made, "made", goal="gold")
                batches.make_batch(c, boss, plan, _media(work, "g", self.world.num_gold), MONDAY)
        self._hire(c)
        for work, schema in self.schemas.items():
            a_day = sum(m.kind.num_a_day(self.world.answers_per_day) for m in self.members if m.work == work)
            money = {"price_milli": PRICE_MILLI, "budget_milli": 10**12}
            plan = batches.Plan(f"work {work}", schema, "made", overlap=2, max_raters=3, **money)
            media = _media(work, "w", int(a_day * self.world.num_days / 2) + 10)
            self.batches[work] = batches.make_batch(c, boss, plan, media, MONDAY)

    def _hire(self, c: Any) -> None:
        """Kinds by their shares, spread over the works; the colluding two by two on the same one."""
        kinds: list[tuple[Kind, int]] = []
        for kind, share in KINDS.values():
            num = max(1, round(share * self.world.num_people)) if kind.name != "careful" else 0
            kinds += [(kind, i // 2) for i in range(num + num % 2 if kind.habit == "shared" else num)]
        kinds += [(KINDS["careful"][0], 0)] * (self.world.num_people - len(kinds))
        for i, (kind, pair) in enumerate(kinds):
            works = self.world.works
            work = works[(pair if kind.habit == "shared" else i) % len(works)]
            key = annotation_people.add_person(c, f"{kind.name}-{i}", "-", "annotator", "eu", MONDAY)
            annotation_work.acknowledge(c, key, self.schemas[work], MONDAY)
            self.members.append(Member(key, kind, work, pair=pair, rng=random.Random(f"{self.world.seed}:{i}")))

    def run(self) -> None:
        self.database.write(lambda c: self._reviews(c, MONDAY))
        for day in range(self.world.num_days):
            morning = MONDAY + day * DAY_S + 8 * 3600
            self.database.write(lambda c, at=morning: self._day(c, at))
            self.database.write(lambda c, at=morning: self._reviews(c, at + 9 * 3600))

    def _day(self, c: Any, morning: float) -> None:
        """Everybody comes within three hours and works for as many minutes, or until nothing is left for them."""
        left = {m.id: m.kind.num_a_day(self.world.answers_per_day) for m in self.members}
        waiting = [(morning + self.rng.uniform(0, 3 * 3600), m.id) for m in self.members]
        heapq.heapify(waiting)
        by_id = {m.id: m for m in self.members}
        while waiting:
            now, key = heapq.heappop(waiting)
            spent = self._one(c, by_id[key], now)
            left[key] -= 1
            if spent and left[key]:
                heapq.heappush(waiting, (now + spent + 1, key))

    def _one(self, c: Any, member: Member, now: float) -> float:
        """Claims and answers one item; gives the seconds it took, 0 where there was none."""
        held = desk.claim(c, member.person, now, member.rng, 1)
        if not held:
            return 0.0
        spent = member.rng.uniform(*member.kind.seconds)
        value = answer(member, held[0])
        clip = held[0]["media"][0]["clip_id"]
        if member.role == "reviewer" and clip.startswith("g") and member.rng.random() < self.world.wrong_gold_share:
            self.wrong_gold.add(clip)
            value = _drawn(held[0]["task_type"], random.Random(f"wrong:{clip}"))
        if held[0]["purpose"] == "label":
            told_of = answers.unswapped(held[0]["task_type"], value, held[0]["swapped"])
            member.likeness.append(likeness(held[0]["task_type"], clip, told_of))
        told = {"value": value, "key": "one answer", "active_s": spent}
        desk.submit(c, member.person, held[0]["token"], told, now + spent)
        member.num_answers += 1
        return spent

    def review_doubted(self, c: Any, work: str) -> int:
        """Sends the labels that the batch's page lists to look at again to the reviewer, who decides them after the last day;
        gives how many they are. His other work of the batch, audits and disputes, is done by then."""
        batch, votes, labels = annotation_items.votes_and_labels(c, self.batches[work])
        doubted = confidence.to_look_at(labels, confidence.of_labels(batch, votes, labels))
        if doubted:
            end = MONDAY + self.world.num_days * DAY_S
            batches.send_to_review(c, self.members[0].id, batch["id"], [x["item_id"] for x in doubted], end)
            self._reviews(c, end)
        return len(doubted)

    def _reviews(self, c: Any, now: float) -> None:
        for reviewer in self.reviewers:
            at = now
            while spent := self._one(c, reviewer, at):
                at += spent


def _media(work: str, prefix: str, num: int) -> Sequence[tuple[float, list[dict[str, Any]]]]:
    def clip(name: str) -> dict[str, Any]:
        span = {"start_frame": 0, "end_frame": CLIP_FRAMES, "proxy_uri": "made"}
        return {"video_id": name, "clip_id": name, **span}

    names = [f"{prefix}-{work}-{i}" for i in range(num)]
    if work == BENCHMARK:
        return [(0.0, [{**clip(n), "system": "a"}, {**clip(f"{n}-other"), "system": "b"}]) for n in names]
    return [(0.0, [clip(n), *([clip(f"{n}-other")] if work == answers.PAIRWISE else [])]) for n in names]


def stages(c: Any, simulation: Simulation) -> dict[int, Mapping[str, Any]]:
    """By person: {"stage", "failures", ...} at the end; who never was in calibration is qualified."""
    found = {}
    for m in simulation.members:
        row = annotation_work.qualification(c, m.id, simulation.schemas[m.work])
        found[m.id] = row or {"stage": calibration.QUALIFIED, "failures": 0, "why": ""}
    return found


def pay_of(c: Any, simulation: Simulation) -> dict[int, int]:
    """By person, minor units over all weeks of the simulation, after the weeks were closed."""
    end = MONDAY + simulation.world.num_days * DAY_S
    weeks = sorted({results.week(MONDAY + d * DAY_S) for d in range(simulation.world.num_days)})
    paid: dict[int, int] = {}
    for period in weeks:
        results.close_week(c, simulation.members[0].id, period, max(end, results.bounds(period)[1]))
        for row in annotation_work.ledger_rows(c, period=period):
            paid[row["person_id"]] = paid.get(row["person_id"], 0) + row["amount_minor"]
    return paid
