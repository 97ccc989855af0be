"""The drawing of a lineage: every thing once, edges along the data's way, whatever names hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from dashboards.lineage import graph_of, svg, write_graph
from store.ledger import exports, snapshots
from store.workspace import Workspace, open_workspace
from tasks import freeze
from tasks.trace import trace
from tests.unit.dashboards.conftest import EVIL, fill

SVG = "{http://www.w3.org/2000/svg}"


def node(kind: str, key: str, *children: dict[str, Any], **facts: Any) -> dict[str, Any]:
    return {"kind": kind, "id": key, **facts, "children": list(children)}


def tree() -> dict[str, Any]:
    signals = [
        node("signal", n, status=s, current=c) for n, s, c in (("a", "ok", True), ("b", "ok", True), ("c", "ok", False))
    ]
    frozen = node("snapshot", "s1", node("export", "/shards/one"), node("checkpoint", "k1", recipe="net"), tier="gold")
    clips = [node("clip", f"c{i}", frozen, *signals, start_s=float(i), end_s=i + 1.5) for i in range(2)]
    return node("video", "v1", node("source", f"/footage/{EVIL}"), node("rights", "CC0"), *clips, name=EVIL)


def test_each_thing_is_drawn_once_and_data_flow_to_the_right() -> None:
    made = graph_of(tree())
    assert sorted(kind for kind, _ in made.boxes) == [
        "checkpoint", "clip", "clip", "export", "rights", "signals", "signals", "snapshot", "source", "video",
    ]  # fmt: skip
    assert (("source", f"/footage/{EVIL}"), ("video", "v1")) in made.edges
    assert {(("clip", f"c{i}"), ("snapshot", "s1")) for i in range(2)} <= made.edges
    assert (("snapshot", "s1"), ("checkpoint", "k1")) in made.edges
    assert made.boxes["signals", "of c0"].facts == "2 ok, 1 of an earlier version"
    drawn = ElementTree.fromstring(svg(tree()))
    left = {t.text: float(t.get("x", 0)) for t in drawn.iter(f"{SVG}text")}
    assert left["script>.mp4"] < left["v1"] < left["c0"] < left["s1"] < left["one"]
    boxes = [(float(r.get("x", 0)), float(r.get("y", 0))) for r in drawn.iter(f"{SVG}rect")][1:]
    assert len(set(boxes)) == len(boxes) == len(made.boxes), "no box lies on another"


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is drawn as .svg or .html"):
        write_graph(tree(), tmp_path / "lineage.png")
    assert "&lt;script&gt;" in write_graph(tree(), tmp_path / "a" / "lineage.html").read_text()


def test_a_snapshot_knows_its_videos_and_a_clip_its_shards(tmp_path: Path, quick_sql: None) -> None:
    workspace: Workspace = open_workspace(tmp_path / "workspace")
    fill(workspace)
    (tmp_path / "workspace" / "tiers" / "all.sql").write_text("SELECT clip_id FROM clips WHERE duration_s >= 3")
    made = freeze.build(workspace, "all")["snapshot"]
    workspace.ledger.put(exports, [{"path": "/shards/one", "snapshot": made, "begun_at": 1.0}])
    back = graph_of(trace(workspace, made).to_dict())
    assert {key for kind, key in back.boxes if kind == "video"} == {"v0", "v1", "v2", "v3"}
    assert (("snapshot", made), ("export", "/shards/one")) in back.edges
    forth = graph_of(trace(workspace, "c0").to_dict())
    assert {(("video", "v0"), ("clip", "c0")), (("clip", "c0"), ("snapshot", made))} <= forth.edges
    assert [key for kind, key in forth.boxes if kind == "clip"] == ["c0"]
    assert len(workspace.ledger.rows(snapshots.select())) == 1
