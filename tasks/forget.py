"""Videos and people taken out of a workspace for good, and the proof that nothing of them is left.

plan -> journal -> rows, media, pages, snapshots, shards, ledger -> search of every file -> signed report. Each step
may be killed and is done again; `resume` completes at the next start what was begun.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import logging
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import polars as pl

from store import candidates, drawn, erasure, registry, residue, scrub, snapshot, sweep
from store.annotation import metadata as annotation_tables
from store.annotation_database import existing
from store.annotation_erase import erase_videos
from store.erasure import BEGUN, DONE, LEFT, REMOVED, Erasure
from store.ledger import exports, hmac_of, sources
from store.ledger import snapshots as snapshots_table
from store.objects import local_path
from store.workspace import Reader, Workspace
from tasks.ingest import address_of, content_id
from tasks.shard_erase import erase_from_shards
from tasks.shard_set import place, sha256_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FORMAT = "headroom erasure 2"
log = logging.getLogger("headroom")
OnStep = Callable[[str], None]


def plan(workspace: Workspace, name: str) -> Erasure:
    """What would go with a video (by id, its first 6 or more characters, path, or file name, of which the ending may be left
    out where no other file is named so) or an identity (by id).

    An identity takes with it every video that shows the person in a clip. Writes nothing. Raises ValueError when
    nothing, or more than one thing, answers to the name.
    """
    with workspace.views() as reader:
        identities, video_ids = _found(reader, name)
        made = Erasure(secrets.token_hex(8), time.time(), video_ids, identities=identities)
        reader.with_table("_going", _ids(video_ids))
        _fill(workspace, reader, made)
    return made


def forget(workspace: Workspace, name: str, on_step: OnStep = lambda step: None) -> dict[str, Any]:
    """Erases what `plan` tells and gives the report's object, with `found`: what is left, empty when all is gone.

    An erasure that left something, or was cut off, is taken up again by the same name; one of another name that was cut
    off is completed before. Raises ValueError as `plan` does, and where a step can't be done now, with what is to be done.
    """
    with _only_one(workspace):
        for state, one in erasure.journals(workspace, BEGUN, REMOVED, LEFT):
            if _is_of(workspace, one, name):
                if state == LEFT:
                    one.done.clear()
                return _gone_on(workspace, state, one, on_step)
            if state != LEFT:
                log.warning("another erasure was cut off: it is completed first")
                _gone_on(workspace, state, one)
        made = plan(workspace, name)
        erasure.begin(workspace, made)
        return _gone_on(workspace, BEGUN, made, on_step)


def resume(workspace: Workspace) -> list[dict[str, Any]]:
    """Completes the erasures that were cut off; one that another process is at is left to it."""
    if not erasure.journals(workspace, BEGUN, REMOVED):
        return []
    told = []
    try:
        with _only_one(workspace, wait=False):
            for state, one in erasure.journals(workspace, BEGUN, REMOVED):
                log.warning("an erasure was cut off: it is completed first")
                told.append(_gone_on(workspace, state, one))
    except BlockingIOError:
        log.warning("an erasure is under way in another process")
    return told


def is_begun(workspace: Workspace, name: str) -> bool:
    """Whether an erasure by this name was begun and has not come to its end."""
    return any(_is_of(workspace, one, name) for _, one in erasure.journals(workspace, BEGUN, REMOVED, LEFT))


def told_of(made: Erasure, workspace: Workspace) -> dict[str, Any]:
    """What `plan` found, for a person: the object of `forget --dry-run`."""
    left = [u for u in made.counts.get("addresses", []) if "://" in u or local_path(u).exists()]
    counts = {k: v for k, v in made.counts.items() if k != "addresses"}
    ids = {"videos": made.video_ids, "clips": made.clip_ids, "identities": made.identities}
    return {
        **ids,
        **counts,
        "exports": made.exports,
        "checkpoints": _checkpoints(workspace, made),
        "sources_left": left,
    }


def check(report: Path, workspace: Workspace | None = None) -> dict[str, Any]:
    """A report as it was written, unchanged since whoever holds the private half of its `public_key` signed it.

    By the report alone, so that anybody may; `signed_here` is whether the key is of this workspace, None without one.
    Raises ValueError for what was changed, or is no report.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        told = json.loads(report.read_text())
        claimed = bytes.fromhex(told.pop("signature"))
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(told["public_key"]))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{report}: is no report of an erasure ({error})") from None
    try:
        public.verify(claimed, _signed(told))
    except InvalidSignature:
        raise ValueError(f"{report}: was changed since it was signed, or its key was") from None
    here = None if workspace is None else told["public_key"] == public_key(workspace)
    return {**told, "signature": claimed.hex(), "signed_here": here}


