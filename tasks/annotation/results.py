"""What came of it: a batch's agreement and labels, people's standing, pay by week."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import numpy as np

from infra.settings import Settings
from store import annotation_people, annotation_work
from store.annotation_database import existing
from tasks.annotation import agreement, answers, confidence, money, pay, ranking, truth
from tasks.annotation.agreement import Estimate, Question


def agreement_of(batch: Mapping[str, Any], given: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Agreement by question, the share of left choices for pairs, and raters' accuracy by Dawid-Skene.

    `batch` is store.annotation_work.batch, `given` its answers_in.
    """
    items = [[a["value"] for a in group] for _, group in groupby(given, key=lambda a: a["item_id"])]
    found: list[Question] = agreement.by_question(batch["task_type"], batch["body"], items)
    compared = given if any(len(values) > 1 for values in items) else []  # one rater alone agrees with himself
    told: dict[str, Any] = {"questions": found, "raters": raters(batch["task_type"], batch["body"], compared)}
    if batch["task_type"] == answers.PAIRWISE:
        told["left_share"] = left_share(given)
    return told


def left_share(given: Sequence[Mapping[str, Any]]) -> Estimate:
    """Of all choices of a side, those of the one that stood on the left of the screen."""
    seen = [answers.unswapped(answers.PAIRWISE, a["value"], a["swapped"]) for a in given]  # swapping is its own inverse
    return agreement.left_share([side for value in seen for side in value.values()])


def rankings(
    batch: Mapping[str, Any], given: Sequence[Mapping[str, Any]], systems: Mapping[int, tuple[str, str, str | None]]
) -> dict[str, ranking.Ranking]:
    """By question, the systems that a benchmark compares; empty for other batches. `systems` is systems_in."""
    asked = [a for a in given if a["item_id"] in systems]
    if not asked:
        return {}
    sides = {item: (one, other) for item, (one, other, _) in systems.items()}
    prompts = {item: prompt for item, (_, _, prompt) in systems.items() if prompt is not None}
    names = [q["name"] for q in answers.questions(batch["task_type"], batch["body"])]
    votes = {n: [(a["item_id"], a["person_id"], a["value"][n]) for a in asked] for n in names}
    return {n: ranking.ranked(votes[n], sides, prompts) for n in names}


def rankings_of(settings: Settings, name: str) -> dict[str, Any]:
    """The rankings of a workspace's batch, by its name or number: {"batch", "questions": {question: ranking}}, a ranking
    {"num_items", "num_prompts", "num_raters", "systems": the first rank first}, a system {"system", "rank" (None where no
    interval separates any two), "elo", "low", "high", "not_told_apart", "win_rates": {other: None where they never met}}.

    Raises ValueError for a batch that is not there, compares no systems, or has no answer yet.
    """
    database = existing(settings)
    if database is None:
        raise ValueError("nobody was asked anything in this workspace; headroom annotate makes batches")
    try:
        batch, given, systems = database.read(lambda c: _compared(c, name))
    finally:
        database.close()
    found = rankings(batch, given, systems)
    if not found:
        why = "has no answers yet; come back when raters have answered" if systems else "compares no systems"
        raise ValueError(f"batch {batch['name']!r} {why}")
    return {"batch": batch["name"], "questions": {question: _told(one) for question, one in found.items()}}


def _compared(c: Any, name: str) -> tuple[Mapping[str, Any], list[Any], dict[int, tuple[str, str, str | None]]]:
    """The batch, with its answers and what made the sides of its items."""
    batch = named(c, name)
    return batch, annotation_work.answers_in(c, batch["id"]), annotation_work.systems_in(c, batch["id"])


def named(c: Any, name: str) -> dict[str, Any]:
    """A batch by its name or number. Raises ValueError for one that is not there."""
    held = {b["name"]: b["id"] for b in annotation_work.all_batches(c)}
    number = int(name) if name.isascii() and name.isdigit() and len(name) < 10 else 0
    batch = annotation_work.batch(c, held.get(name, number))
    if batch is None:
        raise ValueError(f"there is no batch {name!r}; there are {', '.join(held) or 'none yet'}")
    return batch


def _told(found: ranking.Ranking) -> dict[str, Any]:
    separated = max(found.ranks) > 1
    rows = []
    for i, (name, strength) in enumerate(zip(found.systems, found.strengths, strict=True)):
        rates = zip(found.systems, found.win_rates[i], strict=True)
        rows.append(
            {
                "system": name,
                "rank": found.ranks[i] if separated else None,
                "elo": strength.value,
                "low": strength.low,
                "high": strength.high,
                "not_told_apart": list(found.not_told_apart[i]),
                "win_rates": {o: None if math.isnan(rate) else float(rate) for o, rate in rates if o != name},
            }
        )
    counts = {k: getattr(found, k) for k in ("num_items", "num_prompts", "num_raters")}
    return {**counts, "systems": rows}


