"""What an annotator or reviewer does at the queue: claim, keep, submit; and what an answer sets off.

Every function here runs inside one transaction of the annotation database: `database.write(lambda c: desk.claim(c, ...))`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from store import annotation_people, annotation_reports, annotation_work
from store import annotation_queue as queue
from store.annotation_queue import Offer, Row
from tasks.annotation import active_time, answers, calibration, corrections, results, standing, truth
from tasks.annotation.pay import quality

GOLD_RATIO = 0.08
PROBATION = (10, 0.5)
"""Until so many hidden checks since a person qualified, this is the share of gold: who slackens after an exam is to be
found in the first days. At 8 % five checks take sixty answers."""
TELLING_RATIO = 0.75
"""Of gold for flags, the share with something to flag, kind by kind: where neither raises a flag nothing is checked."""
REPEAT_RATIO = 0.02
REPEAT_AFTER = 20
MAX_HELD = 2
"""The item at hand and the next one, which is preloaded."""
TTL_S = (180.0, 1800.0)
TTL_MEDIANS = 6
"""A lease lasts for six median answers: long enough for a slow one, short enough that a closed laptop blocks nobody."""
KEPT = (4, 3600.0)
"""An open page keeps a lease for so many times its length after the claim, and so many seconds at most: what is never sent
blocks nobody, and no time is claimed for it."""
ACCEPTED_FROM = 0.5
"""An audited answer that agrees less than this with the reviewer's is not paid by the piece."""
EXAM_BACK_RATIO = 0.1
"""Of an exam, the share that may be given back and counts as done: who can't be shown a clip is not kept from work for it, and
nobody chooses what to be asked."""
BAD_GOLD = (10, 0.5)
"""Gold that at least so many qualified answers meet by less than this on average is wrong itself and is retired."""
FRAME_HZ = 25
USUAL_KNOWN_S = 60.0
_usual: WeakKeyDictionary[Any, dict[int, tuple[float, float | None]]] = WeakKeyDictionary()
"""By database and schema: when the median was looked up, and what it gave."""
REVIEWING = ("reviewer",)


class Gone(Exception):  # noqa: N818 - what a person asked for is not his, or not there
    """No such assignment for this person."""


def claim(c: Any, person: Mapping[str, Any], now: float, rng: random.Random, num: int = MAX_HELD) -> list[Row]:
    """The person's leases, filled up to `num` from the queue; fewer when there is nothing for them."""
    queue.expire(c, now)
    asked = queue.held_soon(c, person["person_id"], now)
    work: _OpenWork | None = _open_work(c, person, now)
    held = asked()
    while len(held) < num and (offer := _offer(c, person, now, rng, work or _open_work(c, person, now))):
        work = None  # it is another one once this is leased
        held.append(queue.lease(c, person["person_id"], offer, now, ttl_s(c, offer.schema["id"], now)))
    return held


def ttl_s(c: Any, schema_id: int, now: float) -> float:
    """How long a lease lasts."""
    usual = usual_s(c, schema_id, now)
    return TTL_S[1] if usual is None else min(TTL_S[1], max(TTL_S[0], TTL_MEDIANS * usual))


def usual_s(c: Any, schema_id: int, now: float) -> float | None:
    """The median active seconds of a schema's latest answers, None under ten of them; told anew every minute."""
    told = _usual.setdefault(c.engine, {})
    known = told.get(schema_id)
    if known is None or abs(now - known[0]) >= USUAL_KNOWN_S:
        told[schema_id] = known = (now, queue.median_active_s(c, schema_id))
    return known[1]


def keep(c: Any, person: Mapping[str, Any], token: str, now: float) -> float:
    """Extends a lease; gives when it ends. Raises Gone for one that is not the person's, ended, or was kept long enough."""
    mine = queue.by_token(c, person["person_id"], token)
    if mine is None:
        raise Gone(token)
    ttl = ttl_s(c, mine["schema_id"], now)
    until = min(now + ttl, mine["leased_at"] + min(KEPT[0] * ttl, KEPT[1]))
    if until <= now:
        raise Gone(token)
    until = max(until, mine["expires_at"])  # the median may have fallen since
    if not queue.extend(c, person["person_id"], token, until):
        raise Gone(token)
    return float(until)


