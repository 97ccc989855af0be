"""How much of the work is hidden gold, an own item again, and an audit, by the constants that are shipped."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from math import sqrt
from typing import Any

import pytest
import sqlalchemy as sa

from store import annotation, annotation_queue
from store.annotation_database import Database
from tasks.annotation import desk
from tests.annotators import NOW, Crew, pairs

TIES = {"identity": "tie", "expression": "tie", "sync": "tie"}
NUM_PEOPLE, NUM_EACH, NUM_SETTLED = 2, 350, 40
"""The first forty answers of each are left out: probation shows more gold, and nothing is there to be repeated."""


@pytest.fixture
def crew(annotation_url: str) -> Iterator[Crew]:
    made = Crew(Database(annotation_url))
    yield made
    made.database.close()


def within(num: int, of: int, share: float) -> bool:
    """Whether `num` of `of` draws is what a share gives, by three standard deviations of the binomial."""
    return abs(num - of * share) < 3 * sqrt(of * share * (1 - share))


def met(c: Any, person: dict[str, Any], rng: random.Random) -> Iterator[str]:
    for i in range(NUM_EACH):
        now = NOW + 20 * i
        (held,) = desk.claim(c, person, now, rng, 1)
        desk.submit(c, person, held["token"], {"value": TIES, "key": "same-key", "active_s": 5.0}, now + 10)
        yield str(held["purpose"])


def test_one_in_twelve_is_hidden_gold_and_one_in_fifty_an_own_pair_with_its_sides_swapped(crew: Crew) -> None:
    schema, rng = crew.schema("pairwise"), random.Random(8)
    gold = crew.batch(schema, pairs(150), goal="gold", name="gold")
    crew.batch(schema, pairs(NUM_PEOPLE * NUM_EACH), name="work", overlap=1, max_raters=1)
    people = [crew.person(f"p{i}") for i in range(NUM_PEOPLE)]
    for person in people:
        crew.ready(person, schema)

    def work(c: Any) -> list[list[str]]:
        for item in c.execute(sa.select(annotation.items.c.id).where(annotation.items.c.batch_id == gold)).scalars():
            annotation_queue.make_gold(c, item, TIES)
            annotation_queue.update_item(c, item, state="done")
        return [list(met(c, person, rng)) for person in people]

    of_each = crew.database.write(work)
    settled = [purpose for one in of_each for purpose in one[NUM_SETTLED:]]
    counts = Counter(settled)
    assert set(counts) == {"label", "gold", "repeat"}
    assert within(counts["gold"], len(settled), 0.08), counts
    assert within(counts["repeat"], len(settled), 0.02), counts
    early = Counter(purpose for one in of_each for purpose in one[:10])
    assert within(early["gold"], 10 * NUM_PEOPLE, 0.5), early

    def sides(c: Any) -> list[tuple[bool, bool]]:
        first, again = annotation.assignments.alias("first"), annotation.assignments.alias("again")
        query = (
            sa.select(first.c.swapped, again.c.swapped.label("then"))
            .join(annotation.items, annotation.items.c.repeat_of == first.c.item_id)
            .join(again, again.c.item_id == annotation.items.c.id)
            .where(first.c.person_id == again.c.person_id)
        )
        return [(bool(row.swapped), bool(row.then)) for row in c.execute(query)]

    shown = Counter(crew.database.read(sides))
    assert shown.keys() == {(False, True), (True, False)}, "the other side first, whichever was first"
    assert shown.total() == sum(one.count("repeat") for one in of_each)


def test_one_item_in_twenty_is_audited(crew: Crew) -> None:
    schema, num = crew.schema("pairwise"), 6000
    for name in ("one", "other"):
        crew.batch(schema, pairs(num // 2), name=name)
    audited = crew.database.read(
        lambda c: list(c.execute(sa.select(annotation.items.c.audited).order_by(annotation.items.c.id)).scalars())
    )
    assert within(sum(audited), num, 0.05)
    assert audited[: num // 2] != audited[num // 2 :], "drawn anew for each batch"
    places = [i for i, drawn in enumerate(audited) if drawn]
    gaps = {after - before for before, after in pairwise(places)}
    assert len(gaps) > 20, "no pattern that a rater could count"
