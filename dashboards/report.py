"""The report: a folder of static HTML that plays from a disk, with everything it shows beside it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dashboards import (
    charts,
    clip_media,
    distributions,
    overlays,
    report_clips,
    report_facts,
    report_models,
    report_signals,
    strips,
    tier_facts,
)
from dashboards.report_clips import ASSET, Assets, ClipBook
from store import ledger as tables
from store.workspace import Reader, Workspace
from tasks import tier as tiers
from tasks.signals import discover

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")
_STAMP = re.compile(r'<meta name="headroom-stamp" content="([0-9a-f]{16})">')
_ASSET_IN_PAGE = re.compile(r'"assets/([^"]+)"')
MODELS_PAGE = "models.html"
_PAGE_IN_PAGE = re.compile(r'href="(signal-[a-z0-9_]+\.html|models\.html)"')
OTHER_PAGE = re.compile(r"signal-[a-z0-9_]+\.html|models\.html")
"""Names of pages that the report writes, and may delete again."""


def write_report(
    workspace: Workspace, out_dir: Path | None = None, on_progress: Callable[[int, int], None] | None = None
) -> Path:
    """Writes the report of the newest manifest into WORKSPACE/report, or `out_dir`; gives the path of its index.html.

    A reader of the folder sees the old page or the new one, never a half: pictures and cuts come first, under names
    that tell what they hold, then the page takes its place at once. Over unchanged data, tiers and code nothing is
    written. `on_progress` is told how many pages are made, and of how many. Raises ValueError when the folder can't be
    written.
    """
    folder = Path(out_dir).absolute() if out_dir else workspace.settings.workspace / "report"
    page = folder / "index.html"
    with _only_one(folder), workspace.views() as reader:
        stamp = _stamp(workspace, reader)
        if _is_current(page, stamp):
            return page
        assets = Assets(folder / "assets")
        pages = _pages(workspace, reader, assets, stamp, on_progress or (lambda _done, _total: None))
        for name, html in pages.items():  # the index comes last: what it links to is there
            part = folder / f".{name}.part"
            part.write_text(html, encoding="utf-8")
            part.replace(folder / name)
        _drop_unused(folder, assets, set(pages))
    return page


def _pages(
    workspace: Workspace, reader: Reader, assets: Assets, stamp: str, on_progress: Callable[[int, int], None]
) -> dict[str, str]:
    """The pages by file name, index.html last; what it shows is made first, and counts as its page."""
    total = len(discover()) + 1
    on_progress(0, total)
    told, book = _told(workspace, reader, assets)
    templates = environment()
    common = {k: told[k] for k in ("name", "manifest", "made")} | {"stamp": stamp}
    pictures = report_signals.Pictures(workspace)
    pages = {}
    for made, facts in enumerate(told["signals"], 1):
        on_progress(made, total)
        signal = discover()[facts.name]
        shown = report_signals.signal_page(book, reader, signal, pictures)
        template = templates.get_template("signal.html")
        spec, names = signal.spec, [s.name for s in told["signals"]]
        pages[shown.file] = template.render(**common, page=shown, facts=facts, spec=spec, names=names)
    if found := report_models.models(workspace, assets):
        pages[MODELS_PAGE] = templates.get_template(MODELS_PAGE).render(**common, models=found)
    index = templates.get_template("report.html").render(**told, stamp=stamp, num_models=len(found))
    on_progress(total, total)
    return {**pages, "index.html": index}


def environment() -> Environment:
    """The templates, with what they call."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["rough"] = _rough
    made.filters["short"] = distributions.short
    made.filters["share"] = _share
    made.filters["time"] = _time
    return made


def _told(workspace: Workspace, reader: Reader, assets: Assets) -> tuple[dict[str, Any], ClipBook]:
    """Everything the index shows, and the clips it is made of."""
    videos = report_facts.videos_of(reader)
    run = tiers.guarded(workspace, reader.manifest)
    found = tier_facts.tier_facts(workspace, reader, run)
    costs = report_facts.costs_of()
    marks = report_facts.marks_of(found)
    clips = report_clips.clip_rows(reader)
    clip_s = sum(c["duration_s"] for c in clips.values())
    book = ClipBook(workspace, clips, found, run, distributions.declared(), assets)
    picked = report_clips.picked_samples(book)
    book.judge([*picked, *report_clips.evenly(report_clips.in_no_tier(book), report_clips.MAX_ON_SHEET)])
    outcomes = Counter(report_facts.outcome(v) for v in videos)
    told = {
        "name": workspace.settings.workspace.name,
        "manifest": reader.manifest.id,
        "made": _made(workspace, reader),
        "outcomes": {k: outcomes.get(k, 0) for k in ("clipped", "no_clip", "rejected", "quarantined", "new")},
        "num_videos": len(videos),
        "footage_s": sum(v["footage_s"] for v in videos),
        "num_clips": len(clips),
        "clip_s": clip_s,
        "tiers": found,
        "funnel": funnel_steps(videos, len(clips), found),
        "saving": report_facts.saving_of(videos, clip_s, costs),
        "reasons": _reasons(videos),
        "signals": report_facts.signal_facts(reader, costs, marks),
        "clip_distributions": report_facts.clip_distributions(reader, marks),
        "sheets": report_clips.sheets(book, reader, videos),
        "samples": report_clips.samples(book, reader, picked),
        "quarantined": [v for v in videos if report_facts.outcome(v) == "quarantined"],
        "dropped": [v for v in videos if report_facts.outcome(v) in ("rejected", "no_clip")],
    }
    return told, book


