"""What an erasure takes out of a workspace, and its journal: begun, it is completed, whatever kills it in between.

The journal is a row of the ledger. While an erasure is under way it names what goes; when all is gone these names go
too, and what stays are HMACs under the workspace's own key: they tell whether a given video was erased, and nothing
else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from store import snapshot
from store.ledger import UNFINISHED, erasures, listed, sources
from store.ledger import snapshots as snapshots_table
from store.residue import Targets
from store.workspace import Workspace

(BEGUN, REMOVED), LEFT, DONE = UNFINISHED, "left", "done"
"""`removed`: proved, and the journal is emptied; `left`: something was found that a person must see to."""


@dataclass
class Erasure:
    """One erasure. `counts` and `done` name nothing; all else goes from the journal at the end."""

    id: str
    begun_at: float
    video_ids: list[str] = field(default_factory=list)
    clip_ids: list[str] = field(default_factory=list)
    identities: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """File names and addresses that are of these videos alone."""
    addresses: list[str] = field(default_factory=list)
    """Address and hint of each source: met again unchanged, it need not be read to be known."""
    sha256: list[str] = field(default_factory=list)
    exports: list[str] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)
    done: dict[str, Any] = field(default_factory=dict)
    """By step that has ended, what it tells the report."""

    @property
    def targets(self) -> Targets:
        ids = frozenset([*self.video_ids, *self.clip_ids, *self.identities])
        return Targets(ids, tuple(self.names), frozenset(self.sha256))

    def emptied(self) -> Erasure:
        """What may stay."""
        return Erasure(self.id, self.begun_at, exports=self.exports, counts=self.counts, done=self.done)


def begin(workspace: Workspace, erasure: Erasure) -> None:
    """Writes the journal. From here on nothing is committed of these videos any more, whoever computes it."""
    with workspace.ledger.turn() as turn:
        row = {"id": erasure.id, "state": BEGUN, "begun_at": erasure.begun_at, "journal": json.dumps(asdict(erasure))}
        turn.erase(row, erasure.video_ids, erasure.addresses)


def note(workspace: Workspace, erasure: Erasure, state: str) -> None:
    row = {"id": erasure.id, "state": state, "begun_at": erasure.begun_at, "journal": json.dumps(asdict(erasure))}
    workspace.ledger.put(erasures, [row])


def journals(workspace: Workspace, *states: str) -> list[tuple[str, Erasure]]:
    """(state, erasure) of those in one of the states, the oldest first."""
    query = erasures.select().where(erasures.c.state.in_(states)).order_by(erasures.c.begun_at)
    return [(row["state"], Erasure(**json.loads(row["journal"]))) for row in workspace.ledger.rows(query)]


def snapshots_of(workspace: Workspace, targets: Targets) -> dict[str, list[str]]:
    """By the uri of a snapshot that tells of one of the ids: the clips whose rows do."""
    found: dict[str, list[str]] = {}
    for uri, _ in workspace.objects.under("snapshots"):
        if uri.endswith(".snapshot"):
            clips = _clips_that_tell(snapshot.load(workspace.objects.local(uri)), targets)
            found |= {uri: clips} if clips else {}
    return found


def redact_snapshots(workspace: Workspace, targets: Targets) -> None:
    """Rewrites each snapshot without what it says of the ids; its hash stays, and what is left verifies."""
    for uri, clips in snapshots_of(workspace, targets).items():
        made = snapshot.redact(snapshot.load(workspace.objects.local(uri)), clips)
        saved = snapshot.save(made, workspace.scratch / "snapshots")
        workspace.objects.put(saved, f"snapshots/{made.file_name}")
        workspace.objects.drop_copies()  # of what it said before
        rows = workspace.ledger.rows(snapshots_table.select().where(snapshots_table.c.id == made.id))
        workspace.ledger.put(snapshots_table, [{**row, "num_clips": len(made.clip_ids)} for row in rows])


def drop_sources(workspace: Workspace, video_ids: Sequence[str]) -> None:
    for video_id in video_ids:
        at = sources.c.video_id == video_id
        workspace.ledger.drop(
            listed.delete().where(listed.c.uri.in_(sources.select().with_only_columns(sources.c.uri).where(at)))
        )
        workspace.ledger.drop(sources.delete().where(at))


def _clips_that_tell(held: snapshot.Snapshot, targets: Targets) -> list[str]:
    mask = pa.repeat(pa.scalar(False), held.clips.num_rows)
    for name in (f.name for f in held.clips.schema if pa.types.is_string(f.type)):
        told = [v for v in held.clips[name].unique().to_pylist() if v and targets.in_bytes(v.encode())]
        mask = pc.or_(mask, pc.fill_null(pc.is_in(held.clips[name], value_set=pa.array(told, pa.string())), False))
    return [c for c in held.clips.filter(mask)["clip_id"].to_pylist() if c is not None]
