"""Annotation databases for tests: SQLite in a file, and a PostgreSQL server of one's own where its binaries are found."""

from __future__ import annotations

import random
from typing import Any

from store import annotation_people, annotation_work
from store.annotation_database import Database
from tasks.annotation import answers, batches, desk

NOW = 1_700_000_000.0
EURO = {"name": "eu", "currency": "EUR", "hourly_floor_minor": 1300, "rate": 1.0, "media_host": ""}


def clips(num: int) -> list[tuple[float, list[dict[str, Any]]]]:
    span = {"video_id": "v", "start_frame": 0, "end_frame": 100, "proxy_uri": "/nowhere"}
    return [(float(i), [{**span, "clip_id": f"c{i}"}]) for i in range(num)]


def pairs(num: int) -> list[tuple[float, list[dict[str, Any]]]]:
    return [(unsure, [*one, {**one[0], "clip_id": "other"}]) for unsure, one in clips(num)]


class Crew:
    """People and schemas in a database, and what they do there."""

    def __init__(self, database: Database) -> None:
        self.database = database
        database.write(lambda c: annotation_people.put_region(c, EURO))
        self.boss = self.person("boss", "administrator")["id"]

    def person(self, login: str, role: str = "annotator") -> dict[str, Any]:
        key = self.database.write(lambda c: annotation_people.add_person(c, login, "-", role, "eu", NOW))
        return {"person_id": key, "role": role, "id": key, "region": "eu"}

    def schema(self, task_type: str = "likert", training: int = 0, exam: int = 0) -> int:
        body = answers.DEFAULTS[task_type]
        return self.database.write(
            lambda c: batches.make_schema(c, self.boss, f"s_{task_type}", task_type, body, "Look.", training, exam, NOW)
        )

    def batch(self, schema_id: int, media: list[tuple[float, list[dict[str, Any]]]], **told: Any) -> int:
        plan = batches.Plan(**{"name": f"b{media[0][0]}-{told}", "schema_id": schema_id, "source": "t", **told})
        return self.database.write(lambda c: batches.make_batch(c, self.boss, plan, media, NOW))

    def ready(self, person: dict[str, Any], schema_id: int) -> None:
        self.database.write(lambda c: annotation_work.acknowledge(c, person["person_id"], schema_id, NOW))

    def claim(self, person: dict[str, Any], now: float = NOW, num: int = 1, seed: Any = 0) -> list[dict[str, Any]]:
        rng = seed if isinstance(seed, random.Random) else random.Random(seed)
        return self.database.write(lambda c: desk.claim(c, person, now, rng, num))

    def submit(
        self, person: dict[str, Any], token: str, value: Any, now: float = NOW, key: str = "same-key"
    ) -> dict[str, Any]:
        told = {"value": value, "key": key, "active_s": 5.0}
        return self.database.write(lambda c: desk.submit(c, person, token, told, now))

    def work(self, person: dict[str, Any], value: Any, num: int = 1000, seed: int = 0) -> list[str]:
        """Answers until there is nothing left; gives the purposes of what was met. `value` may be a function."""
        rng, met = random.Random(seed), []
        while len(met) < num and (held := self.claim(person, NOW + len(met), seed=rng)):
            given = value(held[0]) if callable(value) else value
            self.submit(person, held[0]["token"], given, NOW + len(met) + 10)
            met.append(str(held[0]["purpose"]))
        return met


def rated(points: int, **other: int) -> dict[str, int]:
    return {d["name"]: points for d in answers.DEFAULTS["likert"]["dimensions"]} | other
