"""What a training learnt from, as its checkpoint tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modeling.motion import TIMELINES
from store.frozen import Frozen
from store.ledger import Manifest
from store.workspace import Workspace

if TYPE_CHECKING:
    from modeling.held_out import Split
    from modeling.motion_set import MotionClip


def data_card(
    workspace: Workspace,
    held: Frozen,
    split: Split,
    parts: Mapping[str, Sequence[MotionClip]],
    left_out: Mapping[str, str],
) -> dict[str, Any]:
    """Clips and people of each part, licences by clip, and the signals that were read; `parts` are train, held_people and
    held_time. With "held_out" "time" nobody is held out, only ends of clips."""
    named = ["train"] if split.held_out == "time" else ["train", "held_people"]
    with workspace.views(Manifest(0, dict(held.versions), "")) as reader:
        rights = {
            video: {"licence": licence or "unknown", "consent": consent or "unknown"}
            for video, licence, consent in reader.sql("SELECT video_id, licence, consent FROM rights").iter_rows()
        }
        names = ", ".join(f"'{n}'" for n in TIMELINES)
        lines = reader.sql(f"SELECT DISTINCT name, fingerprint FROM timelines WHERE name IN ({names}) ORDER BY ALL")
    unknown = {"licence": "unknown", "consent": "unknown"}
    licences: dict[str, int] = {}
    for clip in parts["train"]:
        of = rights.get(clip.video_id, unknown)
        key = f"{of['licence']}, consent {of['consent']}"
        licences[key] = licences.get(key, 0) + 1
    return {
        "held_out": split.held_out,
        "clips": {name: [c.clip_id for c in parts[name]] for name in named},
        "people": {name: sorted({c.who for c in parts[name]}) for name in named},
        "seconds": {
            name: round(sum(len(c) for c in parts[name]) / 25, 2)
            for name in ("train", "held_time", "held_people")
            if name != "held_people" or name in named
        },
        "heard_twice": list(split.heard),
        "licences": dict(sorted(licences.items())),
        "left_out": dict(left_out),
        "timelines": [f"{name}@{fingerprint}" for name, fingerprint in lines.iter_rows()],
    }