def raters(task_type: str, body: Mapping[str, Any], given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each rater's accuracy by Dawid-Skene, a mean over all that is asked; empty where nobody was compared."""
    people = {p: i for i, p in enumerate(sorted({a["person_id"] for a in given}))}
    items = {x: i for i, x in enumerate(sorted({a["item_id"] for a in given}))}
    if not given:
        return []
    found = []
    for asked in confidence.variables(task_type, body):
        place = {v: i for i, v in enumerate(asked.classes)}
        triples = [(items[a["item_id"]], people[a["person_id"]], place[asked.of(a["value"])]) for a in given]
        found.append(truth.dawid_skene(triples, len(items), len(people), len(place)).accuracy)
    accuracy = np.mean(found, 0)
    counts = [sum(a["person_id"] == p for a in given) for p in people]
    return [{"person_id": p, "accuracy": float(accuracy[i]), "num_answers": counts[i]} for p, i in people.items()]


def leaderboard(people: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Annotators with 40 audited answers by the lower bound of their agreement; speed plays no part."""
    ranked = [p for p in people if p["role"] == "annotator" and p["active"] and p["quality"] is not None]
    return sorted(ranked, key=lambda p: (-p["quality"], p["login"]))


def top_quartile(people: Sequence[Mapping[str, Any]]) -> set[int]:
    """Ids of the best quarter of the leaderboard: they see better-paid batches first."""
    ranked = leaderboard(people)
    return {int(p["id"]) for p in ranked[: (len(ranked) + 3) // 4]}


def week(now: float) -> str:
    """The ISO week of a time, UTC, as 2026-W48."""
    year, number, _ = datetime.fromtimestamp(now, UTC).isocalendar()
    return f"{year}-W{number:02d}"


def bounds(period: str) -> tuple[float, float]:
    """A week's [start, end). Raises ValueError for what is no week."""
    try:
        start = datetime.strptime(f"{period}-1", "%G-W%V-%u").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"period {period!r}: write an ISO week as 2026-W48") from None
    return start.timestamp(), (start + timedelta(days=7)).timestamp()


def statement(c: Any, person: Mapping[str, Any], period: str) -> pay.Statement:
    """What a person's week comes to as of now, by the terms that his region had when it began, with the corrections of earlier
    weeks that were written into it."""
    start, _ = bounds(period)
    terms = annotation_people.terms(c, person["region"], start)
    work, active_s = worked(c, person, period, terms)
    audits = annotation_work.scores_of(c, int(person["id"]), ("audit",))
    lower = pay.quality([s["score"] for s in audits])
    held = annotation_work.ledger_rows(c, person_id=int(person["id"]), period=period)
    own = [pay.Line(r["kind"], r["amount_minor"], r["why"]) for r in held if r["kind"] == pay.CORRECTION]
    floor = terms["hourly_floor_minor"]
    return pay.statement(work, active_s, floor, terms["currency"], lower, len(audits), own)


def worked(c: Any, person: Mapping[str, Any], period: str, terms: Mapping[str, Any]) -> tuple[list[pay.Work], float]:
    """A person's accepted answers of a week by batch, priced by the region's terms, and the active seconds."""
    rows, active_s = annotation_work.work_done(c, int(person["id"]), *bounds(period))
    price = {r["name"]: money.price_milli(r["price_milli"], terms["rate"], terms["currency"]) for r in rows}
    return [pay.Work(r["name"], r["num_accepted"], price[r["name"]]) for r in rows], active_s


def close_week(c: Any, by: int, period: str, now: float) -> int:
    """Writes everybody's statement of a week that is over into the ledger, once; gives how many people were added.
    A week that was closed before, and has nobody to be added, leaves no line in the log.

    Raises ValueError for a week that still runs.
    """
    if bounds(period)[1] > now:
        raise ValueError(f"{period} is not over yet")
    annotation_work.lock_pay(c)
    held = annotation_work.ledger_rows(c, period=period)
    written = {row["person_id"] for row in held if row["kind"] != pay.CORRECTION}
    num = 0
    for person in annotation_people.everybody(c):
        lines = statement(c, person, period)
        if person["id"] in written or not any(line.amount_minor for line in lines.lines):
            continue
        own = {"person_id": person["id"], "period": period, "currency": lines.currency, "at": now}
        told = [x for x in lines.lines if x.kind != pay.CORRECTION]
        first = sum(row["person_id"] == person["id"] for row in held)
        annotation_work.add_ledger(c, [
            {**own, "kind": x.kind, "amount_minor": x.amount_minor, "why": x.why, "line": first + i}
            for i, x in enumerate(told)
        ])  # fmt: skip
        num += 1
    if num or not written:
        annotation_people.log(c, now, by, "close_week", period, people=num)
    return num


def closed(rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Weeks of a ledger that were closed; one that is open has corrections of earlier ones at most."""
    return {str(row["period"]) for row in rows if row["kind"] != pay.CORRECTION}


def payout_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The ledger for a payout: one line per amount, in the currency's minor units and as a decimal, with its reason."""
    out = io.StringIO()
    names = ["period", "login", "region", "kind", "amount_minor", "amount", "currency", "why"]
    writer = csv.DictWriter(out, names, extrasaction="ignore")
    writer.writeheader()
    writer.writerows({**row, "amount": money.decimal(row["amount_minor"], row["currency"])} for row in rows)
    return out.getvalue()
