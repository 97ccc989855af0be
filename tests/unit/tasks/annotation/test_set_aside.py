"""What becomes of the answers of people who are paused, and who sees what first: on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from store import annotation, annotation_people, annotation_work
from store.annotation_database import Database, Refused
from tasks.annotation import batches, calibration, desk, results
from tests.annotators import NOW, Crew, clips, rated

TEETH, BLINK = (
    {"kind": k, "start_s": 0.0, "end_s": 1.0, "box": None} for k in ("teeth", "asymmetric_blink")
)  # one common, one rare


@pytest.fixture
def crew(annotation_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crew]:
    monkeypatch.setattr(desk, "PROBATION", (0, 0.0))
    monkeypatch.setattr(desk, "GOLD_RATIO", 0.0)
    monkeypatch.setattr(desk, "REPEAT_RATIO", 0.0)
    monkeypatch.setattr(batches, "AUDIT_RATIO", 0.0)
    made = Crew(Database(annotation_url))
    yield made
    made.database.close()


def rows(crew: Crew, table: sa.Table) -> list[dict[str, Any]]:
    return crew.database.read(
        lambda c: [dict(r) for r in c.execute(sa.select(table).order_by(*table.primary_key)).mappings()]
    )


def miss_gold(crew: Crew, person: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers hidden gold until the person is paused."""
    monkeypatch.setattr(desk, "GOLD_RATIO", 1.0)
    monkeypatch.setattr(calibration, "MIN_CHECKS", 2)
    assert crew.work(person, rated(1), num=2) == ["gold", "gold"]
    monkeypatch.setattr(desk, "GOLD_RATIO", 0.0)


