"""Time for the floor is counted by the clock, once, and leases end."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Barrier, Thread
from typing import Any

import pytest

from store import annotation_queue, annotation_work
from store.annotation_database import Database
from tasks.annotation import active_time, desk
from tests.annotators import NOW, Crew, clips, rated


@pytest.fixture
def crew(annotation_url: str) -> Iterator[Crew]:
    made = Crew(Database(annotation_url))
    yield made
    made.database.close()


def at_work(crew: Crew, num: int = 20) -> dict[str, Any]:
    person, schema = crew.person("one"), crew.schema()
    crew.batch(schema, clips(num))
    crew.ready(person, schema)
    return person


def send(crew: Crew, person: dict[str, Any], token: str, now: float, active_s: Any = 99_999) -> None:
    told = {"value": rated(3), "key": "same-key", "active_s": active_s}
    crew.database.write(lambda c: desk.submit(c, person, token, told, now))


def counted(crew: Crew, person: dict[str, Any]) -> float:
    return crew.database.read(lambda c: annotation_work.work_done(c, person["person_id"], 0.0, NOW + 10**6))[1]


def know_median(monkeypatch: pytest.MonkeyPatch, seconds: float | None) -> None:
    monkeypatch.setattr(annotation_queue, "median_active_s", lambda c, schema_id: seconds)
    monkeypatch.setattr(desk, "USUAL_KNOWN_S", 0.0)


def test_two_leases_at_once_count_the_clock_once(crew: Crew) -> None:
    person = at_work(crew)
    first, second = crew.claim(person, num=2)
    send(crew, person, first["token"], NOW + 10)
    send(crew, person, second["token"], NOW + 10)
    assert counted(crew, person) == 10
    (third, fourth) = crew.claim(person, NOW + 10, num=2)
    send(crew, person, third["token"], NOW + 40, 25)
    send(crew, person, fourth["token"], NOW + 50)
    assert counted(crew, person) == 10 + 25 + 15, "what the third left of its time is the fourth's"


def test_answers_that_were_sent_together_keep_the_time_each_took(crew: Crew) -> None:
    """Without a connection they wait in the browser: the second is sent when the first is, and took time of its own."""
    person = at_work(crew)
    first, second = crew.claim(person, num=2)
    for held in (first, second):
        send(crew, person, held["token"], NOW + 70, 30)
    assert counted(crew, person) == 60


def test_many_answers_at_once_count_the_clock_once(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    person = at_work(crew)
    held, start = crew.claim(person, num=6), Barrier(6)

    def sends(token: str) -> None:
        start.wait()
        send(crew, person, token, NOW + 10)

    threads = [Thread(target=sends, args=(h["token"],)) for h in held]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted(crew, person) == 10


def test_time_ends_with_the_lease(crew: Crew) -> None:
    person = at_work(crew)
    (held,) = crew.claim(person)
    send(crew, person, held["token"], NOW + 20)
    assert counted(crew, person) == 20, "not what the browser said"
    (late,) = crew.claim(person, NOW + 100)
    send(crew, person, late["token"], NOW + 50_000)
    assert counted(crew, person) == 20 + desk.TTL_S[1]


@pytest.mark.parametrize("told", [None, "60", True, float("nan"), -5])
def test_what_is_no_time_counts_nothing(told: Any) -> None:
    assert active_time.counted_s(told, 0.0, 100.0, 0.0, 0.0, 100.0) == 0.0


@pytest.mark.parametrize(("median", "cap"), [(None, 1800.0), (2.0, 120.0), (12.0, 120.0), (30.0, 300.0)])
def test_one_answer_counts_for_ten_median_answers_at_most(
    crew: Crew, monkeypatch: pytest.MonkeyPatch, median: float | None, cap: float
) -> None:
    know_median(monkeypatch, median)
    monkeypatch.setattr(desk, "TTL_S", (5000.0, 5000.0))
    person = at_work(crew)
    (held,) = crew.claim(person)
    send(crew, person, held["token"], NOW + 4000)
    assert counted(crew, person) == cap


@pytest.mark.parametrize(
    ("median", "ttl"), [(None, 1800.0), (1.0, 180.0), (30.0, 180.0), (50.0, 300.0), (300.0, 1800.0), (900.0, 1800.0)]
)
def test_a_lease_lasts_six_median_answers_from_3_to_30_minutes(
    crew: Crew, monkeypatch: pytest.MonkeyPatch, median: float | None, ttl: float
) -> None:
    know_median(monkeypatch, median)
    (held,) = crew.claim(at_work(crew))
    assert held["expires_at"] - NOW == ttl


def test_the_median_is_of_the_time_that_the_schemas_answers_took(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "USUAL_KNOWN_S", 0.0)
    person = at_work(crew, 12)
    for i in range(11):
        (held,) = crew.claim(person, NOW + 1000 * i)
        assert held["expires_at"] - held["leased_at"] == (1800.0 if i < 10 else 6 * 50.0)
        send(crew, person, held["token"], NOW + 1000 * i + 100, 45 + i)
    (held,) = crew.claim(person, NOW + 20_000)
    assert held["expires_at"] - held["leased_at"] == 6 * 50.0, "of 45 to 55 seconds"


@pytest.mark.parametrize(("median", "end"), [(None, 3600.0), (1.0, 720.0), (100.0, 2400.0)])
def test_a_lease_is_not_kept_without_end(
    crew: Crew, monkeypatch: pytest.MonkeyPatch, median: float | None, end: float
) -> None:
    know_median(monkeypatch, median)
    person = at_work(crew)
    (held,) = crew.claim(person)
    now, until = NOW, held["expires_at"]
    while (now := until - 1) < NOW + end - 1:
        until = crew.database.write(lambda c, at=now: desk.keep(c, person, held["token"], at))
    assert until == NOW + end
    with pytest.raises(desk.Gone):
        crew.database.write(lambda c: desk.keep(c, person, held["token"], NOW + end))
    assert held["token"] not in {h["token"] for h in crew.claim(person, NOW + end + 2)}