def public_key(workspace: Workspace) -> str:
    """Of the pair that signs this workspace's reports: 32 bytes, as hex."""
    return _signing_key(workspace).public_key().public_bytes_raw().hex()


def _is_of(workspace: Workspace, made: Erasure, name: str) -> bool:
    """Whether an erasure answers to a name that `plan` would have taken; one that names nothing any more, to a whole id."""
    if Path(name).is_file():
        name = content_id(Path(name))
    ids, hmacs = (*made.video_ids, *made.identities), made.counts.get("hmacs", {})
    if name in (*ids, *made.names) or (len(name) >= 6 and any(i.startswith(name) for i in ids)):
        return True
    told = hmac_of(workspace.ledger.secret(), name) if hmacs else ""
    return bool(told) and told in (*hmacs["videos"], *hmacs["identities"])


def _gone_on(workspace: Workspace, state: str, made: Erasure, on_step: OnStep = lambda step: None) -> dict[str, Any]:
    """An erasure that was begun, brought to its end. Raises ValueError, and claims nothing, where that can't be now."""
    named = ", ".join([*made.names, *made.identities, *made.video_ids][:1]) or f"(id {made.id})"
    try:
        if state == REMOVED:
            return {**told_of(made, workspace), **_ended(workspace, made, on_step=on_step)}
        return _complete(workspace, made, on_step)
    except Exception as error:
        raise ValueError(
            f"the erasure of {named} has begun and is not complete, no report claims it ({error}); the next command goes on "
            "with it"
        ) from error


def _found(reader: Reader, name: str) -> tuple[list[str], list[str]]:
    """(identities, video ids) that the name stands for."""
    if Path(name).is_file():
        name = content_id(Path(name))
    begins = name if len(name) >= 6 and name.isalnum() else None  # of an id
    videos = reader.sql(
        "SELECT video_id FROM videos WHERE video_id = $1 OR starts_with(video_id, $2) OR name = $1", [name, begins]
    )["video_id"]
    shown = reader.sql(
        "SELECT DISTINCT identity, video_id FROM _identities WHERE identity = $1 OR starts_with(identity, $2)",
        [name, begins],
    )
    people = shown["identity"].unique().to_list()
    if not len(videos) and not people:
        named = reader.sql("SELECT video_id, name FROM videos").iter_rows()
        videos = pl.Series([v for v, n in named if PurePath(n).stem == name], dtype=pl.String)
    if len(videos) + len(people) != 1:
        told = ", ".join([*(f"video {v}" for v in videos[:5]), *(f"identity {p}" for p in people[:5])])
        what = f"names {len(videos) + len(people)} things ({told}); give an id" if told else "is no video or identity"
        raise ValueError(f'{name!r} {what}; headroom sql "SELECT video_id, name FROM videos" lists all')
    return people, sorted(videos.to_list() or shown["video_id"].unique().to_list())


