"""Where a video, clip, person, snapshot or checkpoint comes from and what was made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from store import drawn, registry
from store import ledger as tables
from store import snapshot as snapshots
from store.workspace import Reader, Workspace
from tasks.signals import discover
from tasks.tier import adopted


@dataclass
class Node:
    """One thing of the lineage: what it is, its id, facts about it, and what hangs below it."""

    kind: str
    id: str
    facts: dict[str, Any] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        below = {"children": [c.to_dict() for c in self.children]} if self.children else {}
        return {"kind": self.kind, "id": self.id, **self.facts, **below}


def trace(workspace: Workspace, name: str) -> Node:
    """The lineage of a video, clip, identity, snapshot or checkpoint by id, its first 6 or more characters, or a file name.

    Raises ValueError when nothing, or more than one thing, answers to the name.
    """
    with workspace.views() as reader:
        found = _candidates(workspace, reader, name)
        if not found:
            raise ValueError(
                f'{name!r} is no video, clip, identity, snapshot or checkpoint of this workspace; headroom sql "SELECT * FROM clips"'
            )
        if len(found) > 1:
            told = ", ".join(f"{kind} {key}" for kind, key in found[:5])
            raise ValueError(f"{name!r} names {len(found)} things ({told}); give more characters")
        kind, key = found[0]
        if kind == "snapshot":
            return _snapshot(workspace, reader, key)
        if kind == "identity":
            return _identity(reader, key)
        if kind == "checkpoint":
            return _checkpoint(workspace, reader, key)
        if kind == "clip":
            row = reader.sql("SELECT video_id FROM clips WHERE clip_id = ?", [key]).row(0)
            return _video(workspace, reader, str(row[0]), only_clip=key)
        return _video(workspace, reader, key)


def clip_named(workspace: Workspace, name: str) -> str:
    """The id of a clip by it or its first 6 or more characters. Raises ValueError when there is none, or several."""
    with workspace.views() as reader:
        found = [key for kind, key in _candidates(workspace, reader, name) if kind == "clip"]
    if len(found) != 1:
        told = (
            f"names {len(found)} clips ({', '.join(found[:5])}); give more characters" if found else "is no clip here"
        )
        raise ValueError(f'{name!r} {told}; headroom sql "SELECT clip_id FROM clips" lists all')
    return found[0]


def _candidates(workspace: Workspace, reader: Reader, name: str) -> list[tuple[str, str]]:
    prefix = name + "%" if len(name) >= 6 and name.isalnum() else name
    found = [
        ("video", v)
        for (v,) in reader.sql(
            "SELECT video_id FROM videos WHERE video_id LIKE ? OR name = ?", [prefix, name]
        ).iter_rows()
    ]
    found += [
        ("clip", c) for (c,) in reader.sql("SELECT clip_id FROM clips WHERE clip_id LIKE ?", [prefix]).iter_rows()
    ]
    people = reader.sql("SELECT DISTINCT identity FROM identities WHERE identity LIKE ?", [prefix])
    found += [("identity", i) for (i,) in people.iter_rows()]
    table = tables.snapshots
    found += [("snapshot", r["id"]) for r in workspace.ledger.rows(table.select().where(table.c.id.like(prefix)))]
    made = tables.checkpoints
    found += [("checkpoint", r["id"]) for r in workspace.ledger.rows(made.select().where(made.c.id.like(prefix)))]
    return found


def _video(workspace: Workspace, reader: Reader, video_id: str, only_clip: str | None = None) -> Node:
    facts = reader.sql(
        "SELECT name, state, reason, duration_s, proxy_uri, normalise_fingerprint FROM videos WHERE video_id = ?",
        [video_id],
    ).row(0, named=True)
    node = Node("video", video_id, _told(facts))
    table = tables.sources
    for row in workspace.ledger.rows(table.select().where(table.c.video_id == video_id)):
        node.children.append(Node("source", row["uri"], {"num_bytes": row["num_bytes"]}))
    for row in reader.sql(
        "SELECT licence, consent, origin, told_by FROM rights WHERE video_id = ?", [video_id]
    ).iter_rows(named=True):
        node.children.append(Node("rights", row["licence"], _told({k: v for k, v in row.items() if k != "licence"})))
    lines = reader.sql(
        """SELECT name, any_value(fingerprint) AS fingerprint, count(*) AS windows, sum(num_rows)::BIGINT AS num_rows,
           string_agg(DISTINCT status, ', ') AS status FROM timelines WHERE video_id = ? AND clip_id IS NULL
           GROUP BY name ORDER BY name""",
        [video_id],
    )
    node.children += [
        Node("timeline", r["name"], _told({k: v for k, v in r.items() if k != "name"}))
        for r in lines.iter_rows(named=True)
    ]
    query = "SELECT * FROM clips WHERE video_id = ? ORDER BY start_frame"
    frozen = workspace.ledger.rows(tables.snapshots.select().order_by(*tables.SNAPSHOTS_BY_AGE))
    held = [(row, _clips_of(workspace, row)) for row in frozen]
    for clip in reader.sql(query, [video_id]).iter_rows(named=True):
        if only_clip in (None, clip["clip_id"]):
            node.children.append(_clip(workspace, reader, clip, [row for row, ids in held if clip["clip_id"] in ids]))
    return node


def _clip(
    workspace: Workspace, reader: Reader, clip: Mapping[str, Any], frozen_in: Sequence[Mapping[str, Any]]
) -> Node:
    node = Node("clip", str(clip["clip_id"]), {k: clip[k] for k in ("start_s", "end_s", "start_frame", "end_frame")})
    columns = set(reader.columns("signals"))
    row = reader.sql("SELECT * FROM signals WHERE clip_id = ?", [clip["clip_id"]]).row(0, named=True)
    for name, signal in discover().items():
        if f"{name}_status" not in columns or row[f"{name}_status"] is None:
            continue
        facts = {k: row[f"{name}_{k}"] for k in ("status", "reason", "fingerprint", "computed_at")}
        facts["current"] = row[f"{name}_fingerprint"] == signal.fingerprint
        node.children.append(Node("signal", name, _told(facts)))
    for name, fingerprint in adopted(workspace).items():
        if row.get(f"{name}_status") is not None:
            facts = {k: row[f"{name}_{k}"] for k in ("status", "reason", "fingerprint", "computed_at")}
            facts["current"] = row[f"{name}_fingerprint"] == fingerprint
            if judged := row.get(f"{name}_checkpoint"):  # of an evaluation: which network was judged on it
                facts["checkpoint"] = judged
            node.children.append(Node("signal", name, _told(facts)))
    node.children += [
        Node("drawn", v["uri"], {"checkpoint": v["checkpoint"]}) for v in drawn.videos_of(workspace, node.id)
    ]
    shown = reader.sql("SELECT identity FROM identities WHERE clip_id = ?", [clip["clip_id"]])
    node.children += [Node("identity", i) for (i,) in shown.iter_rows()]
    for frozen in frozen_in:
        facts = {"tier": frozen["tier"], "created_at": frozen["created_at"]}
        node.children.append(
            Node(
                "snapshot",
                frozen["id"],
                facts,
                [*_exports(workspace, frozen["id"]), *_checkpoints_of(workspace, frozen["id"])],
            )
        )
    return node


def _exports(workspace: Workspace, snapshot_id: str) -> list[Node]:
    rows = workspace.ledger.rows(tables.exports.select().where(tables.exports.c.snapshot == snapshot_id))
    return [Node("export", row["path"], {"begun_at": row["begun_at"]}) for row in rows]


def _identity(reader: Reader, identity: str) -> Node:
    """A person with the videos and clips that show them."""
    node = Node("identity", identity)
    query = """SELECT v.video_id, v.name, list(c.clip_id ORDER BY c.start_frame) AS clips FROM identities i
        JOIN clips c USING (clip_id) JOIN videos v USING (video_id) WHERE i.identity = ? GROUP BY ALL ORDER BY v.name"""
    for video in reader.sql(query, [identity]).iter_rows(named=True):
        below = [Node("clip", clip) for clip in video["clips"]]
        node.children.append(Node("video", video["video_id"], {"name": video["name"]}, below))
    return node


def _checkpoints_of(workspace: Workspace, snapshot_id: str) -> list[Node]:
    """The checkpoints that were trained on a snapshot."""
    rows = registry.learnt_from(workspace, [snapshot_id])
    return [Node("checkpoint", r["id"], {"recipe": r["recipe"], "created_at": r["created_at"]}) for r in rows]


def _checkpoint(workspace: Workspace, reader: Reader, checkpoint_id: str) -> Node:
    """The snapshot it was trained on (of a curriculum: that of every stage), and of its clips which it learnt from and which
    were held out."""
    told = registry.load(workspace, checkpoint_id).told
    facts = {
        "recipe": told["recipe"]["name"],
        "commit": told["code"]["commit"],
        "weights_sha256": told["weights_sha256"],
    }
    if judged := _evaluations(workspace, reader, checkpoint_id):
        facts["evaluated"] = ", ".join(judged)
    if videos := [c["clip_id"] for of in drawn.drawn_by(workspace, checkpoint_id) for c in of["clips"]]:
        facts["drew"] = f"{len(videos)} videos of clips {', '.join(dict.fromkeys(videos))}"
    part_of = {clip: part for part, clips in told["data"]["clips"].items() for clip in clips}
    stages = told.get("curriculum", {}).get("stages", [told])
    by_id: dict[str, Node] = {}
    for number, stage in enumerate(stages, 1):
        name = str(stage["snapshot"]["id"])
        if name not in by_id:
            by_id[name] = _snapshot(workspace, reader, name)
        if "curriculum" in told:
            passed = f"{number} ({stage['num_steps']} steps)"
            facts_ = by_id[name].facts
            facts_["stage"] = f"{facts_['stage']}, {passed}" if "stage" in facts_ else passed
    for snapshot in by_id.values():
        snapshot.children = [child for child in snapshot.children if child.kind == "video"]
        for video in snapshot.children:
            for clip in video.children:
                clip.facts["part"] = part_of.get(clip.id, "left out")
    return Node("checkpoint", checkpoint_id, facts, list(by_id.values()))


def _evaluations(workspace: Workspace, reader: Reader, checkpoint_id: str) -> list[str]:
    """The signals that hold what an evaluation of this checkpoint says of clips now."""
    columns = reader.columns("_signals")
    held = [n for n in adopted(workspace) if f"{n}_checkpoint" in columns]
    query = "SELECT count(*) FROM _signals WHERE {}_checkpoint = ?"
    return [n for n in held if reader.sql(query.format(n), [checkpoint_id]).item()]


def _snapshot(workspace: Workspace, reader: Reader, snapshot_id: str) -> Node:
    table = tables.snapshots
    row = workspace.ledger.rows(table.select().where(table.c.id == snapshot_id))[0]
    node = Node("snapshot", snapshot_id, {k: row[k] for k in ("tier", "sha256", "num_clips", "uri")})
    node.facts["frozen"] = datetime.fromtimestamp(row["created_at"]).strftime("%Y-%m-%d %H:%M")
    node.facts["unchanged_at_manifest"] = row["manifest_id"]  # the newest for which a build gave this snapshot again
    held = snapshots.load(workspace.objects.local(row["uri"])).clips
    reader.with_table("_traced", held.select(["clip_id", "video_id", "start_frame"]))
    query = """SELECT v.video_id, v.name, r.licence, list(t.clip_id ORDER BY t.start_frame) AS clips,
        list(c.clip_id) AS present FROM _traced t LEFT JOIN clips c ON c.clip_id = t.clip_id
        JOIN videos v ON v.video_id = t.video_id
        LEFT JOIN rights r ON r.video_id = v.video_id GROUP BY ALL ORDER BY v.name, v.video_id"""
    for video in reader.sql(query).iter_rows(named=True):
        retired = {clip: {} if clip in video["present"] else {"retired": True} for clip in video["clips"]}
        below = [Node("clip", clip, facts) for clip, facts in retired.items()]
        node.children.append(
            Node("video", video["video_id"], _told({"name": video["name"], "licence": video["licence"]}), below)
        )
    node.children += [*_exports(workspace, snapshot_id), *_checkpoints_of(workspace, snapshot_id)]
    return node


def _clips_of(workspace: Workspace, row: Mapping[str, Any]) -> set[str]:
    return set(snapshots.load(workspace.objects.local(row["uri"])).clip_ids)


def _told(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in facts.items() if v is not None}
