"""What an erasure would take, and what it took, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from dashboards.terminal import err, out

STEPS = {
    "rows": "rows of all tables",
    "media": "media, copies, files under way, report pages",
    "snapshots": "snapshots: what they say of it",
    "exports": "shards",
    "versions": "old versions of the tables",
    "sources": "addresses",
    "runs": "names in the logs of runs",
    "labels": "annotation: items, labels, cuts",
    "checkpoints": "what checkpoints say of it",
    "search": "searching every file for what is left",
    "report": "the report",
}


def step(name: str) -> None:
    err.print(f"[dim]{STEPS[name]}[/]")


def planned(told: Mapping[str, Any]) -> None:
    """The view of `forget --dry-run`, and what is asked about before anything goes."""
    people = f" of {len(told['identities'])} person" if told["identities"] else ""
    out.print(f"[bold]{len(told['videos'])} videos{people}, {len(told['clips'])} clips[/]")
    for video in told["videos"]:
        out.print(f"  video {video}")
    for table, count in sorted(told["rows"].items()):
        out.print(f"  {count:>7,} rows of {table}")
    out.print(f"  {told['objects']:>7,} objects, {told['bytes'] / 1e6:,.1f} MB, and the pages of the report")
    for held in told["snapshots"]:
        out.print(f"  {held['clips']:>7,} clips of snapshot {held['snapshot']} ({escape(held['tier'])}), redacted")
    for path in told["exports"]:
        out.print(f"  shards in {escape(path)}", soft_wrap=True)
    _learned(told)
    _sources(told)


def forgotten(told: Mapping[str, Any]) -> None:
    rows = sum(told["rows"].values())
    out.print(  # of one that was cut off at its report, nobody knows the ids any more
        "an erasure that was cut off at its report is complete"
        if not told["videos"]
        else f"{len(told['videos'])} videos, {len(told['clips'])} clips: {rows:,} rows, {told['objects']:,} objects "
        f"({told['bytes'] / 1e6:,.1f} MB) are gone"
    )
    for held in told["snapshots"]:
        out.print(
            f"snapshot {held['snapshot']} ({escape(held['tier'])}): {held['clips']:,} clips redacted, it verifies"
        )
    for path in told["exports"]:
        out.print(f"shards in {escape(path)}: written without it", soft_wrap=True)
    _learned(told)
    if told["complete"]:
        searched = told["search"]
        out.print(
            f"[green]nothing is left[/]: {searched['files']:,} files ({searched['bytes'] / 1e6:,.0f} MB) and "
            f"{searched['rows']:,} rows searched; [bold]report[/] {escape(str(told['report']))}",
            soft_wrap=True,
        )
    for place, kind in told["found"]:
        out.print(f"[red]left[/]  {kind}: {escape(place)}", soft_wrap=True)
    if not told["complete"]:
        out.print("mend or delete what is left, then give the same command again")
    _sources(told)


def _sources(told: Mapping[str, Any]) -> None:
    for uri in told["sources_left"]:
        out.print(f"[yellow]the source itself is not touched[/]  {escape(uri)}", soft_wrap=True)


def checked(told: Mapping[str, Any]) -> None:
    num = {k: len(v) for k, v in told["hmac_sha256"].items()}
    by = "signed by this workspace" if told["signed_here"] else f"signed with the key {told['public_key']}"
    out.print(
        f"erasure {told['erasure']}: {by}, unchanged; {num['videos']} videos, {num['clips']} clips", soft_wrap=True
    )
    if not told["signed_here"]:
        out.print(
            "whose key that is, the report can't tell: ask those whose workspace it was for theirs", soft_wrap=True
        )
    out.print("complete" if told["complete"] else f"left: {told['search']['found']}")


def _learned(told: Mapping[str, Any]) -> None:
    for checkpoint in told["checkpoints"]:
        out.print(f"  checkpoint {checkpoint} has learned from it: train it anew from a new snapshot")