def _fill(workspace: Workspace, reader: Reader, made: Erasure) -> None:
    """Clips, names, media and what holds them, from every table at its newest version."""
    rows: dict[str, int] = {}
    clips: set[str] = set()
    told = ", ".join(f"'{v}'" for v in made.video_ids)
    for table in workspace.record.tables(reader.manifest):
        dataset = workspace.record.open(table)
        assert dataset is not None, table
        if "video_id" not in dataset.schema.names:
            continue
        columns = [c for c in ("video_id", "clip_id") if c in dataset.schema.names]
        held = dataset.to_table(columns=columns, filter=f"video_id IN ({told})")
        rows |= {table: held.num_rows} if held.num_rows else {}
        if "clip_id" in columns:
            clips |= {c for c in held["clip_id"].unique().to_pylist() if c}
    made.clip_ids = sorted(clips)
    query = "SELECT video_id, name, uri, proxy_sha256, audio_sha256 FROM videos JOIN _going USING (video_id)"
    videos = reader.sql(query).to_dicts()
    seen = workspace.ledger.rows(sources.select().where(sources.c.video_id.in_(made.video_ids)))
    addresses = {*(v["uri"] for v in videos), *(s["uri"] for s in seen)}
    made.addresses = sorted(address_of(s["uri"], s["hint"]) for s in seen)
    made.names = _names(reader, {v["name"] for v in videos} | {u.rsplit("/", 1)[-1] for u in addresses}, addresses)
    media = [found for v in made.video_ids for found in workspace.objects.under(f"media/{v}")]
    local = [workspace.objects.local(key) for key, _ in media] if workspace.objects.is_local else []
    shas = {str(v[k]) for v in videos for k in ("proxy_sha256", "audio_sha256") if v[k]}
    # Two videos may have one sound, or silence: what is a staying video's media too is no trace of this one.
    staying = reader.sql("SELECT proxy_sha256, audio_sha256 FROM videos ANTI JOIN _going USING (video_id)")
    shared = {sha for row in staying.iter_rows() for sha in row if sha}
    made.sha256 = sorted((shas | {sha256_of(f) for f in local if f.stat().st_size}) - shared)
    held_by = _snapshots(workspace, made)
    made.exports = _exports(workspace, [s["snapshot"] for s in held_by])
    size = {"objects": len(media), "bytes": sum(num_bytes for _, num_bytes in media)}
    made.counts = {"rows": rows, **size, "snapshots": held_by, "addresses": sorted(addresses)}


def _names(reader: Reader, names: set[str], addresses: set[str]) -> list[str]:
    """Names and addresses of these videos that no other video of the workspace bears."""
    query = "SELECT name, uri FROM videos ANTI JOIN _going USING (video_id)"
    others = [text.encode() for row in reader.sql(query).iter_rows() for text in row if text]

    def borne(text: str) -> bool:
        return any(next(residue.places(other, text.encode()), None) is not None for other in others)

    return sorted(t for t in names | addresses if not borne(t))


def _snapshots(workspace: Workspace, made: Erasure) -> list[dict[str, Any]]:
    tiers = {row["uri"]: row for row in workspace.ledger.rows(snapshots_table.select())}
    found = erasure.snapshots_of(workspace, made.targets)
    return [
        {
            "snapshot": Path(uri).stem,
            "tier": tiers[uri]["tier"] if uri in tiers else "",
            "clips": len(clips),
            "uri": uri,
        }
        for uri, clips in found.items()
    ]


def _exports(workspace: Workspace, ids: Sequence[str]) -> list[str]:
    rows = workspace.ledger.rows(exports.select().where(exports.c.snapshot.in_(ids)).order_by(exports.c.path))
    return [row["path"] for row in rows]


