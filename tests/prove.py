"""The proofs that take longer than a test may: `make prove`, or `python -m tests.prove [--sample] [NAME ...]`.

Each writes docs/proofs/NAME.md, stamped with the commit; a sample is a short version that writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.long_video import LIMIT_PEAK_MIB, table
from benchmarks.machine import machine
from flows.server import environ
from store.workspace import open_workspace
from tasks.signals import discover
from tests.commands import headroom, small_corpus, started
from tests.conftest import media_root
from tests.databases import can_run_postgres, fresh_database, own_postgres
from tests.faults import (
    Ended,
    can_mount,
    delete_database,
    kill_child,
    lock_ledger,
    lose_database,
    small_disk,
    stop_server,
)
from tests.faults import curate as fault_run
from tests.hostile import make_hostile
from tests.prove_cluster import distributed
from tests.prove_live import live
from tests.prove_processes import processes
from tests.prove_week import week
from tests.tables import contents, contents_differ, differences, doubled

ROOT = Path(__file__).resolve().parent.parent
PROOFS = ROOT / "docs" / "proofs"


def kills(folder: Path, sample: bool) -> tuple[bool, str]:
    """kill -9 at random moments of a run, each followed by a run to the end: the tables are those of an undisturbed run.

    Every fourth time the run after the kill is killed too. A run that ended before its moment came doesn't count.
    """
    corpus = small_corpus(folder)
    whole = headroom("curate", corpus, workspace=folder / "whole")
    rows = sum(whole["computed"].values())
    rng = random.Random(20261121)
    lines: list[str] = []
    good, num_kills, latest_s = True, 1 if sample else 20, whole["took_s"]
    while len(lines) < num_kills:
        workspace = folder / f"killed{len(lines)}"
        moments = []
        for _ in range(2 if len(lines) % 4 == 3 else 1):
            at_s = rng.uniform(0.5, latest_s)
            if _killed(["curate", corpus], workspace, at_s):
                moments.append(f"{at_s:.1f} s")
            elif not moments:
                latest_s = min(latest_s, at_s)
        if moments:
            after = headroom("curate", corpus, workspace=workspace)
            found = differences(folder / "whole", workspace) + doubled(open_workspace(workspace))
            good &= not found
            left = sum(after["computed"].values())
            told = f"{', then '.join(moments)} | {rows - left} | {left}"
            lines.append(f"| {len(lines) + 1} | {told} | {'; '.join(found) or 'none'} |")
        shutil.rmtree(workspace, ignore_errors=True)
    head = f"An undisturbed run takes {whole['took_s']:.1f} s and computes {rows} rows of {len(list(corpus.iterdir()))} files.\n\n"
    table = "| kill | after | rows that stood | rows left to compute | differences |\n|---|---|---|---|---|\n"
    return good, head + table + "\n".join(lines)


def _killed(arguments: Sequence[str | Path], workspace: Path, at_s: float) -> bool:
    """Starts a command and kills it and all its children at `at_s`; False when it had ended by then."""
    process = started(arguments, workspace)
    try:
        process.wait(at_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def race(folder: Path, sample: bool) -> tuple[bool, str]:
    """Two `curate` commands at once on one workspace: one result, no duplicate row, no lost row."""
    corpus = small_corpus(folder)
    headroom("curate", corpus, workspace=folder / "alone")
    lines, good = [], True
    for number in range(1 if sample else 5):
        workspace = folder / f"both{number}"
        command = [sys.executable, "-m", "headroom", "curate", str(corpus), "--workspace", str(workspace)]
        pair = [
            subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        ends = [p.communicate()[1] for p in pair]
        found = differences(folder / "alone", workspace) + doubled(open_workspace(workspace))
        found += [e[-500:] for p, e in zip(pair, ends, strict=True) if p.returncode]
        good &= not found
        lines.append(f"| {number + 1} | {[p.returncode for p in pair]} | {'; '.join(found) or 'none'} |")
    return good, "| round | exits | differences, duplicates, errors |\n|---|---|---|\n" + "\n".join(lines)


def hostile(folder: Path, sample: bool) -> tuple[bool, str]:
    """The hostile corpus through the command line: nothing hangs, nothing crashes, each file ends with its reason."""
    corpus = folder / "corpus"
    corpus.mkdir()
    expected = make_hostile(corpus)
    told = headroom("curate", corpus, workspace=folder / "workspace")
    rows = headroom_rows("SELECT name, state, stage, reason FROM videos ORDER BY name", folder / "workspace")
    again = headroom("curate", corpus, workspace=folder / "workspace")
    open_ends = [r["name"] for r in rows if r["state"] not in ("done", "quarantined")]
    silent = [r["name"] for r in rows if r["state"] == "quarantined" and not r["reason"]]
    wrong = [
        f"{r['name']!r}: {r['state']}, {r['reason']}, expected {e}"
        for r in rows
        if (e := expected.get(r["name"])) and not _ends_as(r, e)
    ]
    good = not open_ends and not silent and not again["computed"] and not wrong and len(rows) >= 25
    lines = [f"| `{r['name']!r}` | {r['state']} | {r['stage'] or ''} | {r['reason'] or ''} |" for r in rows]
    head = (
        f"{len(expected)} files made, {told['took_s']:.1f} s; a second run computed {again['computed'] or 'nothing'}. "
    )
    head += f"Ends that differ from what was expected: {'; '.join(wrong) or 'none'}.\n\n"
    return good, head + "| file | state | stage | reason |\n|---|---|---|---|\n" + "\n".join(lines)


def _ends_as(row: dict[str, Any], expected: str) -> bool:
    """`expected` is "done", "rejected: REASON" or "quarantined: REASON", with a part of the reason."""
    end, _, reason = expected.partition(": ")
    state = "quarantined" if end == "quarantined" else "done"
    rejected = row["stage"] == "prefilter"
    return row["state"] == state and rejected == (end == "rejected") and reason in (row["reason"] or "")


def headroom_rows(query: str, workspace: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "headroom", "sql", query, "--workspace", str(workspace), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])["rows"]
    return rows


CORE_SIGNALS = (
    "face_track",
    "motion",
    "visual_quality",
    "speech",
    "speech_quality",
    "lip_sync",
    "overlay_text",
    "embedding",
)


def footage(folder: Path, sample: bool) -> tuple[bool | None, str]:
    """All of the real footage, negatives too: states, tiers, and a second run that computes nothing in under 10 s."""
    root = media_root()
    if root is None:
        return None, "no real footage on this machine (HEADROOM_MEDIA)"
    corpus = folder / "corpus"
    corpus.mkdir()
    for kind in ("talk", "neg", "synth", "dup"):
        files = sorted((root / kind).iterdir())
        for file in files[:: max(1, len(files) // 3)] if sample else files:
            (corpus / f"{kind}__{file.name}").symlink_to(file)
    first = headroom("curate", corpus, workspace=folder / "workspace")
    second = headroom("curate", corpus, workspace=folder / "workspace")
    counts = headroom("status", workspace=folder / "workspace")
    open_ends = counts["videos"]["new"]
    query = "SELECT split_part(v.name, '__', 1) AS kind, count(DISTINCT v.video_id) AS files FROM {} t JOIN clips c USING (clip_id) JOIN videos v USING (video_id) GROUP BY ALL"
    tiers = {
        t: {r["kind"]: r["files"] for r in headroom_rows(query.format(t), folder / "workspace")}
        for t in ("a2v_bronze", "a2v_silver", "a2v_gold", "pretrain")
    }
    checks = {
        "every file ends done or quarantined": open_ends == 0,
        "the second run computes nothing": not second["computed"] and not second["failed"],
        "the second run takes under 10 s": second["took_s"] < 10,
        "no file of neg/ is in any tier": all(of.get("neg", 0) == 0 for of in tiers.values()),
    }
    if not sample:
        checks["at least 30 files of talk/ in bronze"] = tiers["a2v_bronze"].get("talk", 0) >= 30
        checks["at least 10 files of talk/ in gold"] = tiers["a2v_gold"].get("talk", 0) >= 10
        ratios = ok_ratios(folder / "workspace")
        often = [n for n, ratio in ratios.items() if ratio >= 0.9]
        checks[f"at least 24 clip signals ok on 90% of talk/: {len(often)} of {len(ratios)}"] = len(often) >= 24
        for name in CORE_SIGNALS:
            of = " of 4 s and more with speech" if name == "lip_sync" else ""
            checks[f"{name} ok on {ratios[name]:.0%} of talk/{of}"] = ratios[name] >= 0.9
        rare = ", ".join(f"{n} {r:.0%}" for n, r in sorted(ratios.items(), key=lambda f: f[1]) if n not in often)
    told = [
        f"First run {first['took_s']:.0f} s, {first['cpu_s']:.0f} CPU-seconds; second run {second['took_s']:.1f} s."
    ]
    told += [f"Videos: {counts['videos']}; clips: {counts['clips']}.", ""]
    told += ["| tier | files of talk/ | neg/ | synth/ | dup/ |", "|---|---|---|---|---|"]
    told += [
        f"| {t} | {c.get('talk', 0)} | {c.get('neg', 0)} | {c.get('synth', 0)} | {c.get('dup', 0)} |"
        for t, c in tiers.items()
    ]
    told += ["", *(f"- {'yes' if ok else 'NO'}: {text}" for text, ok in checks.items())]
    told += [] if sample else [f"- ok on fewer: {rare or 'none'}"]
    return all(checks.values()), "\n".join(told)


def ok_ratios(workspace: Path) -> dict[str, float]:
    """Per clip signal, the share of the files of talk/ that have a clip on which it is ok; lip_sync is asked only of
    those with a clip of 4 s and more that holds speech."""
    found = {}
    for name, loaded in discover().items():
        if loaded.spec.grain != "clip" or loaded.spec.on_request:  # which nobody asked for here
            continue
        where = "v.name LIKE 'talk%'"
        if name == "lip_sync":
            where += " AND c.duration_s >= 4 AND s.speech_speech_ratio >= 0.3"
        query = f"""SELECT count(DISTINCT v.video_id) FILTER (WHERE s.{name}_status = 'ok') AS ok, count(DISTINCT v.video_id) AS n
            FROM videos v LEFT JOIN clips c USING (video_id) LEFT JOIN signals s USING (clip_id) WHERE {where}"""
        (row,) = headroom_rows(query, workspace)
        found[name] = row["ok"] / row["n"]
    return found


def tables(folder: Path, sample: bool) -> tuple[bool, str]:
    """Tier queries and staleness planning from 10,000 to 10 M clips."""
    sizes = ["50000"] if sample else ["10000", "100000", "1000000", "10000000", "--plan-up-to", "10000000"]
    drawn = [] if sample else ["--svg", str(PROOFS / "tables.svg")]
    command = [sys.executable, "-m", "benchmarks.store", "--folder", str(folder), "--clips", *sizes, *drawn]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return False, done.stderr[-2000:]
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    of_limits = [float(cells[-1]) for cells in rows if cells[-1].replace(".", "").isdigit()]
    # The head of the page names the machine already.
    table = done.stdout[done.stdout.index("| what") :]
    plots = "" if sample else "\n![seconds against clips](tables.svg)\n\n![memory against clips](tables-memory.svg)"
    return len(of_limits) > 1 and max(of_limits) <= 1, table + plots


def upkeep(folder: Path, sample: bool) -> tuple[bool, str]:
    """Thirty backfills, a thousand small commits, compaction and snapshots of 1 M clips: time, disk, memory, reads after."""
    told = ["--clips", "20000", "--backfills", "2", "--commits", "20"] if sample else []
    command = [sys.executable, "-m", "benchmarks.upkeep", "--folder", str(folder), *told]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout or done.stderr[-2000:]


def memory(folder: Path, sample: bool) -> tuple[bool, str]:
    """A worker with its decoder stays under its limit on a video of two hours, with all default signals, stage by stage.

    All that looks at the whole length runs over all of it; clip signals see one clip at a time, and run on some of them.
    """
    corpus, minutes, num_clips = small_corpus(folder), 2 if sample else 120, 1 if sample else 8
    talker = corpus.parent / "samples" / "made_talker_1.mp4"
    told = ["--minutes", str(minutes), "--clips", str(num_clips), "--json"]
    command = [sys.executable, "-m", "benchmarks.long_video", str(talker), *told]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return False, done.stderr[-2000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    good = not seen["failed"] and all(p["sum_mib"] <= LIMIT_PEAK_MIB for p in seen["peaks"])
    good &= seen["num_windows"] >= minutes and seen["num_clips"] == num_clips
    return good, "\n".join(table(seen))


def faults(folder: Path, sample: bool) -> tuple[bool | None, str]:
    """A full disk, a locked ledger, one whose server is away, a Prefect server and a decoder that die, a lost Prefect database,
    in the middle of a run (the last one also between two).

    The command goes on, or stops with one clear line; the next one ends with the tables of an undisturbed run.
    """
    if not can_mount():
        return None, "making a small disk needs root and mount"
    corpus = small_corpus(folder)
    headroom("curate", corpus, workspace=folder / "alone")
    undisturbed = contents(open_workspace(folder / "alone"))
    lines, good = [], True

    def tried(what: str, workspace: Path, ended: Ended) -> None:
        nonlocal good
        after = headroom("curate", corpus, workspace=workspace)
        opened = open_workspace(workspace)
        found = contents_differ(undisturbed, contents(opened)) + doubled(opened)
        found += [] if ended.is_clear else ["it did not say why it stopped"]
        good &= not found
        left = sum(after["computed"].values())
        said = " ".join(ended.said.split()).replace("|", "/").replace(str(folder), "...")
        lines.append(f"| {what} | {ended.status} | {said[:300]} | {left} | {'; '.join(found) or 'none'} |")

    for mib in [6] if sample else [2, 6, 10, 14]:
        with small_disk(folder / f"disk{mib}", mib) as resize:
            workspace = folder / f"disk{mib}" / "workspace"
            ended = fault_run(corpus, workspace)
            resize(1024)
            tried(f"the disk was full at {mib} MiB", workspace, ended)
    for number, (what, during) in enumerate(_FAULTS[:1] if sample else _FAULTS):
        workspace = folder / f"fault{number}"
        tried(what, workspace, fault_run(corpus, workspace, during(workspace)))
    if not sample and not can_run_postgres():
        with own_postgres() as server, environ({"HEADROOM_LEDGER_URL": fresh_database(server.url)}):
            workspace = folder / "served"
            ended = fault_run(corpus, workspace, stop_server(server, workspace, 2.0, 60.0))
            tried("the ledger's PostgreSQL server was away for a minute", workspace, ended)
    if not sample:
        workspace = folder / "lost_at_rest"
        headroom("curate", next(iter(sorted(corpus.iterdir()))), workspace=workspace)
        delete_database(workspace)
        tried("the Prefect database was lost between two commands", workspace, fault_run(corpus, workspace))
    head = "| what happened | exit | what it said last | rows left to compute | differences |\n|---|---|---|---|---|\n"
    return good, head + "\n".join(lines)


_FAULTS: list[tuple[str, Callable[[Path], Callable[[Any], None]]]] = [
    ("the ledger was locked for a minute", lambda w: lock_ledger(w, 8.0, 60.0)),
    ("the Prefect server was killed while it began", lambda _: kill_child("flows.child server", 1.0)),
    ("the Prefect server was killed in the middle", lambda _: kill_child("flows.child server", 15.0)),
    ("the Prefect database was lost in the middle", lambda w: lose_database(w, 15.0)),
    ("a decoder was killed", lambda _: kill_child("tasks.media", 3.0)),
]


ALL: dict[str, Callable[[Path, bool], tuple[bool | None, str]]] = {
    "kills": kills,
    "processes": processes,
    "race": race,
    "hostile": hostile,
    "footage": footage,
    "tables": tables,
    "upkeep": upkeep,
    "memory": memory,
    "distributed": distributed,
    "faults": faults,
    "live": live,
    "week": week,
}


def stamp() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    # The pages of the proofs before this one, of the same run, are no change of the code.
    dirty = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs/proofs")
    changed = " with uncommitted changes" if dirty else ""
    return f"Commit {git('rev-parse', '--short=12', 'HEAD')}{changed}, {time.strftime('%Y-%m-%d')}. {machine()}."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ALL)}; default all")
    parser.add_argument("--sample", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.names) - set(ALL):
        parser.error(f"{', '.join(sorted(unknown))}: no such proof; there are {', '.join(ALL)}")
    passed = True
    for name in options.names or ALL:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"prove-{name}-") as folder:
            good, told = ALL[name](Path(folder), options.sample)
        passed &= good is not False
        verdict = {True: "proved", False: "FAILED", None: "SKIPPED"}[good]
        print(f"## {name}: {verdict} in {time.monotonic() - began:.0f} s\n\n{told}\n", flush=True)
        if not options.sample and good is not None:
            PROOFS.mkdir(parents=True, exist_ok=True)
            title = f"# {name}: {verdict}\n\n{ALL[name].__doc__}\n\n{stamp()}\n\n"
            (PROOFS / f"{name}.md").write_text(title + told + "\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
