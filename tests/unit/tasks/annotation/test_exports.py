"""A batch's labels and single answers as files: on SQLite and on PostgreSQL."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import headroom
from store import annotation_erase, annotation_items, annotation_work
from store.annotation_database import Database, database_url
from store.workspace import Workspace
from tasks.annotation import batches, desk, exports
from tests.annotators import NOW, Crew, clips, rated
from tests.unit.tasks.annotation.conftest import NONE, TEETH, A, B, answered, shown

SECRET = b"of the workspace"


def exported(crew: Crew, batch: int, **told: Any) -> pl.DataFrame:
    held = crew.database.read(lambda c: annotation_work.batch(c, batch))
    assert held is not None
    return exports.answers_in(
        held, crew.database.read(lambda c: annotation_items.every_answer(c, batch)), SECRET, **told
    )


def test_every_answer_is_there_with_whether_it_counts(plain_crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = plain_crew.schema()
    plain_crew.batch(schema, clips(1), goal="gold", name="gold")
    reviewer = plain_crew.person("r", "reviewer")
    plain_crew.work(reviewer, rated(5))
    one, other, third = (plain_crew.person(x) for x in ("one", "other", "third"))
    for person in (one, other, third):
        plain_crew.ready(person, schema)
    monkeypatch.setattr(batches, "AUDIT_RATIO", 1.0)
    batch = plain_crew.batch(schema, clips(1), name="work", overlap=2, max_raters=2)
    monkeypatch.setattr(desk, "GOLD_RATIO", 1.0)
    assert plain_crew.work(one, rated(5), num=1) == ["gold"]
    monkeypatch.setattr(desk, "GOLD_RATIO", 0.0)
    (held,) = plain_crew.claim(third)
    late = NOW + 10**6
    assert plain_crew.claim(one, late)[0]["purpose"] == "label"
    plain_crew.submit(one, plain_crew.claim(one, late)[0]["token"], rated(4), late + 1)
    plain_crew.submit(other, plain_crew.claim(other, late)[0]["token"], rated(4), late + 2)
    assert plain_crew.submit(third, held["token"], rated(1), late + 3)["state"] == "late"
    plain_crew.work(reviewer, rated(1))
    rows = exported(plain_crew, batch)
    assert rows.columns == list(exports.ANSWERS)
    assert rows.height == 5 * 4
    told = rows.filter(pl.col("question") == "lip_sync").to_dicts()
    states = [(r["purpose"], r["value"], r["late"], r["accepted"], r["audited"], r["set_aside"]) for r in told]
    assert states == [
        ("gold", "5", False, True, False, False),
        ("label", "1", True, False, False, False),
        ("label", "4", False, False, True, False),
        ("label", "4", False, False, True, False),
        ("review", "1", False, False, False, False),
    ], "an audit took their pay by the piece, as it differs by three points"
    first = told[2]
    assert (first["clip_id"], first["video_id"], first["start_frame"], first["end_frame"]) == ("c0", "v", 0, 100)
    assert (first["batch"], first["schema"], first["schema_version"], first["guideline_version"]) == (
        "work",
        "s_likert",
        1,
        1,
    )
    assert (first["active_s"] > 0, first["submitted_at"]) == (True, exports.utc(late + 1))
    assert first["submitted_at"].endswith("Z")

    people = {r["rater"] for r in told}
    assert len(people) == 4
    assert all(len(p) == 14 and p.startswith("r-") for p in people), "and no login"
    assert {r["rater"] for r in exported(plain_crew, batch).to_dicts()} == people, "the same in each export"
    held_batch = plain_crew.database.read(lambda c: annotation_work.batch(c, batch))
    given = plain_crew.database.read(lambda c: annotation_items.every_answer(c, batch))
    assert held_batch is not None
    assert not {r["rater"] for r in exports.answers_in(held_batch, given, b"another's").to_dicts()} & people
    assert {r["rater"] for r in exported(plain_crew, batch, logins=True).to_dicts()} == {"one", "other", "third", "r"}


def test_pairs_are_in_the_items_own_order_with_systems_and_prompt(plain_crew: Crew) -> None:
    schema = plain_crew.schema("pairwise")
    span = {"video_id": "v", "start_frame": 0, "end_frame": 100, "proxy_uri": "p"}
    sides = [{**span, "clip_id": s, "system": f"system {s}", "prompt": "hello"} for s in "ab"]
    batch = plain_crew.batch(schema, [(0.0, sides)], name="pairs", overlap=2, max_raters=2)
    for i in range(2):
        person = plain_crew.person(f"p{i}")
        plain_crew.ready(person, schema)

        def better(held: dict[str, Any]) -> dict[str, str]:
            return dict.fromkeys(("identity", "expression", "sync"), "right" if held["swapped"] else "left")

        plain_crew.work(person, better, seed=i)
    rows = exported(plain_crew, batch).to_dicts()
    assert {r["value"] for r in rows} == {"left"}
    assert {(r["system"], r["other_system"], r["prompt"]) for r in rows} == {("system a", "system b", "hello")}
    assert {(r["clip_id"], r["other_clip_id"], r["other_end_frame"]) for r in rows} == {("a", "b", 100)}
    held = plain_crew.database.read(lambda c: annotation_work.batch(c, batch))
    labels = plain_crew.database.read(lambda c: annotation_work.labels_of(c, batch))
    assert held is not None
    (line,) = csv.DictReader(io.StringIO(exports.labels_csv(held, labels, {})))
    assert (line["system"], line["other_system"], line["prompt"]) == ("system a", "system b", "hello")
    assert (line["item"], line["schema"], line["schema_version"]) == (str(labels[0]["item_id"]), "s_pairwise", "1")
    assert line["decided_at"] == exports.utc(labels[0]["at"])
    assert line["confidence"] == line["confidences"] == "", "two answers don't tell"


def test_flags_and_several_choices_have_a_row_a_kind_and_their_spans(workspace: Workspace, crew: Crew) -> None:
    batch = answered(crew, "flags", shown(A), TEETH)
    rows = {r["question"]: r for r in exported(crew, batch).to_dicts()}
    assert {q: r["value"] for q, r in rows.items()} == {
        "identity_drift": "0", "teeth": "1", "occlusion_glitch": "0", "asymmetric_blink": "0",
    }  # fmt: skip
    assert json.loads(rows["teeth"]["detail"])[0]["end_s"] == 2.0
    spans = [{"label": "nod", "start_s": 0.0, "end_s": 2.0}]
    look = {"gaze": "camera", "emotion": "happy", "speaking_style": ["reading", "calm"], "gesture": spans}
    batch = answered(crew, "attributes", shown(A), look)
    told = {r["question"]: (r["value"], r["detail"] is None) for r in exported(crew, batch).to_dicts()}
    assert told == {
        "gaze": ("camera", True), "emotion": ("happy", True), "speaking_style": ("calm, reading", True),
        "gesture": ("nod", False),
    }  # fmt: skip


def test_of_an_erased_video_nothing_is_exported(plain_crew: Crew) -> None:
    schema = plain_crew.schema("flags")
    media = [(0.0, [{**clip, "video_id": f"v{i}"}]) for i, (_, [clip]) in enumerate(clips(2))]
    batch = plain_crew.batch(schema, media, name="work", overlap=1, max_raters=1)
    person = plain_crew.person("one")
    plain_crew.ready(person, schema)
    plain_crew.work(person, NONE)
    assert set(exported(plain_crew, batch)["video_id"]) == {"v0", "v1"}
    plain_crew.database.write(lambda c: annotation_erase.erase_videos(c, {"v0"}))
    assert set(exported(plain_crew, batch)["video_id"]) == {"v1"}
    assert plain_crew.database.read(lambda c: annotation_items.count_of(c, batch)) == {"done": 1, "retired": 1}


def told(workspace: Workspace, capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        headroom.main(["annotate", "answers", "--workspace", str(workspace.settings.workspace), *args])
    caught = capsys.readouterr()
    return int(end.value.code or 0), caught.out, caught.err


def test_the_command_writes_each_format_and_prints_csv_without(
    workspace: Workspace, crew: Crew, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    batch = str(answered(crew, "flags", shown(A, B), NONE, TEETH))
    code, out, _ = told(workspace, capsys, batch)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert (code, len(rows)) == (0, 16)
    assert not any(r["rater"].startswith("flags") for r in rows)
    for ending, reads in ((".csv", pl.read_csv), (".parquet", pl.read_parquet), (".jsonl", pl.read_ndjson)):
        file = tmp_path / f"new folder/answers{ending}"
        code, out, _ = told(workspace, capsys, batch, "--out", str(file), "--json")
        assert json.loads(out) == {"path": str(file), "rows": 16, "answers": 4, "raters": 2}
        assert reads(file)["item"].to_list() == [int(r["item"]) for r in rows]
    code, out, _ = told(workspace, capsys, batch, "--out", str(file), "--logins")
    assert "4 answers of 2 raters, 16 rows" in " ".join(out.split())
    assert {r["rater"] for r in pl.read_ndjson(file).to_dicts()} == {f"flags{batch}-0", f"flags{batch}-1"}
    code, out, _ = told(workspace, capsys, batch, "--json")
    assert len(json.loads(out)["rows"]) == 16


def test_what_can_t_be_written_says_why(unasked: Workspace, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = told(unasked, capsys, "1")
    assert (code != 0, "nobody was asked anything" in err) == (True, True)
    crew = Crew(Database(database_url(unasked.settings)))
    batch = str(answered(crew, "flags", shown(A), NONE))
    crew.database.close()
    (tmp_path / "file").write_text("")
    for args, why in (
        (("nope",), "there is no batch 'nope'; there are"),
        ((batch, "--out", str(tmp_path / "a.xlsx")), "answers are written as .csv, .parquet, .jsonl"),
        ((batch, "--out", str(tmp_path / "file" / "a.csv")), "can't be written"),
    ):
        code, _, err = told(unasked, capsys, *args)
        assert (code != 0, why in " ".join(err.split())) == (True, True), err
