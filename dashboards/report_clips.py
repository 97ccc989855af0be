"""What the report shows of clips: contact sheets, one frame a clip, and samples that play, with their verdicts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dashboards.clip_media import Span, cut, still
from dashboards.distributions import shown
from dashboards.report_facts import outcome
from dashboards.tier_facts import TierFacts, Verdict, verdicts_of
from store.guard import Query
from store.workspace import Reader, Workspace
from tasks.signal import Column
from tasks.signals import discover

MAX_ON_SHEET = 60
MAX_SAMPLES = 24
STILL_PX, POSTER_PX = 256, 480
ASSET = re.compile(r"(?:still|poster|clip|signal|drawn)-[0-9a-zA-Z_-]+\.(?:jpg|mp4)")
"""Names of files that the report writes, and may delete again."""


@dataclass(frozen=True)
class Card:
    """One picture of a contact sheet. `problem` stands where there is no picture."""

    title: str
    span: str
    image: str
    problem: str
    lines: tuple[tuple[str, str], ...]
    colours: tuple[str, ...] = ()
    anchor: str = ""


@dataclass(frozen=True)
class Sheet:
    """Cards under one heading; `more` clips are not shown."""

    key: str
    title: str
    told: str
    colour: str
    cards: tuple[Card, ...]
    total: int

    @property
    def more(self) -> int:
        return self.total - len(self.cards)


@dataclass(frozen=True)
class Sample:
    """One clip that plays, with what decides on it."""

    clip_id: str
    title: str
    span: str
    video: str
    poster: str
    problem: str
    tiers: tuple[tuple[str, str, bool, tuple[Verdict, ...]], ...]
    """(tier, colour, in it, verdicts), the widest tier first."""
    values: tuple[tuple[str, str], ...] = ()
    """(column, value)."""

    @property
    def first_failures(self) -> tuple[str, tuple[Verdict, ...]]:
        """The widest tier that the clip is not in, and the clauses that keep it out."""
        for name, _, inside, verdicts in self.tiers:
            if not inside:
                return name, tuple(v for v in verdicts if not v.passed)
        return "", ()


@dataclass
class Assets:
    """Files beside the page, made once: their names tell what they hold, so an old one is used again."""

    folder: Path
    used: set[str] = field(default_factory=set)

    def make(self, name: str, write: Callable[[Path], None]) -> str:
        """Raises what `write` raises; then nothing is left behind."""
        assert ASSET.fullmatch(name), name
        target = self.folder / name
        if not target.exists():
            part = self.folder / f".part-{name}"
            try:
                write(part)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
        self.used.add(name)
        return f"assets/{name}"


@dataclass
class ClipBook:
    """All that is needed to tell of a clip: its row, its tiers, its pictures."""

    workspace: Workspace
    clips: dict[str, dict[str, Any]]
    tiers: Sequence[TierFacts]
    run: Query
    columns: Mapping[str, Column]
    assets: Assets
    verdicts: dict[str, dict[str, tuple[Verdict, ...]]] = field(default_factory=dict)

    def still(self, kind: str, row: Mapping[str, Any], frame: int, longest_px: int, key: str) -> tuple[str, str]:
        """(image, problem) of a frame of the row's proxy."""
        proxy = self.workspace.objects.local(row["proxy_uri"])
        name = f"{kind}-{key}-{str(row['proxy_sha256'])[:10]}.jpg"
        try:
            return self.assets.make(name, lambda part: _write_jpeg(proxy, frame, longest_px, part)), ""
        except (ValueError, OSError) as error:
            return "", str(error)

    def colours(self, clip_id: str) -> tuple[str, ...]:
        return tuple(t.colour for t in self.tiers if clip_id in t.clip_ids)

    def judge(self, clip_ids: Sequence[str]) -> None:
        """Asks for the verdicts of all tiers on these clips."""
        self.verdicts = verdicts_of(self.run, self.tiers, clip_ids, self.columns)

    def explained(self, tier: TierFacts, clip_id: str) -> tuple[Verdict, ...]:
        return self.verdicts.get(tier.name, {}).get(clip_id, ())


