"""The shipped tiers: they parse, build on each other, name their sources, and read columns that signals declare."""

from __future__ import annotations

from pathlib import Path

import pytest

from store import tier_sql
from store.tier_sql import Tier, parse_tier
from tasks.signals import discover

FOLDER = Path(tier_sql.__file__).parent / "tiers"
TEXTS = {f.stem: f.read_text() for f in FOLDER.glob("*.sql")}
CLIP_SIGNALS = {n: s.spec for n, s in discover().items() if s.spec.grain == "clip"}


def tier(name: str) -> Tier:
    return parse_tier(name, TEXTS[name], TEXTS, CLIP_SIGNALS)


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_every_clause_names_its_source(name: str) -> None:
    assert [c.text for c in tier(name).clauses if len(c.source) < 5] == []


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_every_column_is_declared_by_its_signal(name: str) -> None:
    declared = {f"{s}_{c.name}" for s, spec in CLIP_SIGNALS.items() for c in spec.columns}
    declared |= {f"{s}_{c}" for s in CLIP_SIGNALS for c in ("status", "reason")}
    read = {c.removeprefix("signals.") for c in tier(name).columns if c.startswith("signals.")}
    assert sorted(read - declared) == []


def test_gold_builds_on_silver_and_silver_on_bronze() -> None:
    bronze, silver, gold = (tier(f"a2v_{metal}") for metal in ("bronze", "silver", "gold"))
    assert (silver.includes, gold.includes) == (("a2v_bronze",), ("a2v_bronze", "a2v_silver"))
    assert gold.clauses[: len(silver.clauses)] == silver.clauses
    assert silver.clauses[: len(bronze.clauses)] == bronze.clauses
    assert {c.reads for c in gold.clauses} == {"own"}
