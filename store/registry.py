"""The registry of checkpoints: what a training published, in object storage, known to the ledger by the hash of its content.

A checkpoint is a folder `checkpoints/ID/`: `weights.safetensors`, and `checkpoint.json` with the recipe, the snapshot it
learnt from, its metrics, the data card and the code's version. `checkpoint.json` names the hash of the weights, and ID is
the hash of `checkpoint.json` as published. The ledger holds the hash of it as it is now: only erasure changes it, by taking
out the clips that are no more.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from store.ledger import checkpoints as checkpoints_table
from store.ledger import stages as stages_table
from store.workspace import Workspace

FORMAT = "headroom checkpoint 1"


@dataclass(frozen=True)
class Checkpoint:
    """`told` is `checkpoint.json`; `weights` the bytes of a safetensors file."""

    id: str
    told: Mapping[str, Any]
    weights: bytes


def publish(workspace: Workspace, weights: bytes, told: Mapping[str, Any]) -> Checkpoint:
    """Writes a checkpoint, whole or not at all; an equal one is left as it is.

    `told` holds "recipe", "snapshot" {"id", "sha256", "tier"}, "metrics", "data", "code" and what else its kind needs; of
    one that walked through a curriculum also "curriculum" {"stages": [{"snapshot", ...}]}, of which "snapshot" is the last.
    Raises ConnectionError when the storage can't be written now.
    """
    whole = {"format": FORMAT, **told, "weights_sha256": hashlib.sha256(weights).hexdigest()}
    text = json.dumps(whole, sort_keys=True, ensure_ascii=False, indent=1).encode()
    made = Checkpoint(hashlib.sha256(text).hexdigest()[:16], whole, weights)
    folder = f"checkpoints/{made.id}"
    workspace.objects.put_new({"weights.safetensors": weights, "checkpoint.json": text}, folder)
    row = {
        "id": made.id,
        "recipe": str(whole["recipe"]["name"]),
        "snapshot": str(whole["snapshot"]["id"]),
        "uri": f"{folder}/checkpoint.json",
        "sha256": hashlib.sha256(text).hexdigest(),
        "created_at": time.time(),
    }
    stages = whole.get("curriculum", {}).get("stages", ())
    passed = [
        {"checkpoint": made.id, "stage": i, "snapshot": stage["snapshot"]["id"]} for i, stage in enumerate(stages)
    ]
    workspace.ledger.put(stages_table, passed)
    if not workspace.ledger.rows(checkpoints_table.select().where(checkpoints_table.c.id == made.id)):
        workspace.ledger.put(checkpoints_table, [row])
    return made


def checkpoint_row(workspace: Workspace, name: str) -> dict[str, Any]:
    """The ledger's row of a checkpoint by id (six characters are enough), or of the latest one of a recipe.

    Raises ValueError when there is none, or when several ids begin so.
    """
    rows = workspace.ledger.rows(checkpoints_table.select().order_by(checkpoints_table.c.created_at))
    found = [r for r in rows if r["recipe"] == name][-1:] or [r for r in rows if r["id"].startswith(name)]
    if len(found) != 1 or (len(name) < 6 and found[0]["recipe"] != name):
        what = f"{len(found)} checkpoints have an id that begins so" if len(found) > 1 else "no checkpoint"
        raise ValueError(f"{name!r}: {what}, and no recipe with one; headroom train RECIPE publishes one")
    return found[0]


def of_snapshot(workspace: Workspace, recipe: str, snapshot: str) -> list[str]:
    """Ids of the checkpoints of a recipe that learnt from a snapshot, the newest first; without those that learnt from clips
    that were erased since."""
    table = checkpoints_table
    query = table.select().where(table.c.recipe == recipe, table.c.snapshot == snapshot)
    rows = workspace.ledger.rows(query.order_by(table.c.created_at.desc(), table.c.id))
    return [str(row["id"]) for row in rows if row["sha256"].startswith(row["id"])]


def learnt_from(workspace: Workspace, snapshots: Collection[str]) -> list[dict[str, Any]]:
    """The ledger's rows of all checkpoints that learnt from one of the snapshots, in any stage, the oldest first."""
    table, passed = checkpoints_table, stages_table
    rows = workspace.ledger.rows(passed.select().where(passed.c.snapshot.in_(snapshots)))
    through = {row["checkpoint"] for row in rows}
    query = table.select().where(table.c.snapshot.in_(snapshots) | table.c.id.in_(through))
    return workspace.ledger.rows(query.order_by(table.c.created_at))


def load(workspace: Workspace, name: str) -> Checkpoint:
    """Reads and verifies a checkpoint. Raises ValueError when there is none, or when it is not what was published."""
    row = checkpoint_row(workspace, name)
    folder = row["uri"].removesuffix("checkpoint.json")
    try:
        text = _read(workspace, row["uri"], row["sha256"])
        told = json.loads(text) if text is not None else {}
        weights = _read(workspace, f"{folder}weights.safetensors", told["weights_sha256"]) if told else None
    except OSError as error:
        raise ValueError(f"checkpoint {row['id']}: can't be read ({error}); train it again") from error
    if text is None:
        raise ValueError(f"checkpoint {row['id']}: checkpoint.json is not what was published; train it again")
    if weights is None:
        raise ValueError(f"checkpoint {row['id']}: its weights are not what was published; train it again")
    return Checkpoint(row["id"], told, weights)


def _read(workspace: Workspace, uri: str, sha256: str) -> bytes | None:
    """An object by the hash of its content, None when it has another; a copy of it on this machine is fetched anew first."""
    for fresh in (False, True):
        data = workspace.objects.local(uri, fresh=fresh).read_bytes()
        if hashlib.sha256(data).hexdigest() == sha256:
            return data
    return None


def evaluation(workspace: Workspace, checkpoint: str, snapshot: str) -> dict[str, Any] | None:
    """What `headroom evaluate` said of a checkpoint on a snapshot last; None when it never did."""
    uri = workspace.objects.uri(f"checkpoints/{checkpoint}/evaluations/{snapshot}.json")
    if not workspace.objects.exists(uri):
        return None
    found: dict[str, Any] = json.loads(workspace.objects.local(uri, fresh=True).read_bytes())
    return found


def redact(workspace: Workspace, without: Callable[[bytes], bytes]) -> list[str]:
    """Rewrites what checkpoints and their evaluations say by `without`; gives the ids of those that it changed.
    The weights stay: what was learnt can't be taken out of them."""
    found = []
    for row in workspace.ledger.rows(checkpoints_table.select().order_by(checkpoints_table.c.created_at)):
        for key, _ in workspace.objects.under(f"checkpoints/{row['id']}"):
            if not key.endswith(".json"):
                continue
            text = workspace.objects.local(key, fresh=True).read_bytes()
            redacted = without(text)
            if redacted == text:
                continue
            if key == row["uri"]:  # the ledger first: cut off between the two, the next try ends the same
                workspace.ledger.put(checkpoints_table, [{**row, "sha256": hashlib.sha256(redacted).hexdigest()}])
            workspace.objects.put_bytes(redacted, key)
            found.append(row["id"])
    return sorted(set(found))
