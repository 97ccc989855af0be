"""A page of the report for every signal: clips at its low end, its middle and its high end, with it drawn over them."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dashboards import clip_media, overlays, strips
from dashboards.distributions import shown
from dashboards.overlays import Line, Scene
from dashboards.report_clips import ClipBook, evenly, span_of
from store.ledger import Manifest
from store.workspace import Reader, Workspace
from tasks.clip_lines import stored_lines
from tasks.digest import digest_of_table
from tasks.signal import Column, LoadedSignal, Signal
from tasks.signals import discover

PER_GROUP, NOT_APPLICABLE = 2, 1
"""Clips shown of each end and of the middle, and of those that the signal does not apply to."""
FRAME_PX, NUM_FRAMES = 320, 3
MAX_LOOKED_AT = 40
"""Clips of which a video signal's timeline is read to find its low and high end: timelines are large."""
MAX_PICTURES = 48
HEADINGS = {
    "low": "Low end",
    "middle": "Middle",
    "high": "High end",
    "not_applicable": "Does not apply",
    "failed": "Failed",
}


@dataclass(frozen=True)
class Shown:
    """One clip on the page of a signal. `problem` stands where there is no picture."""

    clip_id: str
    title: str
    span: str
    value: str
    image: str
    problem: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Group:
    key: str
    heading: str
    clips: tuple[Shown, ...]


@dataclass(frozen=True)
class SignalPage:
    name: str
    main: str
    """The column that orders the clips; empty for a signal without numbers."""
    overlay: tuple[str, ...]
    groups: tuple[Group, ...]

    @property
    def file(self) -> str:
        return f"signal-{self.name}.html"


@dataclass
class Pictures:
    """Frames of proxies at full size; the last ones are kept, because the pages of all signals show the same clips."""

    workspace: Workspace
    _kept: OrderedDict[tuple[str, int], np.ndarray] = field(default_factory=OrderedDict)

    def get(self, proxy_uri: str, frame: int) -> np.ndarray:
        """RGB uint8 (H, W, 3). Raises ValueError when the proxy can't be read."""
        key = (proxy_uri, frame)
        if key not in self._kept:
            picture = clip_media.still(self.workspace.objects.local(proxy_uri), frame, 4096)
            self._kept[key] = np.asarray(picture.convert("RGB"))
            while len(self._kept) > MAX_PICTURES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def numeric(columns: Sequence[Column]) -> list[Column]:
    return [c for c in columns if pa.types.is_floating(c.dtype) or pa.types.is_integer(c.dtype)]


def main_column(
    columns: Sequence[Column], extremes: Callable[[Column], tuple[Any, Any]] | None = None
) -> Column | None:
    """The column that orders clips: the first that holds a number which is not the same for all of them.

    `extremes` gives a column's least and greatest value over the clips; without it, and where no column differs, it is
    the first number. One clip that differs is enough: what is rare is what the high end is looked at for.
    """
    numbers = numeric(columns)
    for column in numbers if extremes else []:
        assert extremes is not None
        low, high = extremes(column)
        if low is not None and low != high:
            return column
    return numbers[0] if numbers else None


def signal_page(book: ClipBook, reader: Reader, signal: LoadedSignal, pictures: Pictures) -> SignalPage:
    """The page of one signal over the clips of the book."""
    spec = signal.spec
    main = _main(reader, signal) if spec.grain == "clip" else main_column(spec.timeline)
    picked = (
        _picked_by_row(book, reader, signal, main) if spec.grain == "clip" else _picked_by_timeline(book, signal, main)
    )
    clip_ids = [c for ids in picked.values() for c, _ in ids]
    rows = _rows_of(reader, signal, clip_ids)
    return drawn_page(book, reader.manifest, signal, main, picked, rows, {}, pictures)


def drawn_page(
    book: ClipBook,
    manifest: Manifest,
    signal: LoadedSignal,
    main: Column | None,
    picked: Mapping[str, Sequence[tuple[str, Any]]],
    rows: Mapping[str, Mapping[str, Any]],
    told: Mapping[str, Mapping[str, pa.Table]],
    pictures: Pictures,
) -> SignalPage:
    """The page of the clips picked. `rows` are the signal's values by clip, `told` timelines by clip and name that
    count before those stored."""
    clips = [book.clips[c] for ids in picked.values() for c, _ in ids]
    stored = stored_lines(book.workspace, manifest, clips, lines_wanted(signal))
    kinds: dict[str, None] = {}
    groups = []
    for key, ids in picked.items():
        made = []
        for clip_id, value in ids:
            lines = lines_of(signal, rows.get(clip_id), {**stored.get(clip_id, {}), **told.get(clip_id, {})})
            sound = bool(book.clips[clip_id]["audio_uri"]) and _listens(signal)
            kinds.update(dict.fromkeys(k for line in lines for k in overlays.kinds_of(line)))
            kinds.update(dict.fromkeys(strips.kinds_of(lines, sound=sound)))
            made.append(_shown(book, signal, clip_id, value, main, rows.get(clip_id), lines, pictures))
        if made:
            groups.append(Group(key, HEADINGS[key], tuple(made)))
    return SignalPage(signal.name, main.name if main else "", tuple(kinds), tuple(groups))


