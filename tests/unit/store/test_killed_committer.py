"""A sample of `make prove PROVE=processes`, which kills each process twenty times."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.prove_processes import committer


@pytest.mark.slow
def test_a_committer_killed_at_any_moment_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    found = committer(tmp_path, 3, random.Random(1))
    assert (found.num, found.wrong) == (3, [])
