"""The check that a signal's source never changes behind its version: `python -m tasks.versions [--write [--same-output]]`.

The lock file holds, per signal, its version and a hash of its code: the syntax tree of its file and of the modules of
`tasks` and `infra` it imports, without docstrings, so that wording and formatting don't count.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import sys
from pathlib import Path

from tasks.signal import MEDIA_VERSION
from tasks.signals import discover

ROOT = Path(__file__).resolve().parent.parent
LOCK = Path(__file__).with_name("signal_versions.json")
CONTRACT = frozenset(
    {"tasks.signal", "tasks.backend", "tasks.media.media", "infra.weights", "tasks.media", "tasks", "infra"}
)
"""Modules every signal shares; their change is a change of the contract, seen by the contract tests."""


MEDIA = "(media)"
"""The lock file's entry for the code that all signals see pixels and samples through."""
MEDIA_MODULES = ("tasks.media.media", "tasks.media.reader", "tasks.media.decoder")


def source_hash(*modules: str) -> str:
    """Hash of the modules' code and of the first-party modules they import, transitively."""
    seen: dict[str, str] = {}
    queue = list(modules)
    while queue:
        name = queue.pop()
        file = _file(name)
        if name in seen or (name in CONTRACT and name not in modules) or file is None:
            continue
        tree = ast.parse(file.read_text())
        queue += [n for n in _imports(tree) if n.split(".")[0] in ("tasks", "infra")]
        seen[name] = ast.dump(_without_docstrings(tree))
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()[:16]


def problems(locked: dict[str, dict[str, object]]) -> list[str]:
    """What stands between the lock file and the code, one line each."""
    found = []
    media = current_media()
    if locked.get(MEDIA, {}).get("version") != media["version"]:
        found.append(f"media: version {media['version']} is not locked; run make lock")
    elif locked[MEDIA]["source"] != media["source"]:
        found.append(
            f"media: its code changed and its version is still {media['version']}; raise MEDIA_VERSION in tasks/signal.py "
            "(all rows become stale) and run make lock, or make lock SAME_OUTPUT=1 if no pixel and no sample changes"
        )
    for name, signal in discover().items():
        told = locked.get(name)
        if told is None:
            found.append(f"signal {name}: is not in {LOCK.name}; run make lock")
        elif told["source"] != source_hash(f"tasks.signals.{name}") and told["version"] == signal.spec.version:
            found.append(
                f"signal {name}: its code changed and its version is still {signal.spec.version}; raise version in "
                f"tasks/signals/{name}.py and run make lock, or make lock SAME_OUTPUT=1 if its output is the same"
            )
        elif told["version"] != signal.spec.version:
            found.append(f"signal {name}: version {signal.spec.version}, locked {told['version']}; run make lock")
    found += [
        f"signal {name}: is locked and no longer there; run make lock"
        for name in locked
        if name not in (MEDIA, *discover())
    ]
    return found


def current_media() -> dict[str, object]:
    return {"version": MEDIA_VERSION, "source": source_hash(*MEDIA_MODULES)}


def current() -> dict[str, dict[str, object]]:
    return {MEDIA: current_media()} | {
        name: {"version": signal.spec.version, "source": source_hash(f"tasks.signals.{name}")}
        for name, signal in sorted(discover().items())
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="update the lock file")
    parser.add_argument("--same-output", action="store_true", help="my change of code leaves the output as it was")
    options = parser.parse_args(arguments)
    locked = json.loads(LOCK.read_text()) if LOCK.exists() else {}
    found = problems(locked)
    if options.write:
        found = [] if options.same_output else [p for p in found if "its code changed" in p]
    for line in found:
        print(line, file=sys.stderr)  # noqa: T201 - a command's output
    if options.write and not found:
        LOCK.write_text(json.dumps(current(), indent=1) + "\n")
    return 1 if found else 0


def _file(module: str) -> Path | None:
    path = ROOT / Path(*module.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.exists():
            return file
    return None


def _imports(tree: ast.AST) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
    return names


def _without_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]  # type: ignore[attr-defined]
    return tree


if __name__ == "__main__":
    sys.exit(main())