def clip_rows(reader: Reader) -> dict[str, dict[str, Any]]:
    """All clips by id, in the order of their videos' names."""
    rows = reader.sql(
        """SELECT c.clip_id, c.video_id, c.start_frame, c.end_frame, c.start_s, c.end_s, c.duration_s, v.name,
           v.proxy_uri, v.proxy_sha256, v.audio_uri FROM clips c JOIN videos v USING (video_id)
           ORDER BY v.name, c.video_id, c.start_frame"""
    )
    return {row["clip_id"]: row for row in rows.iter_rows(named=True)}


def sheets(book: ClipBook, reader: Reader, videos: Sequence[dict[str, Any]]) -> list[Sheet]:
    """One sheet for each tier, the narrowest first, then what is in none, then videos without a clip."""
    made = []
    for tier in sorted(book.tiers, key=lambda t: len(t.clip_ids)):
        if tier.clip_ids:
            made.append(_tier_sheet(book, reader, tier))
    outside = in_no_tier(book)
    decided = [t for t in book.tiers if not t.problem]
    if outside:
        made.append(_outside_sheet(book, decided[0], outside))
    dropped = [v for v in videos if outcome(v) in ("rejected", "no_clip") and v["proxy_uri"]]
    if dropped:
        made.append(_videos_sheet(book, dropped))
    return made


def in_no_tier(book: ClipBook) -> list[str]:
    """Clips that no tier holds; none while no tier can be decided."""
    decided = [t for t in book.tiers if not t.problem]
    return [c for c in book.clips if not any(c in t.clip_ids for t in decided)] if decided else []


def _tier_sheet(book: ClipBook, reader: Reader, tier: TierFacts) -> Sheet:
    members = [c for c in book.clips if c in tier.clip_ids]
    picked = evenly(members, MAX_ON_SHEET)
    columns = _key_columns(tier, reader)
    values: dict[str, dict[str, Any]] = {}
    if columns and picked:
        told = ", ".join(f"'{c}'" for c in picked)
        asked = ", ".join(columns)
        rows = reader.sql(
            f"SELECT clips.clip_id, {asked} FROM clips JOIN signals USING (clip_id) WHERE clips.clip_id IN ({told})"
        )
        values = {row["clip_id"]: row for row in rows.iter_rows(named=True)}
    cards = []
    for clip_id in picked:
        names = [c.rsplit(".", 1)[-1] for c in columns]
        lines = tuple((n, shown(n, values[clip_id][n], book.columns)) for n in names)
        cards.append(_card(book, clip_id, lines))
    return Sheet(tier.name, tier.name, "", tier.colour, tuple(cards), len(members))


def _key_columns(tier: TierFacts, reader: Reader) -> list[str]:
    """Up to four columns that the tier's own clauses decide by, else those it takes over; the length stands by itself."""
    assert tier.parsed is not None
    own = [c for clause in tier.parsed.clauses if clause.tier == tier.name for c in clause.columns]
    present = {f"{table}.{c}" for table in ("signals", "clips") for c in reader.columns(table)}
    wanted = [
        c
        for c in dict.fromkeys([*own, *tier.parsed.columns])
        if c in present and not c.endswith(("_status", ".duration_s", ".clip_id", ".video_id"))
    ]
    return wanted[:4]


def _outside_sheet(book: ClipBook, widest: TierFacts, outside: Sequence[str]) -> Sheet:
    cards = []
    for clip_id in evenly(outside, MAX_ON_SHEET):
        failed = [v for v in book.explained(widest, clip_id) if not v.passed]
        cards.append(_card(book, clip_id, tuple((v.clause, v.values) for v in failed[:3])))
    told = f"with the clauses of {widest.name} that keep them out"
    return Sheet("outside", "in no tier", told, "none", tuple(cards), len(outside))


def _videos_sheet(book: ClipBook, dropped: Sequence[dict[str, Any]]) -> Sheet:
    cards = []
    for video in evenly(dropped, MAX_ON_SHEET):
        image, problem = book.still(
            "still", video, int(video["num_frames"] or 0) // 2, STILL_PX, f"v{video['video_id']}"
        )
        why = video["prefilter_reason"] or video["reason"] or ""
        stage = "prefilter" if outcome(video) == "rejected" else "clipping"
        cards.append(Card(video["name"], f"{video['footage_s']:.1f} s", image, problem, ((stage, why),)))
    return Sheet(
        "dropped", "videos without a clip", "turned away before or at clipping", "none", tuple(cards), len(dropped)
    )