def funnel_steps(
    videos: Sequence[dict[str, Any]], num_clips: int, found: Sequence[tier_facts.TierFacts]
) -> list[dict[str, Any]]:
    """The way of the footage, a step a row: {"unit", "label", "count", "of", "lost", "why", "colour"}.

    Videos and clips are counted apart: `of` is the first count of the unit, `lost` what this step took:
    of a tier, what it leaves out of the narrowest wider tier that holds all of it.
    """
    outcomes = Counter(report_facts.outcome(v) for v in videos)
    total = len(videos)
    readable = total - outcomes["quarantined"]
    passed = readable - outcomes["rejected"]
    clipped = passed - outcomes["no_clip"] - outcomes["new"]
    pending = "under way or without a clip" if outcomes["new"] else "without a clip"
    steps = [
        ("videos", "found", total, total, 0, "", "neutral"),
        ("videos", "readable", readable, total, total - readable, "quarantined", "neutral"),
        ("videos", "past the prefilter", passed, total, readable - passed, "rejected", "neutral"),
        ("videos", "with a clip", clipped, total, passed - clipped, pending, "neutral"),
        ("clips", "chosen", num_clips, num_clips, 0, "", "neutral"),
    ]
    decided = [tier for tier in found if not tier.problem]
    for i, tier in enumerate(decided):
        count = len(tier.clip_ids)
        above = next((len(t.clip_ids) for t in reversed(decided[:i]) if t.clip_ids >= tier.clip_ids), num_clips)
        steps.append(("clips", tier.name, count, num_clips, above - count, "left out", tier.colour))
    return [dict(zip(("unit", "label", "count", "of", "lost", "why", "colour"), s, strict=True)) for s in steps]


def _reasons(videos: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What ended the way of videos, counted: reasons that differ by their figures only are one, told by its first."""
    groups: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for video in videos:
        end = report_facts.outcome(video)
        if end not in ("clipped", "new"):
            why = str(video["prefilter_reason"] or video["reason"] or "no reason was told")
            key = (end, str(video["stage"] or ""), re.sub(r"\d[\d.,]*", "#", why))
            groups.setdefault(key, []).append((video["name"], why))
    ordered = sorted(groups.items(), key=lambda g: (g[0][0] != "rejected", g[0][0], -len(g[1]), g[0]))
    return [
        {"stage": stage or end, "reason": found[0][1], "names": [name for name, _ in found]}
        for (end, stage, _), found in ordered
    ]


def _made(workspace: Workspace, reader: Reader) -> str:
    """When the manifest was committed: the page depends on the data, not on the clock."""
    table = tables.manifests
    rows = workspace.ledger.rows(table.select().where(table.c.id == reader.manifest.id))
    return datetime.fromtimestamp(rows[0]["created_at"], UTC).strftime("%Y-%m-%d %H:%M UTC") if rows else "no data yet"


def _stamp(workspace: Workspace, reader: Reader) -> str:
    """Hash of all that decides the page: the manifest, tiers and their snapshots, checkpoints, the signals and this code."""
    modules = (
        charts,
        clip_media,
        distributions,
        overlays,
        report_clips,
        report_facts,
        report_models,
        report_signals,
        strips,
    )
    code = [Path(m.__file__ or "").read_bytes() for m in modules]
    code += [Path(__file__).read_bytes(), *(f.read_bytes() for f in sorted(TEMPLATES.iterdir()) if f.is_file())]
    frozen = workspace.ledger.rows(tables.snapshots.select().order_by(tables.snapshots.c.id))
    told = {
        "manifest": [reader.manifest.id, sorted(reader.manifest.versions.items())],
        "tiers": tiers.texts(workspace),
        "snapshots": [row["id"] for row in frozen],
        "models": report_models.told_of(workspace),
        "signals": {name: signal.fingerprint for name, signal in discover().items()},
        "code": hashlib.sha256(b"".join(code)).hexdigest(),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _is_current(page: Path, stamp: str) -> bool:
    if not page.is_file():
        return False
    index = page.read_text(encoding="utf-8")
    others = [page.parent / name for name in sorted(set(_PAGE_IN_PAGE.findall(index)))]
    if not all(other.is_file() for other in others):
        return False
    texts = [index, *(other.read_text(encoding="utf-8") for other in others)]
    stamps = [found[1] if (found := _STAMP.search(text)) else "" for text in texts]
    present = {entry.name for entry in os.scandir(page.parent / "assets")}
    return set(stamps) == {stamp} and all(present.issuperset(_ASSET_IN_PAGE.findall(text)) for text in texts)


def _drop_unused(folder: Path, assets: Assets, pages: set[str]) -> None:
    """Pages, pictures and cuts that are no longer shown, and what a killed process left half written."""
    for entry in list(os.scandir(folder)):
        name = entry.name.removeprefix(".").removesuffix(".part")
        if OTHER_PAGE.fullmatch(name) and entry.name not in pages:
            Path(entry.path).unlink()
    for entry in list(os.scandir(assets.folder)):
        ours = ASSET.fullmatch(entry.name.removeprefix(".part-"))
        if ours and entry.name not in assets.used:
            Path(entry.path).unlink()


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Makes the folder, for one writer at a time; the lock ends with its holder. Raises ValueError if it can't."""
    try:
        (folder / "assets").mkdir(parents=True, exist_ok=True)
        handle = (folder / ".lock").open("a")
    except OSError as error:
        raise ValueError(f"report: {folder} can't be written ({error.strerror}); choose another folder") from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _share(part: float, whole: float) -> str:
    """A width for a bar, in percent."""
    return f"{100 * part / whole:.2f}" if whole else "0"


def _rough(value: float) -> str:
    return charts.number(value, 2)


def _time(seconds: float) -> str:
    """2.35 h, 4.1 min or 12.3 s."""
    if seconds >= 3600:
        return f"{seconds / 3600:.2f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 120 else f"{seconds:.1f} s"
