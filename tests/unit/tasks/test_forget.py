"""A video planted through every stage, forgotten, and looked for in every file."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import headroom
from store import drawn, erasure, registry, residue, schema, snapshot
from store.annotation_database import Database, database_url
from store.record import Batch, embedding_rows, table_of
from store.schema import DUPLICATE_PAIRS, DUPLICATES, FACE_LINKS, IDENTITIES, PAIRS, VIDEOS
from store.workspace import Workspace, open_workspace
from tasks import forget, shard_set, tier
from tasks.annotation.delivery import deliver, deliver_existing
from tasks.curate import bring_up_to_date
from tasks.ingest import ingest
from tasks.scores import put_scores
from tests.annotators import Crew, rated
from tests.unit.tasks import stand_in
from tests.unit.tasks.test_shard import shard

PERSON = "ab" * 8
FAR = "SELECT clip_id FROM clips JOIN identities USING (clip_id) WHERE duration_s >= 1 AND identity <> 'nobody'"
"""Its rows of people are written by hand here, so no signal stands behind them."""


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    stand_in.make_video(folder / "interview älter.mp4", 2.0, luma=90)
    stand_in.make_video(folder / "other.mp4", 2.5, luma=160, tone=False)
    return folder


@pytest.fixture
def home(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a workspace has its parts: all in a `folder`, or on `servers`, its ledger and labels on PostgreSQL, objects and
    tables on S3."""
    home = str(getattr(request, "param", "folder"))
    if home == "servers":
        monkeypatch.setenv("HEADROOM_LEDGER_URL", request.getfixturevalue("postgres_url"))
        monkeypatch.setenv("HEADROOM_OBJECTS_URL", f"s3://{request.getfixturevalue('bucket')}/corpus")
    return home


both_homes = pytest.mark.parametrize("home", ["folder", "servers"], indirect=True)