def _complete(workspace: Workspace, made: Erasure, on_step: OnStep = lambda step: None) -> dict[str, Any]:
    """All steps that have not ended, then the proof; what it still finds is gone after once more, or told."""
    for attempt in range(2):
        for name, step in STEPS.items():
            if name not in made.done:
                on_step(name)
                step(workspace, made)
                made.done[name] = True
                erasure.note(workspace, made, BEGUN)
        on_step("search")
        searched = _searched(workspace, made)
        if not searched.found:
            break
        made.done.clear()  # a command that was running meanwhile may have written something
        log.debug("attempt %d left %s", attempt, searched.found)
    if searched.found:
        erasure.note(workspace, made, LEFT)
        return {**told_of(made, workspace), "complete": False, "found": searched.found, "report": None}
    made.counts["search"] = {k: v for k, v in asdict(searched).items() if k != "found"}
    key = workspace.ledger.secret()
    made.counts["hmacs"] = {
        "videos": [hmac_of(key, v) for v in made.video_ids],
        "clips": [hmac_of(key, c) for c in made.clip_ids],
        "identities": [hmac_of(key, i) for i in made.identities],
    }
    told, targets = told_of(made, workspace), made.targets
    del made.counts["addresses"]
    emptied = made.emptied()
    erasure.note(workspace, emptied, REMOVED)
    return {**told, **_ended(workspace, emptied, targets, on_step)}


def _ended(
    workspace: Workspace, made: Erasure, targets: residue.Targets | None = None, on_step: OnStep = lambda step: None
) -> dict[str, Any]:
    """Rewrites the ledger, which named what went until now, searches its file, and writes the report.

    Without `targets` (the run was cut off just here) nobody knows any more what to search the file for.
    """
    on_step("report")
    workspace.ledger.scrub()
    last = residue.Searched()
    for file in _ledger_files(workspace) if targets else []:
        assert targets is not None
        residue.search_file(file, targets, last)
    counts = made.counts
    told: dict[str, Any] = {
        "format": FORMAT,
        "erasure": made.id,
        "begun_at": made.begun_at,
        "ended_at": time.time(),
        "hmac_sha256": counts["hmacs"],
        "removed": {k: counts[k] for k in ("rows", "objects", "bytes")},
        "snapshots": [_verified(workspace, held) for held in counts["snapshots"]],
        "exports": made.exports,
        "checkpoints": _checkpoints(workspace, made),
        "search": {**counts["search"], "ledger_files": last.files, "found": last.found},
        "complete": not last.found,
        "public_key": public_key(workspace),
    }
    written = {**told, "signature": _signing_key(workspace).sign(_signed(told)).hex()}
    data = (json.dumps(written, sort_keys=True, indent=1) + "\n").encode()
    place = workspace.objects.put_bytes(data, f"erasures/{made.id}.json")
    erasure.note(workspace, made, DONE)
    return {
        "complete": told["complete"],
        "found": last.found,
        "report": workspace.objects.uri(place),
        "search": told["search"],
    }


def _checkpoints(workspace: Workspace, made: Erasure) -> list[str]:
    """Checkpoints that learnt from a snapshot which held what goes: only training anew takes it out of them."""
    ids = [held["snapshot"] for held in made.counts["snapshots"]]
    return [row["id"] for row in registry.learnt_from(workspace, ids)]


def _verified(workspace: Workspace, held: dict[str, Any]) -> dict[str, Any]:
    """What the report says of a snapshot; `verifies` is whether it loads, which checks every leaf and its hash."""
    now = snapshot.load(workspace.objects.local(held["uri"]))
    return {
        "snapshot": held["snapshot"],
        "tier": held["tier"],
        "redacted": held["clips"],
        "left": len(now.clip_ids),
        "verifies": now.id == held["snapshot"],
    }


def _searched(workspace: Workspace, made: Erasure) -> residue.Searched:
    sets = [place(workspace, url) for url in made.exports]
    folders = [Path(s.objects.url) for s in sets if s.objects.is_local and Path(s.objects.url).is_dir()]
    buckets = [s.objects for s in sets if not s.objects.is_local]
    tables = [table for s in sets for table in s.tables()]
    return residue.search(
        workspace, made.targets, folders, buckets=buckets, tables=tables, skip=_ledger_files(workspace)
    )


def _ledger_files(workspace: Workspace) -> list[Path]:
    """Of a ledger that is a file."""
    database = workspace.settings.ledger_url.removeprefix("sqlite:///")
    return [] if "://" in database else [Path(database + suffix) for suffix in ("", "-wal", "-shm", "-journal")]


def _rows(workspace: Workspace, made: Erasure) -> None:
    sweep.erase_rows(workspace.record, workspace.ledger, made.video_ids, made.clip_ids)


