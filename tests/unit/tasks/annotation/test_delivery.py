"""What annotators decide reaches the record once, whatever happens on the way, and takes flagged clips out of tiers."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

import flows.curate
import headroom
from store import annotation_queue
from store.annotation import outbox
from store.record import Batch, table_of
from store.schema import RIGHTS
from store.workspace import Workspace
from tasks import freeze, tier
from tasks.annotation import answers, delivery, desk
from tasks.annotation.delivery import Delivered, deliver, deliver_existing
from tests.annotators import NOW, Crew, rated
from tests.unit.tasks.annotation.conftest import NONE, TEETH, A, B, C, answered, clip, commit_clips, read, shown

on_both = pytest.mark.usefixtures("either_ledger")
"""For what the outbox and the ledger do; what tiers and commands make of a label is the same on either."""


def test_a_flagged_clip_leaves_the_tier_and_diff_and_explain_tell_why(workspace: Workspace, crew: Crew) -> None:
    before = freeze.build(workspace, "clean")
    answered(crew, "flags", shown(A, B), lambda held: TEETH if held["media"][0]["clip_id"] == "a" else NONE, TEETH)
    reviewer = crew.person("r", "reviewer")
    assert crew.work(reviewer, NONE) == ["review"], "they differ about b"
    assert freeze.build(workspace, "clean")["snapshot"] == before["snapshot"], "nothing was delivered yet"

    assert deliver(workspace, crew.database) == Delivered(labels=2, rows=8)
    assert deliver(workspace, crew.database) == Delivered()
    after = freeze.build(workspace, "clean")
    assert (before["clips"], after["clips"]) == (3, 2)
    told = freeze.diff(workspace, "clean")
    because = "COALESCE(labels.flags, '') = ''; flags = teeth; its values changed, and this clause keeps it out"
    assert (told["went"], told["came"]) == ([{"clip_id": "a", "because": because}], [])
    (verdict,) = tier.explain(workspace, "a", "clean")
    assert (verdict["passed"], verdict["values"]) == (False, {"flags": "teeth"})
    (counted,) = tier.funnel(workspace, "clean")
    assert (counted["alone"], counted["removed_only"], counted["nulls"]) == (2, 1, 0)
    held = {r["clip_id"]: r for r in read(workspace, "SELECT * FROM labels")}
    assert [(held[c]["num_flags"], held[c]["teeth"], held[c]["adjudicated"]) for c in "ab"] == [
        (1, True, False),
        (0, False, True),
    ]
    snapshot = freeze._loaded(workspace, freeze._pair(workspace, after["snapshot"], before["snapshot"])[0])
    assert snapshot.clips["labels.flags"].to_pylist() == ["", None], "the values that the clause read are frozen"


@on_both
def test_each_task_type_says_what_was_chosen_and_how_surely(workspace: Workspace, crew: Crew) -> None:
    answered(crew, "likert", shown(A), rated(4), rated(4, lip_sync=3))
    spans = [{"label": "nod", "start_s": 0.0, "end_s": 2.0}]
    attributes = {"gaze": "camera", "emotion": "happy", "speaking_style": ["calm", "reading"], "gesture": spans}
    answered(crew, "attributes", shown(A), attributes)
    pair = [(0.0, [shown(A)[0][1][0], shown(C)[0][1][0]])]
    sides = {"identity": "left", "expression": "tie", "sync": "right"}

    def seen(held: dict[str, Any]) -> dict[str, str]:
        return {k: {"left": "right", "right": "left"}.get(v, v) if held["swapped"] else v for k, v in sides.items()}

    answered(crew, "pairwise", pair, seen)
    deliver(workspace, crew.database)
    (row,) = read(workspace, "SELECT * FROM labels")
    ratings = ("visual_quality", "facial_naturalness", "lip_sync_accuracy", "motion_smoothness")
    assert [row[r] for r in ratings] == [4, 4, 3.5, 4]
    assert (row["gaze"], row["emotion"], row["speaking_style"], row["gesture"]) == (
        "camera", "happy", "calm, reading", "nod",
    )  # fmt: skip
    assert (row["flags"], row["num_flags"], row["teeth"]) == (None, None, None), "nobody was asked for bad cases"
    assert (row["num_raters"], row["agreement"], row["inherited"]) == (1, 0.5, False)
    told = read(workspace, "SELECT clip_id, question, text FROM label_values WHERE task_type = 'pairwise'")
    assert {(r["clip_id"], r["question"], r["text"]) for r in told} == {
        ("a", "identity", "won"), ("a", "expression", "tie"), ("a", "sync", "lost"),
        ("c", "identity", "lost"), ("c", "expression", "tie"), ("c", "sync", "won"),
    }  # fmt: skip
    (chosen,) = read(workspace, "SELECT list FROM label_values WHERE list_contains(list, 'calm')")
    assert chosen["list"] == ["calm", "reading"]


def test_a_rating_of_an_earlier_schema_of_more_points_is_no_rating_of_five(
    workspace: Workspace, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "RATING_POINTS", 7)  # as it was before names of ratings were held to their scale
    monkeypatch.setitem(answers.DEFAULTS["likert"], "points", 7)
    answered(crew, "likert", shown(A), rated(6))
    deliver(workspace, crew.database)
    (row,) = read(workspace, "SELECT visual_quality, lip_sync_accuracy FROM labels")
    assert row == {"visual_quality": None, "lip_sync_accuracy": None}
    assert len(read(workspace, "SELECT number FROM label_values WHERE number = 6")) == 4, "it is told as it was given"


def test_labels_pass_on_to_a_clip_cut_anew_of_nearly_the_same_span(workspace: Workspace, crew: Crew) -> None:
    answered(crew, "flags", shown(A, B), TEETH)
    deliver(workspace, crew.database)
    commit_clips(workspace, clip("a", "v", 0, 100, active=False), clip("a2", "v", 10, 100), clip("b2", "v", 200, 312))
    told = read(workspace, "SELECT clip_id, flags, inherited FROM labels ORDER BY clip_id")
    assert told == [
        {"clip_id": "a2", "flags": "teeth", "inherited": True},
        {"clip_id": "b", "flags": "teeth", "inherited": False},
    ], "an IoU of 0.9 is enough, 100 of 112 is not"
    answered(crew, "flags", shown(("a2", "v", 10, 100)), NONE)
    deliver(workspace, crew.database)
    (row,) = read(workspace, "SELECT flags, inherited FROM labels WHERE clip_id = 'a2'")
    assert row == {"flags": "", "inherited": False}, "what was said of this very span goes first"


@on_both
def test_a_later_decision_replaces_the_earlier_one_and_a_reviewer_outweighs(workspace: Workspace, crew: Crew) -> None:
    batch = answered(crew, "flags", shown(A), TEETH)
    deliver(workspace, crew.database)
    (item,) = crew.database.read(lambda c: [dict(r) for r in c.execute(sa.select(outbox)).mappings()])

    def adjudicate(c: Any) -> None:
        held = annotation_queue.item(c, item["item_id"])
        annotation_queue.add_label(c, held, NONE, "adjudicated", 2, NOW + 99)

    crew.database.write(adjudicate)
    assert deliver(workspace, crew.database) == Delivered(labels=1, rows=4)
    (row,) = read(workspace, "SELECT flags, adjudicated, num_raters FROM labels")
    assert row == {"flags": "", "adjudicated": True, "num_raters": 2}
    assert len(workspace.record.read(workspace.ledger.manifest(), "labels")) == 4
    assert answered(crew, "flags", shown(A), TEETH) != batch
    deliver(workspace, crew.database)
    assert read(workspace, "SELECT flags FROM labels") == [{"flags": ""}], "a later consensus is no reviewer"


def test_gold_that_proves_wrong_stops_counting(
    workspace: Workspace, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "GOLD_RATIO", 1.0)
    monkeypatch.setattr(desk, "BAD_GOLD", (1, 0.5))
    schema = crew.schema("flags")
    crew.batch(schema, shown(A), goal="gold", name="gold")
    crew.work(crew.person("r", "reviewer"), TEETH)
    deliver(workspace, crew.database)
    assert read(workspace, "SELECT flags FROM labels") == [{"flags": "teeth"}]
    crew.batch(schema, shown(B), name="work")
    person = crew.person("one")
    crew.ready(person, schema)
    assert crew.work(person, NONE, num=1) == ["gold"]
    assert deliver(workspace, crew.database).labels == 1
    assert read(workspace, "SELECT flags FROM labels") == []


KILLED = """
import os, signal, sys
from store.ledger import Turn
from store.workspace import open_workspace
from tasks.annotation.delivery import deliver_existing
Turn.publish = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
deliver_existing(open_workspace(sys.argv[1]))
"""


@on_both
def test_killed_between_the_tables_and_the_manifest_it_is_delivered_once(workspace: Workspace, crew: Crew) -> None:
    answered(crew, "flags", shown(A, B, C), TEETH)
    root = workspace.settings.workspace
    killed = subprocess.run([sys.executable, "-c", KILLED, str(root)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert read(workspace, "SELECT * FROM labels") == []
    assert deliver(workspace, crew.database) == Delivered(labels=3, rows=12)
    keys = workspace.record.read(workspace.ledger.manifest(), "labels", ["key"])["key"].to_pylist()
    assert len(keys) == len(set(keys)) == 12
    with workspace.ledger.turn() as turn:  # as after a power loss, when the last manifest that is whole has no labels
        turn.publish({"labels": 1})
    assert deliver(workspace, crew.database).labels == 3


@on_both
def test_several_deliveries_at_once_deliver_once_in_bounded_commits(
    workspace: Workspace, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "ITEMS_PER_COMMIT", 2)
    answered(crew, "flags", shown(A, B, C), TEETH)
    made: list[Delivered] = []
    threads = [threading.Thread(target=lambda: made.append(deliver(workspace, crew.database))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(m.labels for m in made), sum(m.rows for m in made)) == (3, 12)
    assert len(workspace.record.read(workspace.ledger.manifest(), "labels")) == 12


@on_both
def test_of_a_video_being_erased_nothing_is_delivered(
    workspace: Workspace, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = [shown(A)[0][1][0], shown(C)[0][1][0]]
    answered(crew, "pairwise", [(0.0, sides)], dict.fromkeys(("identity", "expression", "sync"), "left"))
    answered(crew, "flags", shown(B, C), TEETH)
    with monkeypatch.context() as patched:
        patched.setattr("store.ledger.Turn.erased", lambda self, names: {"w"} & set(names))
        assert deliver(workspace, crew.database).labels == 3, "it ends, though the record lacks some for good"
    assert {r["clip_id"] for r in read(workspace, "SELECT * FROM label_values")} == {"b"}


@on_both
def test_a_database_of_before_the_outbox_is_delivered_whole(workspace: Workspace, crew: Crew) -> None:
    answered(crew, "flags", shown(A, B), TEETH)
    crew.database.write(lambda c: c.execute(sa.DDL(f"DROP TABLE {outbox.name}")))
    crew.database.close()
    assert deliver_existing(workspace) == Delivered(labels=2, rows=8)


@on_both
def test_a_workspace_without_annotation_gets_no_database(workspace: Workspace) -> None:
    assert deliver_existing(workspace) == Delivered()
    assert not (workspace.settings.workspace / "annotation.sqlite").exists()


def test_curate_and_the_command_deliver_and_the_command_says_so(
    workspace: Workspace, crew: Crew, capsys: pytest.CaptureFixture[str]
) -> None:
    answered(crew, "flags", shown(A), TEETH)
    flows.curate.begin(workspace)
    assert read(workspace, "SELECT clip_id FROM labels") == [{"clip_id": "a"}]
    answered(crew, "flags", shown(B), NONE)
    place = ["--workspace", str(workspace.settings.workspace)]
    told = []
    for _ in range(2):
        with pytest.raises(SystemExit) as end:
            headroom.main(["labels", *place])
        assert end.value.code == 0
        told.append(capsys.readouterr().out)
    assert told[0] == "1 labels came into the record: 4 values\n2 clips are labelled, 1 of them with a bad case\n"
    assert told[1].startswith("no new labels: the record has all that were decided")


def test_the_web_app_delivers_meanwhile_and_once_more_at_its_end(
    workspace: Workspace, crew: Crew, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[int] = []

    def first_fails(*given: Any) -> Delivered:
        asked.append(1)
        if len(asked) == 1:
            raise OSError("no space left on device")
        return deliver(*given)

    monkeypatch.setattr(delivery, "deliver", first_fails)
    stop = threading.Event()
    answered(crew, "flags", shown(A), TEETH)
    courier = threading.Thread(target=delivery.keep_delivering, args=(workspace, crew.database, stop, 0.01))
    with caplog.at_level(logging.ERROR, "headroom"):
        courier.start()
        for _ in range(500):
            if pl.DataFrame(read(workspace, "SELECT * FROM labels")).height:
                break
            stop.wait(0.02)
        assert "labels were not delivered; they wait for the next try" in caplog.text
        answered(crew, "flags", shown(B), TEETH)
        stop.set()
        courier.join()
    assert {r["clip_id"] for r in read(workspace, "SELECT clip_id FROM labels")} == {"a", "b"}
    assert len(asked) == 3, "it looks often, and delivers when something was decided"


def test_a_clause_over_ratings_takes_no_signal_of_a_like_name_and_keeps_what_nobody_rated(workspace: Workspace) -> None:
    batch = Batch()
    batch.add("rights", table_of([{"video_id": "v", "licence": "CC0"}], RIGHTS))
    workspace.commit(batch)
    (workspace.settings.workspace / "tiers" / "clean.sql").write_text(
        "SELECT clip_id FROM clips JOIN rights USING (video_id) LEFT JOIN labels USING (clip_id) "
        "WHERE licence = 'CC0' AND coalesce(labels.motion_smoothness, 5) >= 4"
    )
    assert tier.parsed(workspace, "clean").signals == (), "motion_smoothness is none of the signal motion"
    assert freeze.build(workspace, "clean")["clips"] == 2