def lines_wanted(signal: LoadedSignal) -> list[str]:
    """Signals whose timelines are drawn: its own and those it needs; where none of these can be drawn over frames,
    those that they need in turn."""
    wanted = [signal.name] if signal.spec.timeline else []
    needs = list(signal.spec.needs)
    while needs:
        wanted += [n for n in needs if n not in wanted and discover()[n].spec.timeline]
        if any(_can_be_drawn(signal.spec if n == signal.name else discover()[n].spec) for n in wanted):
            break
        needs = [n for need in needs for n in discover()[need].spec.needs]
    return wanted


def _can_be_drawn(spec: Signal) -> bool:
    empty = pa.table({"frame": pa.array([], pa.int32())})
    return bool(overlays.kinds_of(Line("", {c.name: c for c in spec.timeline}, empty)))


def lines_of(signal: LoadedSignal, row: Mapping[str, Any] | None, stored: Mapping[str, pa.Table]) -> list[Line]:
    """The signal's own line first: its timeline, and its row as one that stands for the whole clip."""
    made = []
    for name, table in stored.items():
        spec = signal.spec if name == signal.name else discover()[name].spec
        made.append(Line(name, {c.name: c for c in spec.timeline}, table))
    made.sort(key=lambda line: line.name != signal.name)
    # What the frames tell one by one need not be told again for the clip as a whole.
    angles = [k for line in made for k in overlays.kinds_of(line) if k in ("head angles", "gaze")]
    if row and not angles:
        numbers = {c.name: c for c in signal.spec.columns if row.get(c.name) is not None}
        whole = Line(
            signal.name, numbers, pa.Table.from_pylist([{n: row[n] for n in numbers}]) if numbers else pa.table({})
        )
        if strips.tells_language(whole):
            made.insert(1 if signal.spec.timeline else 0, whole)
        elif overlays.kinds_of(whole):
            made.append(whole)
    return made


