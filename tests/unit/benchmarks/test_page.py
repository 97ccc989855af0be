"""docs/signals.md is generated: what it says is what the signals declare and what was measured."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch

import pyarrow as pa

from benchmarks.scorecards.__main__ import PAGE, RESULTS, ROOT, page
from tasks.signals import discover


def test_the_page_of_signals_is_up_to_date() -> None:
    assert PAGE.read_text() == page() + "\n", "run: python -m benchmarks.scorecards --page-only"


def test_every_signal_has_its_section() -> None:
    told = PAGE.read_text()
    assert all(f"\n## {name}\n" in told for name in discover())


def test_the_readme_links_to_what_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target


def test_what_is_called_a_probability_is_measured_as_one() -> None:
    for name, signal in discover().items():
        called = [
            c.name
            for c in (*signal.spec.columns, *signal.spec.timeline)
            if not pa.types.is_string(c.dtype)
            and ("prob" in c.name or "probab" in f"{c.unit} {c.meaning}")
            and "not calibrated" not in c.meaning
        ]
        card = RESULTS / f"{name}.json"
        rows = json.loads(card.read_text())["rows"] if card.exists() else []
        patterns = [word.strip(",:") for row in rows if row["measure"] == "ECE" for word in row["claim"].split()]
        bare = [c for c in called if not any(fnmatch(c, p) for p in patterns)]
        assert not bare, (
            f"{name}: no row of its scorecard gives the ECE of {', '.join(bare)}; measure it, or say score, or not calibrated"
        )