def submit(c: Any, person: Mapping[str, Any], token: str, told: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Takes an answer: {"value", "key", "active_s"}. The same key again gives the same reply and changes nothing.

    An answer that comes after its lease ended counts if its place is still free; else it is kept, marked late, and its
    time counts for the floor. Raises Gone for an assignment of somebody else, ValueError for an answer that the schema
    does not allow and for a second, different one.
    """
    mine = queue.by_token(c, person["person_id"], token)
    if mine is None:
        raise Gone(token)
    if mine["value"] is not None:
        if mine["submit_key"] != told.get("key"):
            raise ValueError("this item was answered before; what was sent then stands")
        return _reply(c, mine, mine["state"])
    if mine["submitted_at"] is not None:
        raise ValueError("this item was given back before; somebody else is asked")
    given = answers.checked(mine["task_type"], mine["body"], told.get("value"), duration_s(mine["media"]))
    value = answers.unswapped(mine["task_type"], given, mine["swapped"])
    place = mine["state"] == "leased" or _place_left(c, mine)
    state = "answered" if place else "late"
    done = {
        "value": value,
        "submit_key": _key(told.get("key")),
        "submitted_at": now,
        "active_s": counted_active_s(c, mine, told.get("active_s"), now),
        "accepted": place and mine["batch_id"] is not None,
    }
    queue.answer(c, mine["id"], state, done)
    if place:
        _FOLLOWS[mine["purpose"]](c, {**mine, **done}, now)
    return _reply(c, {**mine, **done}, state)


def duration_s(media: Sequence[Mapping[str, Any]]) -> float:
    return float(max((m["end_frame"] - m["start_frame"] for m in media), default=0)) / FRAME_HZ


def _key(key: Any) -> str:
    if not isinstance(key, str) or not 8 <= len(key) <= 64:
        raise ValueError("a submit needs a key of 8 to 64 characters, the same when it is sent again")
    return key


def counted_active_s(c: Any, mine: Row, told: Any, now: float) -> float:
    """Seconds that the browser saw the person at work, as far as our own clock bears them out."""
    spent_s, last_at = queue.counted_since(c, mine["person_id"], mine["leased_at"])
    ended_at = min(now, mine["expires_at"])
    cap = active_time.cap_s(usual_s(c, mine["schema_id"], now))
    return active_time.counted_s(told, mine["leased_at"], ended_at, spent_s, last_at, cap)


def _place_left(c: Any, mine: Row) -> bool:
    """Whether an answer after its lease still finds its place; what the database would refuse is not tried."""
    item = queue.item(c, mine["item_id"])
    if mine["purpose"] in ("label", "repeat"):
        funded = annotation_work.batch(c, mine["batch_id"])
        assert funded is not None
        paid = (funded["num_reserved"] + 1) * funded["price_milli"] <= funded["budget_milli"]
        return bool(item["state"] == "open" and item["num_taken"] < item["num_wanted"] and paid)
    return False


_OpenWork = tuple[Callable[[], list[Row]], Callable[[], list[Row]]]
"""Schemas with open work, with the person's stage; and batches."""


def _open_work(c: Any, person: Mapping[str, Any], now: float) -> _OpenWork:
    """Asked together with what comes before, and read when it is needed."""
    if person["role"] != "annotator":
        return list, list
    return annotation_work.open_schemas_soon(c, person["person_id"]), queue.open_batches_soon(c, now)


def _offer(c: Any, person: Mapping[str, Any], now: float, rng: random.Random, work: _OpenWork) -> Offer | None:
    """What the person gets next: a review, calibration where that is due, else work with gold and repeats hidden in it."""
    if person["role"] in REVIEWING:
        found = queue.next_review(c, person["person_id"])
        schema = annotation_work.schema(c, found["schema_id"]) if found else None
        return _of(found, schema, "review", rng) if found and schema else None
    schemas, batches = work
    ready, later = {}, list[tuple[Row, str]]()
    for schema in schemas():
        if schema["acknowledged_at"] is None:
            continue
        stage = stage_of(schema)
        if stage == calibration.QUALIFIED:
            ready[schema["id"]] = schema
        elif stage != calibration.BANNED and ready:
            later.append((schema, stage))
        elif stage != calibration.BANNED and (offer := _calibration(c, person, schema, stage, rng)):
            return offer
    if ready and (offer := _work(c, person, ready, batches(), rng)):
        return offer
    # Who has nothing left of what they are qualified for goes on to be calibrated for what comes after it.
    offers = (_calibration(c, person, schema, stage, rng) for schema, stage in later)
    return next((offer for offer in offers if offer), None)


def stage_of(schema: Mapping[str, Any]) -> str:
    """A person's stage for a schema; without training and exam everybody is qualified until the hidden gold says no."""
    first = calibration.TRAINING if schema["num_training"] + schema["num_exam"] else calibration.QUALIFIED
    return str(schema["stage"] or first)


def _calibration(c: Any, person: Mapping[str, Any], schema: Row, stage: str, rng: random.Random) -> Offer | None:
    purpose, left = calibration_left(c, person["person_id"], schema, stage)
    pending = sum(h["schema_id"] == schema["id"] for h in queue.held(c, person["person_id"], 0.0))
    if pending >= left:
        return None
    round_ = int(schema["round"] or 1)
    found = _gold(c, person["person_id"], schema["id"], round_, rng)
    return _of(found, schema, purpose, rng, round_=round_) if found else None


def calibration_left(c: Any, person_id: int, schema: Row, stage: str) -> tuple[str, int]:
    """What of a calibration is next for a person, `train` or `exam`, and how many items of it are left."""
    round_ = int(schema["round"] or 1)
    done = [_num_done(c, person_id, schema, k, round_) for k in ("train", "exam")]
    if stage == calibration.TRAINING and done[0] < schema["num_training"]:
        return "train", schema["num_training"] - done[0]
    return "exam", schema["num_exam"] - done[1]


def _num_done(c: Any, person_id: int, schema: Row, kind: str, round_: int) -> int:
    """Items of a calibration that are behind a person: answered, or given back, of the exam a tenth at most."""
    answered = annotation_work.num_round_scores(c, person_id, schema["id"], kind, round_)
    back = annotation_reports.num_given_back(c, person_id, schema["id"], kind, round_)
    return answered + (back if kind == "train" else min(back, int(schema["num_exam"] * EXAM_BACK_RATIO)))


def _work(
    c: Any, person: Mapping[str, Any], ready: Mapping[int, Row], batches: Sequence[Row], rng: random.Random
) -> Offer | None:
    person_id = int(person["person_id"])

    def early() -> bool:
        return person_id in results.top_quartile(annotation_people.everybody(c))

    found = queue.next_open(c, person_id, [b for b in batches if b["schema_id"] in ready], early)
    if found is None:
        return None
    schema, drawn = ready[found["schema_id"]], rng.random()
    hides = drawn < max(GOLD_RATIO, PROBATION[1]) and drawn < _gold_ratio(c, person_id, schema)
    if hides and (gold := _gold(c, person_id, schema["id"], 0, rng)):
        return _of(gold, schema, "gold", rng, batch_id=found["batch_id"])
    if drawn > 1 - REPEAT_RATIO and (again := queue.to_repeat(c, person_id, schema["id"], REPEAT_AFTER)):
        repeat = queue.add_repeat(c, again, person_id)
        swapped = len(again["media"]) == 2 and not again["swapped"]
        return Offer(repeat, schema, "repeat", again["paid_by"], swapped=swapped)
    return _of(found, schema, "label", rng, batch_id=found["batch_id"])


def _gold_ratio(c: Any, person_id: int, schema: Row) -> float:
    """More of it for who just qualified, the first time or after a pause."""
    num = len(standing.checks(c, person_id, schema["id"], schema["changed_at"] or 0.0))
    return max(GOLD_RATIO, PROBATION[1]) if num < PROBATION[0] else GOLD_RATIO


def _gold(c: Any, person_id: int, schema_id: int, round_: int, rng: random.Random) -> Row | None:
    """Gold for a person: what was never had before what was, longest ago first. Of flags three in four have one: a kind is
    drawn, then a clip that has it, so that rare kinds are checked as often."""
    left = queue.gold_left(c, person_id, schema_id, round_)
    if not left:
        return None
    fresh = [g for g in left if not g.last_at] or [min(left, key=lambda g: g.last_at)]
    return queue.item(c, rng.choice(_telling(fresh, rng) if fresh[0].truth.startswith(_FLAGS) else fresh).id)


_FLAGS = '{"flags": '


def _telling(gold: Sequence[Any], rng: random.Random) -> Sequence[Any]:
    """Gold for flags: mostly that with one of a kind that is drawn first."""
    raised = {g.id: {flag["kind"] for flag in json.loads(g.truth)["flags"]} for g in gold}
    kinds = sorted(set().union(*raised.values()))
    if kinds and rng.random() < TELLING_RATIO:
        kind = rng.choice(kinds)
        return [g for g in gold if kind in raised[g.id]]
    return [g for g in gold if not raised[g.id]] or gold


def _of(
    item: Row, schema: Row, purpose: str, rng: random.Random, *, batch_id: int | None = None, round_: int = 0
) -> Offer:
    swapped = len(item["media"]) == 2 and rng.random() < 0.5
    return Offer(item, schema, purpose, batch_id, round_, swapped=swapped)


def _labelled(c: Any, mine: Row, now: float) -> None:
    item, given = queue.item_with_answers(c, mine["item_id"])
    decide(c, item, given, mine, now)


def decide(c: Any, item: Row, given: Sequence[Row], asked: Mapping[str, Any], now: float) -> None:
    """Decides the item once all the raters it wants have answered: a label, one more rater, or a reviewer. `asked` has the
    schema's task_type and body."""
    if item["state"] != "open" or len(given) < item["num_wanted"]:
        return  # a reviewer may have decided meanwhile
    values = [a["value"] for a in given]
    if truth.agreed(asked["task_type"], asked["body"], values):
        value = truth.consensus(asked["task_type"], asked["body"], values)
        queue.add_label(c, item, value, "consensus", len(values), now)
        queue.update_item(c, item["id"], state="review" if item["audited"] else "done")
    elif item["num_wanted"] < item["max_raters"]:
        queue.update_item(c, item["id"], num_wanted=item["num_wanted"] + 1)
    else:
        queue.update_item(c, item["id"], state="review")


def _scored(kind: str) -> Any:
    def follow(c: Any, mine: Row, now: float) -> None:
        reference = mine["truth"]
        if kind == "repeat":
            reference = queue.own_answer(c, mine["repeat_of"], mine["person_id"])
            queue.update_item(c, mine["item_id"], state="done")
        by_question = answers.alike(mine["task_type"], mine["body"], mine["value"], reference)
        annotation_work.add_score(c, mine, kind, by_question, now)
        if kind in ("train", "exam"):
            advance(c, mine, now)
        elif kind == "gold":
            _retire_bad_gold(c, mine["item_id"], now)
            standing.check(c, mine["person_id"], {"id": mine["schema_id"], "task_type": mine["task_type"]}, now)

    return follow


def advance(c: Any, mine: Row, now: float) -> None:
    """After a training or exam item, also one that was given back: on to the exam, qualified, or back to the start."""
    schema = annotation_work.schema(c, mine["schema_id"])
    assert schema is not None
    person_id, schema_id, round_ = mine["person_id"], schema["id"], mine["round"]
    had = annotation_work.qualification(c, person_id, schema_id) or {"failures": 0}
    if _num_done(c, person_id, schema, "train", round_) < schema["num_training"]:
        return
    told: dict[str, Any] = {"round": round_, "failures": had["failures"], "changed_at": now}
    num_examined = _num_done(c, person_id, schema, "exam", round_)
    exam: list[Row] = []
    if num_examined >= schema["num_exam"]:
        exam = annotation_work.round_scores(c, person_id, schema_id, "exam", round_)
    if num_examined < schema["num_exam"]:
        told |= {"stage": calibration.EXAM, "why": f"{num_examined} of {schema['num_exam']} exam items"}
    elif not exam or (verdict := _verdict(c, schema, exam)).passed:
        told |= {"stage": calibration.QUALIFIED, "why": verdict.why if exam else "training done"}
    else:
        told |= standing.failed(had["failures"], round_, f"exam not passed: {verdict.why}")
    annotation_work.put_qualification(c, person_id, schema_id, **told)


def _verdict(c: Any, schema: Row, exam: Sequence[Row]) -> calibration.Verdict:
    return calibration.examined([s["by_question"] for s in exam], standing.weights(c, schema["task_type"], exam))


def _retire_bad_gold(c: Any, item_id: int, now: float) -> None:
    met = annotation_work.gold_scores(c, item_id)
    if len(met) >= BAD_GOLD[0] and sum(met) / len(met) < BAD_GOLD[1]:
        queue.retire(c, item_id, now)


def _reviewed(c: Any, mine: Row, now: float) -> None:
    """A reviewer's blind answer: gold in a gold batch; else the item's label, and an audit of its answers if drawn."""
    item, given = queue.item_with_answers(c, mine["item_id"])
    batch = annotation_work.batch(c, item["batch_id"])
    assert batch is not None
    queue.add_label(c, item, mine["value"], "adjudicated", len(given) + 1, now)
    queue.update_item(c, item["id"], state="done")
    if batch["goal"] == "gold":
        queue.make_gold(c, item["id"], mine["value"])
    for answer in given if item["audited"] else []:
        by_question = answers.alike(mine["task_type"], mine["body"], answer["value"], mine["value"])
        scored = {**answer, "schema_id": item["schema_id"]}
        annotation_work.add_score(c, scored, "audit", by_question, now)
        if answer["accepted"] and answers.mean_of(by_question) < ACCEPTED_FROM:
            corrections.overturn(c, answer, now)
        audits = annotation_work.scores_of(c, answer["person_id"], ("audit",))
        annotation_people.update_person(c, answer["person_id"], quality=quality([s["score"] for s in audits]))
        standing.check(c, answer["person_id"], {"id": item["schema_id"], "task_type": mine["task_type"]}, now)


def _reply(c: Any, mine: Row, state: str) -> dict[str, Any]:
    """What the person is told; the truth only in training, the verdict with the exam's last answer."""
    told: dict[str, Any] = {"state": state}
    if mine["purpose"] == "train":
        by_question = answers.alike(mine["task_type"], mine["body"], mine["value"], mine["truth"])
        shown = [answers.unswapped(mine["task_type"], v, mine["swapped"]) for v in (mine["truth"], mine["value"])]
        told["feedback"] = {"truth": shown[0], "yours": shown[1], "scores": by_question}
    if mine["purpose"] == "exam" and (verdict := _told_verdict(c, mine)):
        told["verdict"] = verdict
    return told


def _told_verdict(c: Any, mine: Row) -> dict[str, Any] | None:
    """How the exam ended that this answer ended, {passed, why, failures, max_failures, closed}; None while it goes on."""
    had = annotation_work.qualification(c, mine["person_id"], mine["schema_id"])
    if had is None or had["changed_at"] != mine["submitted_at"] or had["stage"] == calibration.EXAM:
        return None
    return {
        "passed": had["stage"] == calibration.QUALIFIED,
        "why": had["why"],
        "failures": had["failures"],
        "max_failures": calibration.MAX_FAILURES,
        "closed": had["stage"] == calibration.BANNED,
    }


_FOLLOWS: dict[str, Any] = {
    "label": _labelled,
    "review": _reviewed,
    **{kind: _scored(kind) for kind in ("train", "exam", "gold", "repeat")},
}