def _card(book: ClipBook, clip_id: str, lines: tuple[tuple[str, str], ...]) -> Card:
    row = book.clips[clip_id]
    middle = (int(row["start_frame"]) + int(row["end_frame"])) // 2
    image, problem = book.still("still", row, middle, STILL_PX, clip_id)
    return Card(row["name"], span_of(row), image, problem, lines, book.colours(clip_id), f"clip-{clip_id}")


def picked_samples(book: ClipBook) -> list[str]:
    """At most 24 clips: of each standing (in a tier and no narrower one, or in none), of different videos."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for clip_id in book.clips:
        groups.setdefault(book.colours(clip_id), []).append(clip_id)
    ordered = [groups[key] for key in sorted(groups, key=lambda k: (-len(k), k))]
    return _shared_out([_by_turns(group, book.clips) for group in ordered], MAX_SAMPLES)


def samples(book: ClipBook, reader: Reader, picked: Sequence[str]) -> list[Sample]:
    """The clips that play."""
    columns = set(reader.columns("signals"))
    return [_sample(book, reader, clip_id, columns) for clip_id in picked]


def _sample(book: ClipBook, reader: Reader, clip_id: str, columns: set[str]) -> Sample:
    row = book.clips[clip_id]
    start, end = int(row["start_frame"]), int(row["end_frame"])
    poster, problem = book.still("poster", row, (start + end) // 2, POSTER_PX, clip_id)
    span = Span(book.workspace.objects.local(row["proxy_uri"]), start, end)
    video = ""
    if not problem:
        name = f"clip-{clip_id}-{str(row['proxy_sha256'])[:10]}.mp4"
        try:
            video = book.assets.make(name, lambda part: cut(span, part))
        except (ValueError, OSError) as error:
            problem = str(error)
    told = tuple(
        (t.name, t.colour, clip_id in t.clip_ids, book.explained(t, clip_id)) for t in book.tiers if not t.problem
    )
    wide = reader.sql("SELECT * FROM signals WHERE clip_id = ?", [clip_id]).row(0, named=True)
    return Sample(
        clip_id, row["name"], span_of(row), video, poster, problem, told, tuple(_values(wide, columns, book.columns))
    )


def _values(wide: Mapping[str, Any], columns: set[str], known: Mapping[str, Column]) -> list[tuple[str, str]]:
    found = []
    for name, signal in discover().items():
        status = f"{name}_status"
        if signal.spec.grain != "clip" or status not in columns or wide[status] is None:
            continue
        if wide[status] != "ok":
            found.append((status, f"{wide[status]}: {wide[f'{name}_reason']}"))
            continue
        for column in signal.spec.columns:
            full = f"{name}_{column.name}"
            if full in wide and not isinstance(wide[full], list | dict):
                found.append((full, shown(full, wide[full], known)))
    return found


def evenly(items: Sequence[Any], most: int) -> list[Any]:
    """At most `most` items, spread over all of them, in order."""
    if len(items) <= most:
        return list(items)
    return [items[i * len(items) // most] for i in range(most)]


def _by_turns(group: Sequence[str], clips: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One clip of each video, then a second of each, and so on."""
    rounds: dict[str, int] = {}
    turns = []
    for clip_id in group:
        video = clips[clip_id]["video_id"]
        turns.append((rounds.get(video, 0), clip_id))
        rounds[video] = rounds.get(video, 0) + 1
    return [clip_id for _, clip_id in sorted(turns, key=lambda t: t[0])]


def _shared_out(groups: Sequence[list[str]], most: int) -> list[str]:
    """`most` items taken from the groups in turn, told group by group."""
    counts = [0] * len(groups)
    while sum(counts) < most and any(n < len(g) for n, g in zip(counts, groups, strict=True)):
        for i, group in enumerate(groups):
            if counts[i] < len(group) and sum(counts) < most:
                counts[i] += 1
    return [clip_id for n, group in zip(counts, groups, strict=True) for clip_id in group[:n]]


def span_of(row: Mapping[str, Any]) -> str:
    start_s, end_s = (round(float(row[k]), 1) + 0.0 for k in ("start_s", "end_s"))  # never -0.0
    return f"{start_s:.1f} to {end_s:.1f} s"


def _write_jpeg(proxy: Path, frame: int, longest_px: int, part: Path) -> None:
    still(proxy, frame, longest_px).save(part, "JPEG", quality=80)
