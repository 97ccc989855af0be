"""The lineage of one thing as a drawing: sources on the left, what was made of them on the right. SVG, or a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

COLUMNS = (
    ("source", "rights"),
    ("video",),
    ("timeline",),
    ("clip",),
    ("signals", "identity"),
    ("snapshot",),
    ("export", "checkpoint", "drawn"),
)
"""Kinds from left to right, as data flow."""
COLOURS = {
    "source": "#8a8f98",
    "rights": "#b08900",
    "video": "#2f6fdb",
    "timeline": "#6b7bd6",
    "clip": "#1d8a5f",
    "signals": "#4fa884",
    "identity": "#b5519c",
    "snapshot": "#c2571a",
    "export": "#7a4b2b",
    "checkpoint": "#5b3a8c",
    "drawn": "#96607d",
}
WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 190, 40, 70, 10, 24
MAX_LETTERS = 27


@dataclass
class Box:
    """One thing that is drawn, once, however often the tree names it."""

    kind: str
    id: str
    facts: str
    told: str
    place: tuple[int, int] = (0, 0)


@dataclass
class Graph:
    boxes: dict[tuple[str, str], Box] = field(default_factory=dict)
    edges: set[tuple[tuple[str, str], tuple[str, str]]] = field(default_factory=set)


def write_graph(node: Mapping[str, Any], out: Path) -> Path:
    """Writes the drawing of a traced node; the file's name says what: .svg, or .html. Raises ValueError for another."""
    if out.suffix not in (".svg", ".html"):
        raise ValueError(f"{out.name}: a graph is drawn as .svg or .html; name the file so")
    drawn = svg(node)
    title = escape(f"{node['kind']} {node['id']}")
    page = f'<!doctype html><meta charset="utf-8"><title>{title}</title><body style="margin:0;background:#fff">{drawn}'
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(drawn if out.suffix == ".svg" else page, encoding="utf-8")
    return out


def graph_of(node: Mapping[str, Any]) -> Graph:
    """Boxes and edges of a tree; the signals of a clip are one box that counts them, all equal ones across clips too."""
    made = Graph()
    _add(made, node)
    return made


def _add(graph: Graph, node: Mapping[str, Any]) -> tuple[str, str]:
    key = (str(node["kind"]), str(node["id"]))
    if key not in graph.boxes:
        facts = {k: v for k, v in node.items() if k not in ("kind", "id", "children") and not k.endswith("_at")}
        graph.boxes[key] = Box(*key, _facts(facts), "\n".join(f"{k}: {v}" for k, v in facts.items()))
    below = node.get("children", [])
    signals = [c for c in below if c["kind"] == "signal"]
    others = [c for c in below if c["kind"] != "signal"]
    for child in [*others, *([_signals(key[1], signals)] if signals else [])]:
        other = _add(graph, child)
        graph.edges.add((key, other) if _column(key[0]) <= _column(other[0]) else (other, key))
    return key


def _signals(clip: str, signals: list[Mapping[str, Any]]) -> dict[str, Any]:
    states = Counter("of an earlier version" if not s.get("current", True) else s["status"] for s in signals)
    told = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in states.most_common())
    return {"kind": "signals", "id": f"of {clip}", "states": told}


def _facts(facts: Mapping[str, Any]) -> str:
    wanted = ("name", "tier", "recipe", "licence", "states", "status", "start_s", "num_clips", "num_bytes")
    found = [(k, facts[k]) for k in wanted if facts.get(k) is not None]
    if "start_s" in facts and "end_s" in facts:
        return f"{facts['start_s']:g} to {facts['end_s']:g} s"
    return ", ".join(f"{v:,} {k.removeprefix('num_')}" if isinstance(v, int) else str(v) for k, v in found)


def _column(kind: str) -> int:
    return next(i for i, kinds in enumerate(COLUMNS) if kind in kinds)


def svg(node: Mapping[str, Any]) -> str:
    """One drawing, with a legend in the heads of its columns and all facts as tool tips."""
    graph = graph_of(node)
    used = sorted({_column(kind) for kind, _ in graph.boxes})
    stacks = {c: [b for b in graph.boxes.values() if _column(b.kind) == c] for c in used}
    tallest = max(len(boxes) for boxes in stacks.values())
    height = 2 * MARGIN + 20 + tallest * (HEIGHT + GAP_Y)
    for number, column in enumerate(used):
        boxes = stacks[column]
        top = MARGIN + 20 + (tallest - len(boxes)) * (HEIGHT + GAP_Y) // 2
        for row, box in enumerate(boxes):
            box.place = (MARGIN + number * (WIDTH + GAP_X), top + row * (HEIGHT + GAP_Y))
    width = 2 * MARGIN + len(used) * (WIDTH + GAP_X) - GAP_X
    root = (str(node["kind"]), str(node["id"]))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="system-ui, sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *_heads(stacks, used),
        *(_edge(graph.boxes[a], graph.boxes[b]) for a, b in sorted(graph.edges)),
        *(_box(box, key == root) for key, box in graph.boxes.items()),
        "</svg>",
    ]
    return "\n".join(parts)


def _heads(stacks: Mapping[int, list[Box]], used: list[int]) -> Iterator[str]:
    for number, column in enumerate(used):
        counts = Counter(box.kind for box in stacks[column])
        told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        x = MARGIN + number * (WIDTH + GAP_X)
        yield f'<text x="{x}" y="{MARGIN}" fill="#444" font-weight="600">{escape(told)}</text>'


def _edge(start: Box, end: Box) -> str:
    x0, y0 = start.place[0] + WIDTH, start.place[1] + HEIGHT // 2
    x1, y1 = end.place[0], end.place[1] + HEIGHT // 2
    middle = (x0 + x1) // 2
    return f'<path d="M{x0},{y0} C{middle},{y0} {middle},{y1} {x1},{y1}" fill="none" stroke="#b9bec6"/>'


def _box(box: Box, is_root: bool) -> str:
    x, y = box.place
    colour = COLOURS[box.kind]
    name = Path(box.id).name if box.kind in ("source", "export") else box.id
    return (
        f"<g><title>{escape(f'{box.kind} {box.id}')}{escape(chr(10) + box.told if box.told else '')}</title>"
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="5" fill="{colour}" '
        f'fill-opacity="{0.28 if is_root else 0.12}" stroke="{colour}" stroke-width="{2.5 if is_root else 1}"/>'
        f'<text x="{x + 8}" y="{y + 16}" fill="#111" font-weight="600">{escape(_short(name))}</text>'
        f'<text x="{x + 8}" y="{y + 31}" fill="#555">{escape(_short(box.facts or box.kind))}</text></g>'
    )


def _short(text: str) -> str:
    return text if len(text) <= MAX_LETTERS else text[: MAX_LETTERS - 1] + "…"