def test_who_is_paused_has_not_decided_anything(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    reviewer, schema = crew.person("r", "reviewer"), crew.schema()
    crew.batch(schema, clips(2), goal="gold", name="gold")
    crew.work(reviewer, rated(5))
    good, bad, other = (crew.person(login) for login in ("good", "bad", "other"))
    batch = crew.batch(schema, clips(3), name="work", price_milli=100, budget_milli=10**6)
    for person in (good, bad, other):
        crew.ready(person, schema)
    assert crew.work(good, rated(2)) == ["label"] * 3
    assert crew.work(bad, rated(2), num=2) == ["label"] * 2
    decided = crew.database.read(lambda c: annotation_work.labels_of(c, batch))
    assert [x["how"] for x in decided] == ["consensus"] * 2
    versions = {o["item_id"]: o["version"] for o in rows(crew, annotation.outbox)}

    miss_gold(crew, bad, monkeypatch)
    assert [x["why"][:6] for x in rows(crew, annotation.set_aside)] == ["paused"] * 2
    assert crew.database.read(lambda c: annotation_work.labels_of(c, batch)) == []
    given = crew.database.read(lambda c: annotation_work.answers_in(c, batch))
    assert {a["person_id"] for a in given} == {good["id"]}
    assert len(crew.database.read(lambda c: annotation_work.answers_in(c, batch, set_aside=True))) == 5
    reopened = [
        o["item_id"] for o in rows(crew, annotation.outbox) if o["version"] == versions.get(o["item_id"], 0) + 1
    ]
    assert len(reopened) == 2, "the record hears of it"
    assert {(i["state"], i["num_taken"]) for i in rows(crew, annotation.items) if i["kind"] == "work"} == {("open", 1)}
    pay = crew.database.read(lambda c: annotation_work.work_done(c, bad["id"], 0, NOW + 10**6))
    assert sum(r["num_accepted"] for r in pay[0] if r["name"] == "work") == 4, "what was answered is paid"

    assert crew.work(other, rated(2)) == ["label"] * 3
    decided = crew.database.read(lambda c: annotation_work.labels_of(c, batch))
    assert [(x["how"], x["num_answers"]) for x in decided] == [("consensus", 2)] * 3
    assert crew.work(bad, rated(2)) == [], "paused: without calibration there is no way back but an administrator's"


def test_what_a_reviewer_decided_or_lies_in_a_closed_batch_stays(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    reviewer, schema = crew.person("r", "reviewer"), crew.schema()
    crew.batch(schema, clips(2), goal="gold", name="gold")
    crew.work(reviewer, rated(5))
    good, bad = crew.person("good"), crew.person("bad")
    for person in (good, bad):
        crew.ready(person, schema)
    closed = crew.batch(schema, clips(1), name="closed")
    crew.work(good, rated(2))
    crew.work(bad, rated(2))
    crew.database.write(lambda c: annotation_work.update_batch(c, closed, state="closed"))
    disputed = crew.batch(schema, clips(1), name="disputed", overlap=2, max_raters=2)
    crew.work(good, rated(2))
    crew.work(bad, rated(5))
    assert crew.work(reviewer, rated(3)) == ["review"]
    crew.batch(schema, clips(1), name="more")
    miss_gold(crew, bad, monkeypatch)
    for batch, how in ((closed, "consensus"), (disputed, "adjudicated")):
        assert [x["how"] for x in crew.database.read(lambda c, b=batch: annotation_work.labels_of(c, b))] == [how]
    assert len(rows(crew, annotation.set_aside)) == 1, "that of the disputed item counts for no agreement any more"


def test_a_label_reviewed_meanwhile_is_not_overwritten_by_a_late_rater(crew: Crew) -> None:
    reviewer, schema = crew.person("r", "reviewer"), crew.schema()
    one, other = crew.person("one"), crew.person("other")
    batch = crew.batch(schema, clips(1), overlap=2, max_raters=2)
    for person in (one, other):
        crew.ready(person, schema)
    crew.work(one, rated(2))
    (held,) = crew.claim(other)
    (item,) = rows(crew, annotation.items)
    crew.database.write(lambda c: c.execute(annotation.items.update().values(state="review")))
    assert crew.work(reviewer, rated(4)) == ["review"]
    crew.submit(other, held["token"], rated(2))
    (label,) = crew.database.read(lambda c: annotation_work.labels_of(c, batch))
    assert (label["how"], label["value"], label["item_id"]) == ("adjudicated", rated(4), item["id"])


def test_what_is_set_aside_stays_so(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    test_who_is_paused_has_not_decided_anything(crew, monkeypatch)
    with pytest.raises(Refused, match="append-only"):
        crew.database.write(lambda c: c.execute(annotation.set_aside.delete()))


def test_a_database_of_before_gets_the_table_with_its_rules(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    crew.database.write(lambda c: c.execute(sa.text(f"DROP TABLE {annotation.set_aside.name}")))
    again = Database(crew.database.engine.url.render_as_string(hide_password=False))
    again.close()
    test_what_is_set_aside_stays_so(crew, monkeypatch)


def test_gold_for_flags_is_mostly_what_has_one_and_rare_kinds_come_as_often(crew: Crew) -> None:
    reviewer, one, schema = crew.person("r", "reviewer"), crew.person("one"), crew.schema("flags", exam=30)
    crew.batch(schema, clips(80), goal="gold", name="gold")
    crew.batch(schema, clips(1), name="work")

    def flagged(held: dict[str, Any]) -> dict[str, Any]:
        num = int(held["media"][0]["clip_id"][1:])
        return {"flags": [BLINK] if num < 10 else [TEETH] if num < 40 else []}

    crew.work(reviewer, flagged)
    crew.ready(one, schema)
    met: list[str] = []

    def seen(held: dict[str, Any]) -> dict[str, Any]:
        met.append("".join(f["kind"] for f in held["truth"]["flags"]))
        return {"flags": held["truth"]["flags"]}

    crew.work(one, seen, num=24)
    assert 14 <= sum(kind != "" for kind in met) <= 23
    assert met.count("asymmetric_blink") >= 6, "a quarter of what is flagged, and nearly half of what is asked"


def test_who_guesses_retires_no_gold(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "BAD_GOLD", (2, 0.5))
    reviewer, schema = crew.person("r", "reviewer"), crew.schema(exam=1)
    crew.batch(schema, clips(1), goal="gold", name="gold")
    crew.batch(schema, clips(5), name="work")
    crew.work(reviewer, rated(5))
    for login in ("guesses", "guesses too"):
        person = crew.person(login)
        crew.ready(person, schema)
        assert crew.work(person, rated(1), num=1) == ["exam"]
    (gold,) = (i for i in rows(crew, annotation.items) if i["kind"] == "gold")
    assert crew.database.read(lambda c: annotation_work.gold_scores(c, gold["id"])) == []


def test_a_better_paid_batch_is_seen_a_quarter_of_an_hour_earlier_by_the_best_quarter(crew: Crew) -> None:
    schema = crew.schema()
    people = [crew.person(f"p{i}") for i in range(5)]
    for i, person in enumerate(people):
        crew.ready(person, schema)
        told = {"quality": 0.80 + 0.03 * i} if i else {}
        crew.database.write(
            lambda c, p=person, t=told: annotation_people.update_person(c, p["id"], **{"active": True, **t})
        )
    ranked = crew.database.read(annotation_people.everybody)
    assert [p["login"] for p in results.leaderboard(ranked)] == ["p4", "p3", "p2", "p1"], (
        "who has no 40 audits is not on it"
    )
    money = {"budget_milli": 10**6}
    first = crew.batch(schema, clips(2), name="usual", price_milli=100, **money)
    better = crew.batch(schema, clips(2), name="better", price_milli=200, **money)
    same = crew.batch(schema, clips(2), name="same", price_milli=100, **money)
    starts = {b["id"]: b["head_start_s"] for b in crew.database.read(annotation_work.all_batches)}
    assert starts == {first: 0.0, better: batches.HEAD_START_S, same: 0.0}
    crew.database.write(lambda c: annotation_work.update_batch(c, better, priority=1))

    def offered(person: dict[str, Any], now: float) -> int:
        (held,) = crew.claim(person, now)
        return int(held["batch_id"])

    assert offered(people[4], NOW) == better
    assert offered(people[3], NOW + 899) == first
    assert offered(people[2], NOW + 900) == better
