"""A signal's source can't change behind its version."""

from __future__ import annotations

import ast

import pytest

from tasks import signal, versions
from tasks.signals import discover


def test_the_lock_file_matches_the_code() -> None:
    import json

    assert versions.problems(json.loads(versions.LOCK.read_text())) == []


def test_changed_code_with_the_old_version_is_a_problem() -> None:
    name = next(iter(discover()))
    locked = versions.current()
    locked[name]["source"] = "0" * 16
    (problem,) = versions.problems(locked)
    assert f"signal {name}: its code changed" in problem


def test_changed_decoding_is_a_problem_of_all_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    locked = versions.current()
    locked[versions.MEDIA]["source"] = "0" * 16
    (problem,) = versions.problems(locked)
    assert "media: its code changed and its version is still 1; raise MEDIA_VERSION" in problem
    before = {name: s.fingerprint for name, s in discover().items()}
    monkeypatch.setattr(signal, "MEDIA_VERSION", 2)
    after = {
        name: signal.fingerprint_of(name, s.spec, dict.fromkeys(s.spec.weights, "")) for name, s in discover().items()
    }
    assert not set(before.values()) & set(after.values())
    monkeypatch.setattr(versions, "MEDIA_VERSION", 2)
    assert "media: version 2 is not locked" in versions.problems(locked)[0]


def test_a_raised_version_asks_to_be_locked() -> None:
    name = next(iter(discover()))
    locked = versions.current()
    locked[name] = {"version": 0, "source": "0" * 16}
    (problem,) = versions.problems(locked)
    assert "run make lock" in problem


def test_new_and_removed_signals_ask_to_be_locked() -> None:
    name = next(iter(discover()))
    locked = versions.current()
    locked["gone"] = locked.pop(name)
    assert [p.split(":")[0] for p in versions.problems(locked)] == [f"signal {name}", "signal gone"]


def test_words_and_layout_do_not_count() -> None:
    first = versions._without_docstrings(ast.parse('def f(x):\n    """One."""\n    return x  # why\n'))
    second = versions._without_docstrings(ast.parse('def f( x ):\n    """Two."""\n\n    return x\n'))
    assert ast.dump(first) == ast.dump(second)


def test_imported_first_party_modules_count() -> None:
    assert versions.source_hash("tasks.signals.landmarks") != versions.source_hash("tasks.signals.faces")
