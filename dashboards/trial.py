"""What a signal under development says, to be looked at: its ends drawn over frames, all values, cost, scorecard."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from dashboards import report_signals
from dashboards.distributions import declared
from dashboards.grid import fitted, font
from dashboards.report import environment
from dashboards.report_clips import Assets, ClipBook
from dashboards.report_signals import Pictures, SignalPage
from store.workspace import Workspace
from tasks import tier as tiers
from tasks.signal import Column
from tasks.try_signal import Trial, Tried

SHEET_PX, CAPTION_PX = 720, 26


def write_trial(workspace: Workspace, trial: Trial, measured: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Writes index.html, sheet.png and values.csv into `out`; gives what the command tells.

    `measured` is what the scorecard told: rows, what they are of, and what kept it from telling more.
    """
    (out / "assets").mkdir(parents=True, exist_ok=True)
    spec = trial.signal.spec
    columns = spec.columns if spec.grain == "clip" else spec.timeline
    main = report_signals.main_column(columns, lambda c: _tenths([_value(t, c) for t in trial.tried]))
    assets = Assets(out / "assets")
    page = _page(workspace, trial, main, assets)
    numbers = report_signals.numeric(columns)
    told = {
        "name": trial.signal.name,
        "file": str(trial.file),
        "clips": len(trial.tried),
        "asked": trial.asked,
        "status": _counted([t.held.status for t in trial.tried]),
        "reasons": _counted([t.held.reason for t in trial.tried if t.held.reason]),
        "columns": {c.name: _summary([_value(t, c) for t in trial.tried]) for c in columns if c in numbers},
        "cost_cpu_s": round(trial.cost, 5),
        "declared_cpu_s": spec.cost_cpu_s,
        "decode_cpu_s": round(trial.decode_cost, 5),
        "wall_s": round(trial.wall_s, 1),
        "computed_needs": trial.computed,
        **measured,
        "page": str(out / "index.html"),
        "sheet": str(out / "sheet.png"),
        "values": str(out / "values.csv"),
    }
    html = environment().get_template("trial.html").render(page=page, spec=spec, told=told, columns=columns)
    (out / "index.html").write_text(html, encoding="utf-8")
    (out / "values.csv").write_text(_csv(trial.tried, columns), encoding="utf-8")
    _sheet(page, out)
    return told


def _page(workspace: Workspace, trial: Trial, main: Column | None, assets: Assets) -> SignalPage:
    clips = {t.clip["clip_id"]: t.clip for t in trial.tried}
    of = {t.clip["clip_id"]: t for t in trial.tried}
    ok = [(c, _value(t, main) if main else "") for c, t in of.items() if t.held.status == "ok"]
    ordered = sorted(ok, key=lambda v: (v[1] is not None, v[1] or 0, v[0]) if main else (False, 0, v[0]))
    picked = report_signals.low_middle_high(ordered, clips)
    apart = [(c, t.held.reason) for c, t in of.items() if t.held.status == "not_applicable"][:2]
    broken = [(c, t.held.reason) for c, t in of.items() if t.held.status.startswith("failed")][:2]
    known = declared() | {f"{trial.signal.name}_{c.name}": c for c in trial.signal.spec.columns}
    book = ClipBook(workspace, clips, [], tiers.guarded(workspace), known, assets)
    told = {
        c: {
            **{n: h.timeline for n, h in t.needs.items() if h.timeline is not None},
            **({trial.signal.name: t.held.timeline} if t.held.timeline is not None else {}),
        }
        for c, t in of.items()
    }
    rows = {c: t.held.row for c, t in of.items() if t.held.status == "ok"}
    groups = {**picked, "not_applicable": apart, "failed": broken}
    manifest, pictures = workspace.ledger.manifest(), Pictures(workspace)
    return report_signals.drawn_page(book, manifest, trial.signal, main, groups, rows, told, pictures)


def _value(tried: Tried, column: Column) -> float | None:
    """Of a clip signal its value, of a video signal the mean over the clip."""
    if tried.held.status != "ok":
        return None
    if column.name in tried.held.row:
        value = tried.held.row[column.name]
    else:
        table = tried.held.timeline
        value = pc.mean(table[column.name]).as_py() if table is not None and table.num_rows else None
    return None if value is None else float(value)


def _summary(values: Sequence[float | None]) -> dict[str, float | int]:
    kept = sorted(v for v in values if v is not None)
    if not kept:
        return {"n": 0}
    middle = kept[len(kept) // 2]
    return {"n": len(kept), "least": kept[0], "median": middle, "most": kept[-1]}


def _tenths(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    kept = sorted(v for v in values if v is not None)
    return (kept[len(kept) // 10], kept[-1 - len(kept) // 10]) if kept else (None, None)


def _counted(values: Sequence[str]) -> dict[str, int]:
    return {v: values.count(v) for v in sorted(set(values), key=lambda v: (-values.count(v), v))}


def _csv(tried: Sequence[Tried], columns: Sequence[Column]) -> str:
    sink, numbers = io.StringIO(), report_signals.numeric(columns)
    writer = csv.writer(sink)
    writer.writerow(["clip_id", "video", "start_s", "end_s", "status", "reason", *(c.name for c in columns), "cpu_s"])
    for t in tried:
        values = [t.held.row.get(c.name) if t.held.row else _value(t, c) if c in numbers else "" for c in columns]
        span = [f"{t.clip['start_s']:.2f}", f"{t.clip['end_s']:.2f}"]
        writer.writerow(
            [t.clip["clip_id"], t.clip["name"], *span, t.held.status, t.held.reason, *values, f"{t.cpu_s:.4f}"]
        )
    return sink.getvalue()


def _sheet(page: SignalPage, out: Path) -> None:
    """All pictures of the page on one, each below its group, its value and its name."""
    from PIL import Image, ImageDraw

    shown = [(g.heading, clip) for g in page.groups for clip in g.clips if clip.image]
    parts = []
    for heading, clip in shown:
        with Image.open(out / clip.image) as picture:
            scale = SHEET_PX / picture.width
            part = Image.new("RGB", (SHEET_PX, round(picture.height * scale) + CAPTION_PX), (20, 23, 28))
            part.paste(picture.resize((SHEET_PX, round(picture.height * scale))), (0, CAPTION_PX))
        told = f"{page.main} {clip.value}" if clip.values or not page.main else clip.value
        caption = fitted(f"{heading}: {told}   {clip.title}", font(17), SHEET_PX - 12)
        ImageDraw.Draw(part).text((6, 3), caption, font=font(17), fill=(232, 235, 239))
        parts.append(part)
    if not parts:
        parts = [Image.new("RGB", (SHEET_PX, CAPTION_PX), (20, 23, 28))]
    left, right = parts[::2], parts[1::2]
    height = max(sum(p.height for p in side) for side in (left, right))
    sheet = Image.new("RGB", (SHEET_PX * (2 if right else 1), height), (20, 23, 28))
    for x, side in ((0, left), (SHEET_PX, right)):
        y = 0
        for part in side:
            sheet.paste(part, (x, y))
            y += part.height
    sheet.save(out / "sheet.png")
