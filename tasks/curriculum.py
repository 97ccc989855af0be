"""A curriculum: tiers that a training walks through in order, each for so many steps; read from a file, frozen as one.

[[stage]]
tier = "a2v_bronze"            # or a snapshot's id
epochs = 2                     # or steps = 600
max_length_s = 8

[[stage]]
tier = "a2v_gold"
steps = 400
min_short_side_px = 720
set = { learning_rate = 5e-4 }
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from store.frozen import snapshot_row
from store.workspace import Workspace
from tasks import freeze
from tasks import tier as tiers

FORMAT = "headroom curriculum 1"
NUMBERS = ("epochs", "min_length_s", "max_length_s")
COUNTS = ("steps", "min_short_side_px")


@dataclass(frozen=True)
class Stage:
    """One entry of the file. Either `steps` or `epochs` is told; an epoch draws as many frames as the stage's clips have.
    `set` are values of the recipe, for this stage alone."""

    tier: str
    steps: int | None = None
    epochs: float | None = None
    min_length_s: float | None = None
    max_length_s: float | None = None
    min_short_side_px: int | None = None
    set: Mapping[str, Any] = field(default_factory=dict)


def read_curriculum(path: Path) -> tuple[Stage, ...]:
    """Raises ValueError for a file that can't be read, and for what can't be meant, with the stage and the key."""
    try:
        told = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"curriculum {path}: can't be read ({error})") from error
    if other := set(told) - {"stage"}:
        raise ValueError(f"curriculum {path}: has {', '.join(sorted(other))}; only [[stage]] may be there")
    entries = told.get("stage")
    if not isinstance(entries, list) or not entries or not all(isinstance(e, dict) for e in entries):
        raise ValueError(f"curriculum {path}: has no stage; write one or more tables [[stage]]")
    return tuple(_stage(f"curriculum {path}: stage {i}", entry) for i, entry in enumerate(entries, 1))


def _stage(where: str, entry: Mapping[str, Any]) -> Stage:
    known = Stage.__dataclass_fields__
    if other := set(entry) - set(known):
        hint = "; values of the recipe go into set = { ... }"
        raise ValueError(f"{where}: has {', '.join(sorted(other))}; it may have {', '.join(known)}{hint}")
    if not isinstance(entry.get("tier"), str) or not entry["tier"]:
        raise ValueError(f"{where}: tier is {entry.get('tier')!r}; give the name of a tier or a snapshot's id")
    if ("steps" in entry) == ("epochs" in entry):
        raise ValueError(f"{where}: give steps or epochs, one of them")
    for key in (k for k in (*NUMBERS, *COUNTS) if k in entry):
        value, kinds = entry[key], (int,) if key in COUNTS else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < 1e9:
            what = "a whole number" if key in COUNTS else "a number"
            raise ValueError(f"{where}: {key} is {value!r}; give {what} above 0")
    made = Stage(**entry)
    if made.min_length_s and made.max_length_s and made.min_length_s > made.max_length_s:
        raise ValueError(f"{where}: min_length_s {made.min_length_s:g} is above max_length_s {made.max_length_s:g}")
    if not isinstance(made.set, dict) or not all(isinstance(v, int | float | str) for v in made.set.values()):
        raise ValueError(f"{where}: set is {made.set!r}; give values of the recipe, as {{ learning_rate = 1e-3 }}")
    return made


def freeze_curriculum(workspace: Workspace, stages: tuple[Stage, ...]) -> dict[str, Any]:
    """Freezes the stages' tiers; gives {"format", "stages": [{"asked", "snapshot"}], "sha256", "id"}, also kept as
    `curricula/ID.json`. One hash stands for all of it: the same stages over the same data give the same.

    Raises ValueError for an unknown tier or snapshot, and while a clip of a tier is undecided.
    """
    told = []
    for stage in stages:
        name = stage.tier
        if name in tiers.sources(workspace):
            name = str(freeze.build(workspace, name)["snapshot"])
        row = snapshot_row(workspace, name)
        asked = {k: v for k, v in asdict(stage).items() if v not in (None, {})}
        told.append({"asked": asked, "snapshot": {k: row[k] for k in ("id", "sha256", "tier")}})
    whole = {"format": FORMAT, "stages": told}
    text = json.dumps(whole, sort_keys=True, separators=(",", ":")).encode()
    sha256 = hashlib.sha256(text).hexdigest()
    made = {**whole, "sha256": sha256, "id": sha256[:16]}
    workspace.objects.put_new({f"{made['id']}.json": json.dumps(made, sort_keys=True, indent=1).encode()}, "curricula")
    return made


def load_curriculum(workspace: Workspace, curriculum_id: str) -> dict[str, Any]:
    """A frozen curriculum by its id. Raises ValueError for one that is not what was frozen."""
    found: dict[str, Any] = json.loads(workspace.objects.local(f"curricula/{curriculum_id}.json").read_bytes())
    text = json.dumps({k: found[k] for k in ("format", "stages")}, sort_keys=True, separators=(",", ":")).encode()
    if hashlib.sha256(text).hexdigest()[:16] != curriculum_id:
        raise ValueError(f"curriculum {curriculum_id}: was changed; give its file again")
    return found


def stage_of(asked: Mapping[str, Any]) -> Stage:
    """A stage as a frozen curriculum tells it."""
    return Stage(**asked)