def _media(workspace: Workspace, made: Erasure) -> None:
    """Media and copies of them, files under way, the report's pages, which `headroom report` writes anew, and recorded live
    sessions, which `headroom demo --live` has anew."""
    for video_id in made.video_ids:
        workspace.objects.delete(uri for uri, _ in workspace.objects.under(f"media/{video_id}"))
    workspace.objects.drop_copies()
    for folder in ("scratch", "report", "live"):
        shutil.rmtree(workspace.settings.workspace / folder, ignore_errors=True)


def _frozen(workspace: Workspace, made: Erasure) -> None:
    erasure.redact_snapshots(workspace, made.targets)


def _shards(workspace: Workspace, made: Erasure) -> None:
    for url in made.exports:
        erase_from_shards(workspace, url, made.clip_ids)


def _versions(workspace: Workspace, made: Erasure) -> None:
    candidates.discard(workspace)
    sweep.sweep(workspace.record, workspace.ledger)


def _ledger(workspace: Workspace, made: Erasure) -> None:
    erasure.drop_sources(workspace, made.video_ids)


def _cards(workspace: Workspace, made: Erasure) -> None:
    """Checkpoints and their evaluations name clips, and videos that these drew show them; a training that was cut off begins
    again on other clips."""
    drawn.drop(workspace, made.clip_ids)
    registry.redact(workspace, lambda text: scrub.without(text, made.targets))
    shutil.rmtree(workspace.settings.workspace / "runs", ignore_errors=True)


def _labels(workspace: Workspace, made: Erasure) -> None:
    """What annotators were shown, and what was made of their answers."""
    shutil.rmtree(workspace.settings.workspace / "cache" / "annotation", ignore_errors=True)
    database = existing(workspace.settings)
    if database is None:
        return
    try:
        database.write(lambda c: erase_videos(c, made.video_ids))
        if not database.url.startswith("sqlite"):
            scrub.scrub_server(database.engine, annotation_tables.sorted_tables, made.targets)
    finally:
        database.close()
    if database.url.startswith("sqlite"):
        scrub.scrub_sqlite(Path(database.url.removeprefix("sqlite:///")), made.targets)


def _runs(workspace: Workspace, made: Erasure) -> None:
    """Prefect's database and logs beside the workspace name files and clips."""
    home = workspace.settings.workspace / "prefect"
    for file in sorted(home.glob("*.log*")):
        scrub.scrub_log(file, made.targets)
    for file in sorted(home.glob("*.db")):
        told = residue.Searched()
        for part in (file, file.with_name(file.name + "-wal")):
            residue.search_file(part, made.targets, told)
        if told.found:
            scrub.drop_pictures(file)
            scrub.scrub_sqlite(file, made.targets)


STEPS: dict[str, Callable[[Workspace, Erasure], None]] = {
    "rows": _rows,
    "media": _media,
    "snapshots": _frozen,
    "exports": _shards,
    "labels": _labels,
    "checkpoints": _cards,
    "versions": _versions,
    "sources": _ledger,
    "runs": _runs,
}
"""In this order: rows first, since nobody sees them from then on."""


def _signing_key(workspace: Workspace) -> Ed25519PrivateKey:
    """Made of the workspace's own key, so that it is where that is."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(hmac.digest(workspace.ledger.secret(), b"erasure reports", "sha256"))


def _signed(told: dict[str, Any]) -> bytes:
    return b"erasure report " + json.dumps(told, sort_keys=True, separators=(",", ":")).encode()


def _ids(video_ids: Sequence[str]) -> Any:
    import pyarrow as pa

    return pa.table({"video_id": pa.array(video_ids, pa.string())})


@contextmanager
def _only_one(workspace: Workspace, *, wait: bool = True) -> Iterator[None]:
    """One erasure at a time; the lock ends with its holder. Raises BlockingIOError when held and not to be waited for."""
    with (workspace.settings.workspace / ".erasing").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
