"""docs/signals.md is generated: what it says is what the signals declare and what was measured."""

from __future__ import annotations

import re

from benchmarks.scorecards.__main__ import PAGE, ROOT, page
from tasks.signals import discover


def test_the_page_of_signals_is_up_to_date() -> None:
    assert PAGE.read_text() == page() + "\n", "run: python -m benchmarks.scorecards --page-only"


def test_every_signal_has_its_section() -> None:
    told = PAGE.read_text()
    assert all(f"\n## {name}\n" in told for name in discover())


def test_the_readme_links_to_what_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target