@pytest.fixture
def planted(
    tmp_path: Path,
    footage: Path,
    use: Any,
    quick_sql: None,
    home: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Workspace:
    """Both videos in every table, a snapshot, shards, report pages, logs and Prefect's database."""
    use()
    monkeypatch.setitem(schema.MADE_FROM, "identities", ())
    if home == "folder":
        workspace = stand_in.curated(footage, tmp_path / "workspace")
    else:
        workspace = open_workspace(tmp_path / "workspace")
        ingest(workspace, [str(footage)])
        stand_in.run(workspace)
    with workspace.views() as reader:
        clips = reader.sql("SELECT clip_id, video_id, name FROM clips JOIN videos USING (video_id)").to_dicts()
    ids, videos = [c["clip_id"] for c in clips], [c["video_id"] for c in clips]
    people = [PERSON if c["name"].startswith("interview") else "cd" * 8 for c in clips]
    batch = Batch()
    batch.add(
        "embeddings_face", embedding_rows(ids, videos, [np.ones(4, np.float32)] * len(ids), 4, "f", [1] * len(ids))
    )
    rows = [{"clip_id": c, "video_id": v, "identity": p} for c, v, p in zip(ids, videos, people, strict=True)]
    batch.add("identities", table_of(rows, IDENTITIES))
    near = [
        {"clip_id": c, "video_id": v, "others": [o for o in ids if o != c]} for c, v in zip(ids, videos, strict=True)
    ]
    batch.add("face_links", table_of(near, FACE_LINKS))
    copies = [
        {"clip_id": c, "video_id": v, "cluster": min(ids), "best": ids[0], "reason": "a copy"}
        for c, v in zip(ids, videos, strict=True)
    ]
    batch.add("duplicates", table_of(copies, DUPLICATES))
    pair = {"key": ":".join(sorted(ids)), "clip_a": min(ids), "clip_b": max(ids)}
    batch.add("duplicate_pairs", table_of([pair], DUPLICATE_PAIRS))
    batch.add("pairs", table_of([{**pair, "identity": PERSON, "held": True}], PAIRS))
    workspace.commit(batch)
    judged = {c: {"checkpoint": "c0ffee", "lip_distance": 1.5} for c in ids}
    put_scores(workspace, "eval_net", "f1", {"checkpoint": pa.string(), "lip_distance": pa.float64()}, judged)
    root = workspace.settings.workspace
    (root / "tiers").mkdir()
    media = [{**c, "start_frame": 0, "end_frame": 50, "proxy_uri": "p"} for c in clips]
    _label(workspace, [{k: m[k] for k in m if k != "name"} for m in media])
    (root / "tiers" / "shown.sql").write_text(FAR)
    shard(workspace, tmp_path / "shards", "shown", timelines=())
    trained = {"recipe": {"name": "tiny"}, "snapshot": {"id": tier.listed(workspace)[-1]["snapshot"]["id"]}}
    learnt = registry.publish(workspace, b"weights", {**trained, "data": {"clips": {"train": ids}}})
    films = {c: root / f"{c}.mp4" for c in ids}
    for film in films.values():
        film.write_bytes(b"a face")
    told_of = {"clips": [{"clip_id": c} for c in ids], "videos": [f"{c}.mp4" for c in ids]}
    drawn.put(workspace, drawn.folder_of(learnt.id, "s1"), told_of, films, b"two faces")
    for name in ("cache/annotation", "report/assets", "scratch/normalise", "prefect", "cache/objects", "live"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "report" / "assets" / "a.txt").write_text(f"clip {ids[0]} {ids[1]}")
    for name in ("scratch/normalise/half", "cache/objects/copy", "live/c0ffee.json"):
        (root / name).write_text(f"{ids[0]} {ids[1]}")
    (root / "prefect" / "server.log").write_text(f"signals: 1 clips of interview älter.mp4, other.mp4: {ids[0]}\n")
    with closing(sqlite3.connect(root / "prefect" / "prefect.db", isolation_level=None)) as database:
        database.execute("CREATE TABLE task_run (name TEXT, parameters TEXT)")
        told = json.dumps({"paths": [str(footage / "interview älter.mp4")]})
        database.execute("INSERT INTO task_run VALUES (?, ?)", ("faces: other.mp4, interview älter.mp4", told))
        database.execute("CREATE TABLE artifact (key TEXT, data TEXT, description TEXT)")
        shown = f"clips {ids[0]}, {ids[1]}"
        for key, what in (
            ("motion-samples", shown),
            ("renderer-samples", shown),
            ("side-by-side", f"clips {ids[0]}"),
            ("checkpoint", f"learnt from {ids[0]}"),
        ):
            database.execute("INSERT INTO artifact VALUES (?, ?, ?)", (key, "a picture", what))
    return workspace


def _label(workspace: Workspace, media: list[dict[str, Any]]) -> None:
    """Each clip is rated, and both as a pair; all of it comes into the record."""
    crew = Crew(Database(database_url(workspace.settings)))
    one, alone = crew.person("one"), {"overlap": 1, "max_raters": 1}
    schemas = {"likert": crew.schema("likert"), "pairwise": crew.schema("pairwise")}
    crew.batch(schemas["likert"], [(0.0, [m]) for m in media], name="faces", **alone)
    crew.batch(schemas["pairwise"], [(0.0, media)], name="pairs", **alone)
    for made in schemas.values():
        crew.ready(one, made)
    sides = dict.fromkeys(("identity", "expression", "sync"), "tie")
    crew.work(one, lambda held: sides if held["task_type"] == "pairwise" else rated(4))
    assert deliver(workspace, crew.database).labels == 3
    crew.database.close()


def victim(workspace: Workspace) -> tuple[str, list[str], residue.Targets]:
    with workspace.views() as reader:
        found = reader.sql("SELECT video_id, uri, proxy_sha256 FROM videos WHERE name LIKE 'interview%'").row(0)
        clips = reader.sql("SELECT clip_id FROM clips WHERE video_id = ?", [found[0]])["clip_id"].to_list()
    targets = residue.Targets(
        frozenset([found[0], *clips, PERSON]), ("interview älter.mp4", found[1]), frozenset([found[2]])
    )
    return found[0], clips, targets


def left(workspace: Workspace, targets: residue.Targets, *folders: Path) -> list[tuple[str, str]]:
    tables = [table for folder in folders for table in shard_set.place(workspace, str(folder)).tables()]
    return residue.search(workspace, targets, folders, tables=tables).found


@both_homes
def test_nothing_of_a_forgotten_video_is_left_anywhere(
    planted: Workspace, home: str, footage: Path, tmp_path: Path
) -> None:
    video, clips, targets = victim(planted)
    manifest = planted.ledger.manifest()
    before = left(planted, targets, tmp_path / "shards")
    told_places = " ".join(place for place, _ in before)
    for place in ("videos", "timelines", "log", "embeddings_face", "snapshot", "tar", "prefect.db", "server.log",
                  "ledger", "report", "scratch", "live", "cache", "annotation.sqlite" if home == "folder" else "annotation, table annotation_items", "checkpoint.json", "drawn.json", "proxy.mp4", "identities", "column others", "clipping", "duplicates", "duplicate_pairs", "table pairs", "labels, version", "column other_clip_id", "clips.lance"):  # fmt: skip
        assert place in told_places, f"the search is blind in {place}"
    dry = forget.told_of(forget.plan(planted, "interview älter.mp4"), planted)
    assert (dry["videos"], dry["clips"], dry["exports"]) == ([video], clips, [str(tmp_path / "shards")])
    assert planted.ledger.manifest() == manifest, "a dry run changes nothing"
    old = next(t["snapshot"]["id"] for t in tier.listed(planted) if t["tier"] == "shown")

    told = forget.forget(planted, "interview älter.mp4")
    assert (told["complete"], told["found"]) == (True, [])
    assert left(planted, targets, tmp_path / "shards") == []
    assert not (planted.settings.workspace / "live").exists(), "sessions show faces"
    [seen] = drawn.drawn_by(planted, registry.load(planted, "tiny").id)
    keys = [key.removeprefix(f"{seen['folder']}/") for key, _ in planted.objects.under(seen["folder"])]
    assert sorted(keys) == sorted([f"{seen['clips'][0]['clip_id']}.mp4", "drawn.json"]), "a sheet shows everybody"
    assert seen["clips"][0]["clip_id"] not in clips
    assert told["checkpoints"] == [registry.load(planted, "tiny").id]
    assert told["sources_left"] == [str(footage / "interview älter.mp4")]

    held = snapshot.load(planted.objects.local(f"snapshots/{old}.snapshot"))
    assert held.id == old, "what is left verifies under the same hash"
    assert (held.clips.num_rows, len(held.clip_ids)) == (2, 1)
    with planted.views() as reader:
        assert reader.sql("SELECT name FROM videos")["name"].to_list() == ["other.mp4"]
        assert reader.sql("SELECT count(*) FROM signals").item() == 1
        assert reader.sql("SELECT count(eval_net_lip_distance) FROM _signals").item() == 1
        assert reader.sql("SELECT count(*) FROM _face_links").item() == 0, "the other's named it: it is made again"
        left_over = reader.sql("SELECT task_type, count(*) AS n FROM _labels GROUP BY task_type").to_dicts()
        assert left_over == [{"task_type": "likert", "n": 4}], "of a pair that showed it nothing is told any more"
    assert deliver_existing(planted).labels == 0
    [left_over_tar] = (tmp_path / "shards").rglob("*.tar")
    with tarfile.open(left_over_tar) as tar:
        assert {m.name.split(".")[0] for m in tar} == set(held.clip_ids)
    index = json.loads((tmp_path / "shards" / "index.json").read_text())
    assert (index["num_clips"], list(index["clips"])) == (1, held.clip_ids)
    assert "other.mp4" in (planted.settings.workspace / "prefect" / "server.log").read_text()
    with closing(sqlite3.connect(planted.settings.workspace / "prefect" / "prefect.db")) as database:
        assert database.execute("SELECT name FROM task_run").fetchone() == ("faces: other.mp4, forgotten",)
        assert database.execute("SELECT key FROM artifact").fetchall() == [("checkpoint",)], (
            "drawn motion shows a person"
        )
    assert bring_up_to_date(planted, stand_in.serial(planted)).tally.computed == {}

    written = planted.objects.local(told["report"]).read_text()
    report = json.loads(written)
    frozen = report["snapshots"][0]
    assert (report["complete"], frozen["verifies"], frozen["tier"]) == (True, True, "shown")
    assert len(report["hmac_sha256"]["clips"]) == len(clips)
    assert not any(i in written for i in (video, *clips, "interview"))


def test_media_that_a_staying_video_has_too_is_no_trace(tmp_path: Path, use: Any, quick_sql: None) -> None:
    """Two pictures over one sound: forgetting one must come to an end, and leave the other its sound."""
    use()
    (tmp_path / "two").mkdir()
    for name, luma in (("going.mp4", 90), ("staying.mp4", 160)):
        stand_in.make_video(tmp_path / "two" / name, 2.0, luma=luma)
    workspace = open_workspace(tmp_path / "workspace")
    ingest(workspace, [str(tmp_path / "two")])
    bring_up_to_date(workspace, stand_in.serial(workspace))
    with workspace.views() as reader:
        assert reader.sql("SELECT count(DISTINCT audio_sha256) FROM videos").item() == 1
    told = forget.forget(workspace, "going.mp4")
    assert (told["complete"], told["found"]) == (True, [])
    with workspace.views() as reader:
        ((name, audio),) = reader.sql("SELECT name, audio_uri FROM videos").iter_rows()
    assert (name, workspace.objects.exists(audio)) == ("staying.mp4", True)


def test_what_was_erased_stays_out_until_it_is_asked_for(planted: Workspace, footage: Path, tmp_path: Path) -> None:
    video, _, targets = victim(planted)
    rows = planted.record.read(planted.ledger.manifest(), "timelines", where=f"video_id = '{video}'")
    forget.forget(planted, video)
    planted.objects.put_bytes(b"a proxy made late", f"media/{video}/proxy.mp4")
    late = Batch()  # of a run that was computing it meanwhile
    late.add("timelines", rows)
    planted.commit(late)
    assert left(planted, targets) == []
    again = ingest(planted, [str(footage)])
    assert (again.new, again.erased) == ([], 1)
    copy = tmp_path / "renamed.mp4"
    copy.write_bytes((footage / "interview älter.mp4").read_bytes())
    for _ in range(2):  # the second time by its address alone
        assert ingest(planted, [str(copy)]).erased == 1
    assert left(planted, targets) == []
    assert ingest(planted, [str(copy)], readmit=True).new == [video]
    assert ingest(planted, [str(footage)]).erased == 0


KILLED = """
import os, signal, sys
from store import erasure
from store.workspace import open_workspace
from tasks import forget
def die(*args, **told): os.kill(os.getpid(), signal.SIGKILL)
at = sys.argv[3]
if at == "cleanup":
    import lance
    lance.LanceDataset.cleanup_old_versions = die
elif at == "report":
    forget._ended = die
else:
    forget.STEPS[at] = die
opened = open_workspace(sys.argv[1])
forget.resume(opened) if erasure.journals(opened, erasure.BEGUN) else forget.forget(opened, sys.argv[2])
"""


@both_homes
def test_an_erasure_killed_again_and_again_is_completed_by_the_next_start(planted: Workspace, tmp_path: Path) -> None:
    video, _, targets = victim(planted)
    root = planted.settings.workspace
    for at in ("media", "cleanup", "report"):
        killed = subprocess.run([sys.executable, "-c", KILLED, str(root), video, at], check=False)
        assert killed.returncode == -signal.SIGKILL, at
    opened = headroom.open(root).workspace
    assert left(opened, targets, tmp_path / "shards") == []
    assert erasure.journals(opened, erasure.BEGUN, erasure.REMOVED) == []
    [(report, _)] = opened.objects.under("erasures")
    assert forget.check(opened.objects.local(report), opened)["complete"]


def test_an_erasure_that_fails_at_every_step_in_turn_is_completed(
    planted: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, _, targets = victim(planted)

    def fails(*_: Any) -> None:
        raise OSError("no space left on device")

    for number, step in enumerate(forget.STEPS):
        with monkeypatch.context() as patched:
            patched.setitem(forget.STEPS, step, fails)
            with pytest.raises(ValueError, match="erasure of .* is not complete, .*no space"):
                forget.resume(planted) if number else forget.forget(planted, PERSON)
    [told] = forget.resume(planted)
    assert (told["complete"], told["identities"]) == (True, [PERSON])
    assert left(planted, targets, tmp_path / "shards") == []


def test_what_can_not_be_removed_is_told_and_taken_up_again(planted: Workspace, tmp_path: Path) -> None:
    video, clips, _ = victim(planted)
    note = planted.settings.workspace / "tiers" / "mine.sql"
    note.write_text(f"SELECT clip_id FROM clips WHERE clip_id <> '{clips[0]}'")
    told = forget.forget(planted, video)
    assert (told["complete"], told["found"], told["report"]) == (False, [(str(note), "id")], None)
    assert forget.resume(planted) == [], "nothing is done again until somebody has mended it"
    note.unlink()
    told = forget.forget(planted, video)
    assert told["complete"]
    report = json.loads(Path(told["report"]).read_text())
    assert forget.check(Path(told["report"]), planted) == {**report, "signed_here": True}
    for elsewhere, signed_here in ((None, None), (open_workspace(tmp_path / "elsewhere"), False)):
        assert forget.check(Path(told["report"]), elsewhere) == {**report, "signed_here": signed_here}
    changed = tmp_path / "changed.json"
    another = forget.public_key(open_workspace(tmp_path / "elsewhere"))
    for forged in ({"complete": False}, {"public_key": another}, {"signature": "00" * 64}):
        changed.write_text(json.dumps({**report, **forged}))
        with pytest.raises(ValueError, match="was changed since it was signed, or its key was"):
            forget.check(changed)
    for forged in ({"public_key": "c0ffee"}, {"signature": None}):
        changed.write_text(json.dumps({**report, **forged}))
        with pytest.raises(ValueError, match="is no report of an erasure"):
            forget.check(changed)
    with pytest.raises(ValueError, match="is no report of an erasure"):
        forget.check(tmp_path / "nowhere.json")
    with pytest.raises(SystemExit) as ended:
        headroom.main(["forget", "--check", told["report"], "-w", str(tmp_path / "no workspace")])
    assert ended.value.code == 0
    assert not (tmp_path / "no workspace").exists()
    with pytest.raises(ValueError, match="is no video or identity"):
        forget.plan(planted, video)


def test_the_ending_of_a_file_name_may_be_left_out_where_one_file_is_named_so(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "workspace")
    named = {"a1": "talk.mp4", "b2": "talk.v2.mp4", "c3": "two.mp4", "d4": "two.mov", "e5": "bare"}
    batch = Batch()
    batch.add("videos", table_of([{"video_id": v, "name": n, "uri": n} for v, n in named.items()], VIDEOS))
    workspace.commit(batch)
    for name, video in (("talk", "a1"), ("talk.v2", "b2"), ("talk.mp4", "a1"), ("two.mov", "d4"), ("bare", "e5")):
        assert forget.plan(workspace, name).video_ids == [video], name
    with pytest.raises(ValueError, match=r"'two' names 2 things \(video c3, video d4\); give an id"):
        forget.plan(workspace, "two")
    for name in ("talk.m", "%", "tal_.mp4"):
        with pytest.raises(ValueError, match="is no video or identity"):
            forget.plan(workspace, name)