def scene_of(
    workspace: Workspace, clip: Mapping[str, Any], signal: LoadedSignal, lines: Sequence[Line], pictures: Pictures
) -> Scene:
    """The clip with its sound, if the signal or what it needs listens. Raises ValueError when a frame can't be read."""
    start, end = int(clip["start_frame"]), int(clip["end_frame"])
    first = pictures.get(clip["proxy_uri"], (start + end) // 2)
    audio = None
    if clip.get("audio_uri") and _listens(signal):
        audio = _sound(workspace, clip["audio_uri"], start, end)
    return Scene(start, end, first.shape[1], first.shape[0], lines, lambda f: pictures.get(clip["proxy_uri"], f), audio)


def _listens(signal: LoadedSignal) -> bool:
    return signal.spec.look.audio or any(_listens(discover()[n]) for n in signal.spec.needs)


def _sound(workspace: Workspace, audio_uri: str, start: int, end: int) -> np.ndarray | None:
    from tasks.media.errors import MediaError
    from tasks.media.reader import Reader as MediaReader

    try:
        return MediaReader().read_audio(workspace.objects.local(audio_uri), start, end)
    except MediaError:
        return None  # the picture is still worth showing; the waveform is missing from it


def drawn(scene: Scene) -> Any:
    """The picture of a scene."""
    return strips.compose(scene, list(overlays.frames_to_show(scene, NUM_FRAMES)), FRAME_PX)


def _shown(
    book: ClipBook,
    signal: LoadedSignal,
    clip_id: str,
    value: Any,
    main: Column | None,
    row: Mapping[str, Any] | None,
    lines: Sequence[Line],
    pictures: Pictures,
) -> Shown:
    clip = book.clips[clip_id]
    told = [str(clip["proxy_sha256"]), _CODE, row, [(line.name, digest_of_table(line.table)) for line in lines]]
    key = hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()[:10]

    def write(part: Path) -> None:
        drawn(scene_of(book.workspace, clip, signal, lines, pictures)).save(part, "JPEG", quality=80)

    try:
        image, problem = book.assets.make(f"signal-{signal.name}-{clip_id}-{key}.jpg", write), ""
    except (ValueError, OSError) as error:
        image, problem = "", str(error)
    text = str(value) if main is None or isinstance(value, str) else _value(signal, main, value, book.columns)
    return Shown(
        clip_id, clip["name"], span_of(clip), text, image, problem,
        tuple((c.name, shown(f"{signal.name}_{c.name}", row[c.name], book.columns)) for c in signal.spec.columns if row),
    )  # fmt: skip


def _value(signal: LoadedSignal, main: Column, value: Any, known: Mapping[str, Column]) -> str:
    if signal.spec.grain == "clip":
        return shown(f"{signal.name}_{main.name}", value, known)
    return shown(main.name, value, {main.name: main})


def _main(reader: Reader, signal: LoadedSignal) -> Column | None:
    present = set(reader.columns("signals"))
    told = [c.name for c in numeric(signal.spec.columns) if f"{signal.name}_{c.name}" in present]
    if not told:
        return main_column(signal.spec.columns)
    asked = ", ".join(f'min("{signal.name}_{n}"), max("{signal.name}_{n}")' for n in told)
    ends = reader.sql(f"SELECT {asked} FROM signals").row(0)
    found = {name: (ends[2 * i], ends[2 * i + 1]) for i, name in enumerate(told)}
    return main_column(signal.spec.columns, lambda column: found.get(column.name, (None, None)))


def _picked_by_row(
    book: ClipBook, reader: Reader, signal: LoadedSignal, main: Column | None
) -> dict[str, list[tuple[str, Any]]]:
    """Clips by group, with the value of the main column, or the reason where the signal does not apply."""
    name, columns = signal.name, set(reader.columns("signals"))
    if f"{name}_status" not in columns:
        return {}
    told = f'"{name}_{main.name}"' if main else "NULL"
    ok = reader.sql(f"SELECT clip_id, {told} AS v FROM signals WHERE {name}_status = 'ok' ORDER BY v, clip_id").rows()
    why = reader.sql(
        f"SELECT clip_id, {name}_reason AS v FROM signals WHERE {name}_status = 'not_applicable' ORDER BY clip_id"
    ).rows()
    picked = low_middle_high([(c, v) for c, v in ok if c in book.clips], book.clips)
    apart = evenly([(c, v) for c, v in why if c in book.clips], NOT_APPLICABLE)
    return {**picked, "not_applicable": apart}


def _picked_by_timeline(book: ClipBook, signal: LoadedSignal, main: Column | None) -> dict[str, list[tuple[str, Any]]]:
    """By the mean over the clip, of clips spread over the corpus; clips without a row at the low end."""
    with book.workspace.views() as reader:
        looked_at = [book.clips[c] for c in evenly(list(book.clips), MAX_LOOKED_AT)]
        column = [main.name] if main else []
        found = stored_lines(book.workspace, reader.manifest, looked_at, [signal.name], columns=["frame", *column])
    values = []
    for clip_id, lines in found.items():
        table = lines.get(signal.name)
        if table is not None:
            mean = pc.mean(table[main.name]).as_py() if main and table.num_rows else None
            values.append((clip_id, 0.0 if mean is None else float(mean)))
    return low_middle_high(sorted(values, key=lambda v: (v[1], v[0])), book.clips)


def low_middle_high(
    ordered: Sequence[tuple[str, Any]], clips: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[tuple[str, Any]]]:
    """The ends and the middle of clips ordered by value, of different videos where there are enough, none twice."""
    groups: dict[str, list[tuple[str, Any]]] = {"low": [], "middle": [], "high": []}
    centre = len(ordered) // 2
    orders = {
        "low": list(range(len(ordered))),
        "high": list(range(len(ordered) - 1, -1, -1)),
        "middle": sorted(range(len(ordered)), key=lambda i: (abs(i - centre), i)),
    }
    taken: set[str] = set()
    for _ in range(PER_GROUP):  # in turns, so that few clips are shared out
        for key, order in orders.items():
            videos = {clips[c]["video_id"] for c, _ in groups[key]}
            left = [ordered[i] for i in order if ordered[i][0] not in taken]
            chosen = next((v for v in left if clips[v[0]]["video_id"] not in videos), left[0] if left else None)
            if chosen is not None:
                groups[key].append(chosen)
                taken.add(chosen[0])
    for group in groups.values():
        group.sort(key=ordered.index)
    return groups


def _rows_of(reader: Reader, signal: LoadedSignal, clip_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The signal's values by clip, of the clips where it is ok."""
    if signal.spec.grain != "clip" or not clip_ids or f"{signal.name}_status" not in reader.columns("signals"):
        return {}
    told = ", ".join(f"'{c}'" for c in clip_ids)
    present = set(reader.columns("signals"))
    names = [c.name for c in signal.spec.columns if f"{signal.name}_{c.name}" in present]
    asked = ", ".join(f'"{signal.name}_{n}" AS "{n}"' for n in names)
    rows = reader.sql(f"SELECT clip_id, {asked} FROM signals WHERE {signal.name}_status = 'ok' AND clip_id IN ({told})")
    missing = dict.fromkeys(c.name for c in signal.spec.columns)
    return {r["clip_id"]: {**missing, **{n: r[n] for n in names}} for r in rows.to_dicts()}


def _code() -> str:
    """Pictures made by other code are others."""
    code = [Path(str(m)).read_bytes() for m in (__file__, overlays.__file__, strips.__file__)]
    return hashlib.sha256(b"".join(code)).hexdigest()[:16]


_CODE = _code()
