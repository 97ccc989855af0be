"""The queue: the same tests on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from store import annotation, annotation_people, annotation_queue, annotation_work
from store.annotation_database import Database, Refused
from store.annotation_queue import Offer
from tasks.annotation import batches, calibration, desk
from tests.annotators import NOW, Crew, clips, pairs, rated


@pytest.fixture
def crew(annotation_url: str) -> Iterator[Crew]:
    made = Crew(Database(annotation_url))
    yield made
    made.database.close()


def rows(crew: Crew, table: sa.Table) -> list[dict[str, Any]]:
    return crew.database.read(
        lambda c: [dict(r) for r in c.execute(sa.select(table).order_by(*table.primary_key)).mappings()]
    )


def take_place(c: Any, person: dict[str, Any], item_id: int, now: float) -> None:
    """A lease, whatever the desk thinks of it."""
    item = annotation_queue.item(c, item_id)
    schema = annotation_work.schema(c, item["schema_id"])
    assert schema is not None
    annotation_queue.lease(c, person["person_id"], Offer(item, schema, "label", item["batch_id"]), now, 60)


def test_uncertain_items_come_first_and_nobody_meets_one_twice(crew: Crew) -> None:
    one, schema = crew.person("one"), crew.schema()
    crew.batch(schema, clips(3))
    assert crew.claim(one) == []  # the guidelines are not acknowledged
    crew.ready(one, schema)
    met = []
    while held := crew.claim(one):
        met.append(held[0]["media"][0]["clip_id"])
        crew.submit(one, held[0]["token"], rated(3))
    assert met == ["c2", "c1", "c0"]


def test_batches_of_one_priority_are_mixed_by_uncertainty_and_a_higher_one_goes_first(crew: Crew) -> None:
    one, schema = crew.person("one"), crew.schema()
    crew.ready(one, schema)
    crew.batch(schema, clips(3), name="first")
    crew.batch(schema, [(u + 0.5, m) for u, m in clips(2)], name="second")
    urgent = crew.batch(schema, clips(1), name="urgent", priority=1)
    met = []
    while held := crew.claim(one):
        met.append((held[0]["batch_id"] - urgent, held[0]["media"][0]["clip_id"]))
        crew.submit(one, held[0]["token"], rated(3))
    assert met == [(0, "c0"), (-2, "c2"), (-1, "c1"), (-2, "c1"), (-1, "c0"), (-2, "c0")]


def test_the_next_item_of_a_batch_is_told_by_an_index(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'annotation.sqlite'}")
    first = annotation_queue.FIRST_OPEN.params(person=1, batch=1)
    query = first.compile(database.engine, compile_kwargs={"literal_binds": True})
    plan = database.read(lambda c: " ".join(row[3] for row in c.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")))
    assert annotation.next_items.name in plan
    assert "ORDER BY" not in plan, "nothing is sorted"
    database.close()


def test_agreeing_answers_become_a_label_and_disagreeing_ones_call_a_third_then_a_reviewer(crew: Crew) -> None:
    people = [crew.person(f"p{i}") for i in range(3)]
    reviewer, schema = crew.person("r", "reviewer"), crew.schema()
    crew.batch(schema, clips(2))
    for person, points in zip(people, (1, 3, 5), strict=True):
        crew.ready(person, schema)
        # On c1 they agree, on c0 they are two points apart, each from each.
        crew.work(person, lambda held, p=points: rated(2 if held["media"][0]["clip_id"] == "c1" else p))
    (label,) = rows(crew, annotation.labels)
    assert (label["how"], label["num_answers"]) == ("consensus", 2)
    by_state = {i["id"]: (i["state"], i["num_taken"], i["num_wanted"]) for i in rows(crew, annotation.items)}
    assert sorted(by_state.values()) == [("done", 2, 2), ("review", 3, 3)]
    assert crew.work(reviewer, rated(4)) == ["review"]
    assert {x["how"]: x["value"] for x in rows(crew, annotation.labels)}["adjudicated"].count("4") == 4


def test_the_database_itself_refuses_one_rater_too_many_and_one_rater_twice(crew: Crew) -> None:
    people, schema = [crew.person(f"p{i}") for i in range(3)], crew.schema()
    crew.batch(schema, clips(1), overlap=2, max_raters=2)
    (item,) = rows(crew, annotation.items)

    def take(person: dict[str, Any]) -> None:
        crew.database.write(lambda c: take_place(c, person, item["id"], NOW))

    take(people[0])
    with pytest.raises(Refused, match="(?i)unique"):
        take(people[0])
    take(people[1])
    with pytest.raises(Refused, match="(?i)check"):
        take(people[2])
    with pytest.raises(Refused, match="(?i)check"):
        crew.database.write(lambda c: annotation_queue.update_item(c, item["id"], num_wanted=3))


def test_a_budget_is_never_passed(crew: Crew) -> None:
    one, other, schema = crew.person("one"), crew.person("other"), crew.schema()
    crew.batch(schema, clips(9), price_milli=100, budget_milli=350)
    for person in (one, other):
        crew.ready(person, schema)
    assert len(crew.work(one, rated(3)) + crew.work(other, rated(3))) == 3
    item = next(i for i in rows(crew, annotation.items) if not i["num_taken"])
    with pytest.raises(Refused, match="(?i)check"):
        crew.database.write(lambda c: take_place(c, one, item["id"], NOW))


def test_many_at_once_make_no_double_and_no_overfilled_assignment(crew: Crew) -> None:
    people, schema = [crew.person(f"p{i}") for i in range(6)], crew.schema()
    crew.batch(schema, clips(8), overlap=2)
    for person in people:
        crew.ready(person, schema)
    met: list[list[str]] = []

    def work(person: dict[str, Any], seed: int) -> None:
        met.append(crew.work(person, rated(3), seed=seed))

    threads = [threading.Thread(target=work, args=(p, i)) for i, p in enumerate(people)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [a for a in rows(crew, annotation.assignments) if a["purpose"] == "label"]
    assert Counter(a["item_id"] for a in done) == {i["id"]: 2 for i in rows(crew, annotation.items)}
    assert max(Counter((a["item_id"], a["person_id"]) for a in done).values()) == 1
    assert len(rows(crew, annotation.labels)) == 8


def test_a_lease_lasts_while_it_is_kept_and_then_goes_back(crew: Crew) -> None:
    one, other, schema = crew.person("one"), crew.person("other"), crew.schema()
    crew.batch(schema, clips(1), overlap=1, max_raters=1)
    for person in (one, other):
        crew.ready(person, schema)
    (held,) = crew.claim(one)
    until = crew.database.write(lambda c: desk.keep(c, one, held["token"], NOW + 1000))
    assert until == NOW + 1000 + desk.TTL_S[1]
    assert crew.claim(other, now=until - 1) == []
    (taken,) = crew.claim(other, now=until + 1)
    assert taken["item_id"] == held["item_id"]
    with pytest.raises(desk.Gone):
        crew.database.write(lambda c: desk.keep(c, one, held["token"], until + 2))
    # The first one's answer comes too late: kept, its time counts, but not as a label.
    assert crew.submit(one, held["token"], rated(1), now=until + 3)["state"] == "late"
    assert crew.submit(other, taken["token"], rated(5), now=until + 4)["state"] == "answered"
    (label,) = rows(crew, annotation.labels)
    assert "5" in label["value"]


def test_a_late_answer_counts_where_its_place_is_free(crew: Crew) -> None:
    one, other, schema = crew.person("one"), crew.person("other"), crew.schema()
    crew.batch(schema, clips(1), overlap=1, max_raters=1)
    crew.ready(one, schema)
    (held,) = crew.claim(one)
    later = NOW + desk.TTL_S[1] + 1
    assert crew.claim(other, now=later) == []  # frees the place
    assert crew.submit(one, held["token"], rated(1), now=later)["state"] == "answered"


def test_the_same_submit_twice_is_one_answer_and_a_different_one_is_refused(crew: Crew) -> None:
    one, other, schema = crew.person("one"), crew.person("other"), crew.schema()
    crew.batch(schema, clips(1))
    crew.ready(one, schema)
    (held,) = crew.claim(one)
    first = crew.submit(one, held["token"], rated(2))
    assert crew.submit(one, held["token"], rated(2), now=NOW + 99) == first
    with pytest.raises(ValueError, match="answered before"):
        crew.submit(one, held["token"], rated(5), key="another-key")
    with pytest.raises(desk.Gone):
        crew.submit(other, held["token"], rated(2))
    with pytest.raises(Refused, match="an answer never changes"):
        crew.database.write(lambda c: c.execute(annotation.assignments.update().values(value="{}")))


def test_what_is_append_only_stays(crew: Crew) -> None:
    schema = crew.schema()
    crew.database.write(lambda c: annotation_people.log(c, NOW, None, "look", "x"))
    for table in (annotation.audit_log, annotation.schemas):
        column = {"audit_log": "action", "schemas": "guidelines"}[table.name.removeprefix("annotation_")]
        with pytest.raises(Refused, match="append-only"):
            crew.database.write(lambda c, t=table, k=column: c.execute(t.update().values({k: "other"})))
        with pytest.raises(Refused, match="append-only"):
            crew.database.write(lambda c, t=table: c.execute(t.delete()))
    paid = {
        "person_id": crew.boss,
        "period": "2026-W01",
        "kind": "base",
        "amount_minor": 5,
        "currency": "EUR",
        "line": 0,
    }
    crew.database.write(lambda c: annotation_work.add_ledger(c, [{**paid, "why": "5 x 1", "at": NOW}]))
    for change in (annotation.ledger.update().values(amount_minor=6), annotation.ledger.delete()):
        with pytest.raises(Refused, match="append-only"):
            crew.database.write(lambda c, x=change: c.execute(x))
    assert crew.schema() != schema  # a change is a new version
    assert [s["version"] for s in rows(crew, annotation.schemas)] == [1, 2]


def test_from_training_by_the_exam_to_work_and_out_again(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "PROBATION", (0, 0.0))
    monkeypatch.setattr(desk, "GOLD_RATIO", 0.0)
    reviewer, good, bad = crew.person("r", "reviewer"), crew.person("good"), crew.person("bad")
    schema = crew.schema(training=1, exam=2)
    crew.batch(schema, clips(3), goal="gold", name="gold")
    crew.batch(schema, clips(5), name="work")
    assert crew.work(reviewer, rated(4)) == ["review"] * 3
    for person in (good, bad):
        crew.ready(person, schema)
    (held,) = crew.claim(good)
    told = crew.submit(good, held["token"], rated(4, lip_sync=3))
    assert told["feedback"]["truth"] == rated(4)
    assert told["feedback"]["scores"]["lip_sync"] == 0.5
    assert crew.work(good, rated(4), num=3) == ["exam", "exam", "label"]
    # Three exams failed, and then there is nothing more for them.
    assert crew.work(bad, rated(1)) == ["train", "exam", "exam"] * 3
    found = crew.database.read(lambda c: annotation_work.qualification(c, bad["person_id"], schema))
    assert found is not None
    assert (found["stage"], found["failures"]) == ("banned", 3)


def test_the_last_answer_of_an_exam_tells_the_verdict(crew: Crew) -> None:
    reviewer, good, bad = crew.person("r", "reviewer"), crew.person("good"), crew.person("bad")
    schema = crew.schema(training=0, exam=2)
    crew.batch(schema, clips(3), goal="gold", name="gold")
    crew.batch(schema, clips(5), name="work")
    assert crew.work(reviewer, rated(4)) == ["review"] * 3
    for person in (good, bad):
        crew.ready(person, schema)

    def examined(person: dict[str, Any], value: dict[str, Any]) -> list[Any]:
        return [crew.submit(person, crew.claim(person)[0]["token"], value).get("verdict") for _ in range(2)]

    assert examined(good, rated(4)) == [
        None,
        {"passed": True, "why": "mean 1.00 of 2 items", "failures": 0, "max_failures": 3, "closed": False},
    ]
    for failures in (1, 2, 3):
        first, last = examined(bad, rated(1))
        assert first is None
        assert last["why"].startswith("exam not passed: under 0.75 on ")
        assert (last["passed"], last["failures"], last["closed"]) == (False, failures, failures == 3)


def test_gold_is_hidden_in_work_and_pauses_who_misses_it(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "GOLD_RATIO", 1.0)
    monkeypatch.setattr(calibration, "MIN_CHECKS", 3)
    reviewer, one, schema = crew.person("r", "reviewer"), crew.person("one"), crew.schema(exam=1)
    crew.batch(schema, clips(5), goal="gold", name="gold")
    crew.batch(schema, clips(5), name="work")
    crew.work(reviewer, rated(4))
    crew.ready(one, schema)
    assert crew.work(one, rated(4), num=1) == ["exam"]
    held = crew.claim(one, num=2)
    assert {h["purpose"] for h in held} == {"gold"}
    assert crew.work(one, rated(1), num=4) == ["gold", "gold", "gold", "exam"]
    found = crew.database.read(lambda c: annotation_work.qualification(c, one["person_id"], schema))
    assert found is not None
    assert (found["stage"], found["failures"], found["round"]) == ("training", 2, 3)


def test_who_just_qualified_meets_more_gold_and_who_came_back_meets_some_again(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "PROBATION", (3, 1.0))
    monkeypatch.setattr(desk, "GOLD_RATIO", 0.0)
    reviewer, one, schema = crew.person("r", "reviewer"), crew.person("one"), crew.schema(exam=2)
    crew.batch(schema, clips(4), goal="gold", name="gold")
    crew.batch(schema, clips(9), name="work")
    crew.work(reviewer, rated(4))
    crew.ready(one, schema)
    # Two of the four gold items were met in the exam: the hidden ones are the other two first, then one of these.
    assert crew.work(one, rated(4), num=6) == ["exam", "exam", "gold", "gold", "gold", "label"]
    met = [a["item_id"] for a in rows(crew, annotation.assignments) if a["purpose"] == "gold"]
    assert len(set(met)) == 3


def test_a_check_on_which_neither_raises_a_flag_proves_nothing(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "GOLD_RATIO", 1.0)
    monkeypatch.setattr(calibration, "MIN_CHECKS", 2)
    teeth = {"flags": [{"kind": "teeth", "start_s": 0.0, "end_s": 1.0, "box": None}]}
    reviewer, one, schema = crew.person("r", "reviewer"), crew.person("one"), crew.schema("flags")
    crew.batch(schema, clips(12), goal="gold", name="gold")
    crew.batch(schema, clips(20), name="work")
    crew.work(reviewer, lambda held: teeth if held["media"][0]["clip_id"] in ("c3", "c7") else {"flags": []})
    crew.ready(one, schema)
    crew.work(one, {"flags": []}, num=12)
    found = [s for s in rows(crew, annotation.scores) if s["kind"] == "gold"]
    assert (
        sorted((s["by_question"], s["score"]) for s in found if s["score"] < 1 or s["by_question"] != "{}")
        == [('{"flags": 0.0}', 0.0)] * 2
    )
    paused = crew.database.read(lambda c: annotation_work.qualification(c, one["person_id"], schema))
    assert paused is not None, "who never flags is found by the two clips that have one"
    assert paused["failures"] == 1


def test_bad_gold_is_retired(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "GOLD_RATIO", 1.0)
    monkeypatch.setattr(desk, "BAD_GOLD", (2, 0.5))
    reviewer, schema = crew.person("r", "reviewer"), crew.schema()
    crew.batch(schema, clips(1), goal="gold", name="gold")
    crew.batch(schema, clips(5), name="work")
    crew.work(reviewer, rated(1))
    for login in ("one", "other"):
        person = crew.person(login)
        crew.ready(person, schema)
        assert crew.work(person, rated(5), num=1) == ["gold"]
    assert [i["state"] for i in rows(crew, annotation.items) if i["kind"] == "gold"] == ["retired"]


def test_pairs_are_shown_swapped_and_stored_in_their_own_order(crew: Crew) -> None:
    one, schema = crew.person("one"), crew.schema("pairwise")
    crew.batch(schema, pairs(9))
    crew.ready(one, schema)
    left = {"identity": "left", "expression": "tie", "sync": "right"}
    crew.work(one, left)
    found = {(a["swapped"], a["value"]) for a in rows(crew, annotation.assignments)}
    assert found == {
        (False, '{"expression": "tie", "identity": "left", "sync": "right"}'),
        (True, '{"expression": "tie", "identity": "right", "sync": "left"}'),
    }


def test_a_repeat_shows_the_other_side_first(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "REPEAT_RATIO", 1.0)
    monkeypatch.setattr(desk, "REPEAT_AFTER", 2)
    one, schema = crew.person("one"), crew.schema("pairwise")
    crew.batch(schema, pairs(5))
    crew.ready(one, schema)
    met = crew.work(one, {"identity": "left", "expression": "left", "sync": "left"})
    assert met.count("repeat") >= 1
    by_item = {a["item_id"]: a for a in rows(crew, annotation.assignments)}
    for item in rows(crew, annotation.items):
        if item["repeat_of"]:
            assert by_item[item["id"]]["swapped"] != by_item[item["repeat_of"]]["swapped"]
    assert {s["score"] for s in rows(crew, annotation.scores)} == {0.0}  # who always takes the left contradicts himself


def test_audits_score_every_answer_of_the_item_and_refuse_what_is_far_off(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "AUDIT_RATIO", 0.3)
    reviewer, one, other, schema = crew.person("r", "reviewer"), crew.person("one"), crew.person("other"), crew.schema()
    crew.batch(schema, clips(6))
    for person in (one, other):
        crew.ready(person, schema)
        crew.work(person, rated(5))
    audited = [i for i in rows(crew, annotation.items) if i["audited"]]
    assert 1 <= len(audited) <= 5
    assert crew.work(reviewer, rated(2)) == ["review"] * len(audited)
    scores = [s["score"] for s in rows(crew, annotation.scores) if s["kind"] == "audit"]
    assert scores == [0.0] * 2 * len(audited)
    refused = [a for a in rows(crew, annotation.assignments) if a["purpose"] == "label" and not a["accepted"]]
    assert {a["item_id"] for a in refused} == {i["id"] for i in audited}
