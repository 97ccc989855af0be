"""A new version of a signal rolls out: readers see the one before, whole, until it takes over, whole, and goes back."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from flows.curate import has_work
from store.ledger import Manifest, Turn
from store.record import Batch
from store.schema import columns_of, is_narrow
from store.workspace import Workspace, open_workspace
from tasks import curate, forget, freeze, promote, tier
from tasks.curate import bring_up_to_date
from tasks.ingest import ingest
from tasks.jobs import Done, Job, Stage
from tasks.media.media import Media
from tasks.shadow import sample, shadow, tiers_reading
from tasks.signal import Column, LoadedSignal, Needs, Output, Signal
from tasks.wanted import Pass
from tests.databases import fresh_database
from tests.faults import can_mount, small_disk
from tests.tables import contents, doubled
from tests.unit.store.test_full_disk import fill
from tests.unit.store.test_record import tear
from tests.unit.tasks import stand_in

pytestmark = pytest.mark.usefixtures("quick_sql")


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    stand_in.make_video(folder / "a.mp4", 2.0, luma=90)
    stand_in.make_video(folder / "b.mp4", 2.0, luma=160, tone=False)
    (folder / "late").mkdir()
    stand_in.make_video(folder / "late" / "c.mp4", 2.0, luma=60)
    return folder


@pytest.fixture
def known(use: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The stand-ins, with changes, for tiers too."""

    def change(**changed: LoadedSignal) -> None:
        made = use(**changed)
        monkeypatch.setattr(tier, "discover", lambda: made)

    return change


@pytest.fixture
def home(request: pytest.FixtureRequest) -> str:
    """Where the ledger is: `sqlite`, or `postgresql`."""
    return str(getattr(request, "param", "sqlite"))


both_homes = pytest.mark.parametrize("home", ["sqlite", "postgresql"], indirect=True)
"""For what is the ledger's own work: to go back, and to have published or not."""

FIRST_LEDGER: dict[Path, str] = {}
"""URLs of the databases, on PostgreSQL, of workspaces that were computed once."""


@pytest.fixture
def workspace(
    tmp_path: Path,
    footage: Path,
    known: Any,
    home: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Workspace:
    """Curated by the first versions; computed once for all tests, since its media can stay where they are."""
    known(pulses=pulses(1))
    first = footage / f"workspace on {home}"
    if not first.exists():
        FIRST_LEDGER[first] = ""
        if home == "postgresql":
            FIRST_LEDGER[first] = fresh_database(request.getfixturevalue("postgres"))
            monkeypatch.setenv("HEADROOM_LEDGER_URL", FIRST_LEDGER[first])
        made = open_workspace(first)
        (first / "tiers").mkdir()
        (first / "tiers" / "dark.sql").write_text("SELECT clip_id FROM signals WHERE brightness_mean < 110")
        ingest(made, [str(footage / "a.mp4"), str(footage / "b.mp4")])
        run(made)
    if like := FIRST_LEDGER[first]:
        url = fresh_database(request.getfixturevalue("postgres"), like)
        monkeypatch.setenv("HEADROOM_LEDGER_URL", url)
    return open_workspace(shutil.copytree(first, tmp_path / "workspace"))


def pulses(version: int) -> LoadedSignal:
    """A signal with a row, a timeline and a vector that all tell its version."""
    column = Column("count", pa.int32(), "count", "how many")
    line = Column("at", stand_in.F32, "s", "when", decimals=2)
    spec = Signal(grain="clip", version=version, columns=(column,), timeline=(line,), vectors={"shape": 2})

    def compute(media: Media, needs: Needs) -> Output:
        schema = pa.schema([("frame", pa.int32()), ("at", pa.float32())])
        line = pa.table({"frame": [media.start_frame], "at": [float(version)]}, schema=schema)
        return Output({"count": version}, line, {"shape": np.array([version, 0], np.float32)})

    return stand_in.loaded("pulses", spec, compute)


def brighter(by: float = 30.0) -> LoadedSignal:
    def compute(media: Media, needs: Needs) -> Output:
        return Output(row={"mean": min(255.0, stand_in.brightness(media, needs).row["mean"] + by)})

    return stand_in.raised(stand_in.signals()["brightness"], compute)


def run(workspace: Workspace, **asked: Any) -> curate.Outcome:
    return bring_up_to_date(workspace, stand_in.serial(workspace), **asked)


def wide(workspace: Workspace) -> pl.DataFrame:
    with workspace.views() as reader:
        return reader.sql("SELECT * FROM signals ORDER BY clip_id")


def narrow_tables(workspace: Workspace) -> list[str]:
    return sorted(t for t in workspace.ledger.manifest().versions if is_narrow(t))


def seen(workspace: Workspace) -> dict[str, Any]:
    """Every table that readers see."""
    return {table: rows for table, rows in contents(workspace).items() if not is_narrow(table)}


class Killed(BaseException):
    pass


def first_job_only(workspace: Workspace) -> curate.Submit:
    def submit(stage: Stage, manifest: Manifest, groups: list[list[Job]]) -> Iterator[Done]:
        yield from stand_in.serial(workspace)(stage, manifest, [[groups[0][0]]])
        raise Killed

    return submit


def test_readers_see_the_version_before_until_the_last_row_is_there(workspace: Workspace, known: Any) -> None:
    before, tiers = wide(workspace), freeze.build(workspace, "dark")
    known(brightness=brighter(), pulses=pulses(1))
    with pytest.raises(Killed):
        bring_up_to_date(workspace, first_job_only(workspace))
    assert wide(workspace).equals(before), "half of the new rows are there, and none is seen"
    assert freeze.build(workspace, "dark") == tiers, "the version that serves is whole, so tiers can be frozen"
    with workspace.views() as reader:
        [state] = promote.states(workspace, reader)
    assert (state.signal, state.version, state.rows, state.computed) == ("brightness", 2, 2, 1)
    assert state.why == "1 rows are to be computed"
    with pytest.raises(ValueError, match="1 of 2 rows of the candidate are computed; headroom curate --signal bright"):
        promote.promote(workspace, "brightness")
    with pytest.raises(ValueError, match="no version before is kept"):
        promote.roll_back(workspace, "brightness")
    with pytest.raises(ValueError, match="signal 'luma' is none of the clip signals"):
        promote.roll_back(workspace, "luma")

    outcome = run(workspace)
    assert outcome.tally.computed == {"brightness": 1, "double": 2}, "what depends on it is computed once, after it"
    assert [(t.signal, t.version, t.before_version, t.rows) for t in outcome.promoted] == [("brightness", 2, 0, 2)]
    after = wide(workspace)
    assert (after["brightness_mean"] - before["brightness_mean"]).to_list() == [30, 30]
    assert after["double_value"].to_list() == [2 * v for v in after["brightness_mean"].to_list()]
    assert freeze.build(workspace, "dark")["snapshot"] != tiers["snapshot"]
    manifest = workspace.ledger.manifest()
    assert run(workspace).tally.computed == {}
    assert workspace.ledger.manifest() == manifest


@pytest.mark.parametrize("table", ["pulses@", "timelines@pulses@", "embeddings_pulses_shape@"])
def test_a_candidate_that_a_power_loss_tore_is_computed_again(
    table: str, workspace: Workspace, known: Any, caplog: pytest.LogCaptureFixture
) -> None:
    known(pulses=pulses(2))
    with pytest.raises(Killed):
        bring_up_to_date(workspace, first_job_only(workspace))
    before, versions = seen(workspace), workspace.ledger.manifest().versions
    [held] = [t for t in versions if t.startswith(table)]
    folder = Path(workspace.record.uri(held))
    if table == "pulses@":
        tear(min((folder / "_versions").glob("*.manifest")), "half")
    else:
        tear(max((folder / "data").iterdir(), key=lambda f: f.stat().st_mtime_ns), "half")
    again = open_workspace(workspace.settings.workspace)
    assert "are gone: embeddings_pulses_shape@" in caplog.text
    assert narrow_tables(again) == []
    assert seen(again) == before, "readers saw none of it"
    caplog.clear()
    outcome = run(open_workspace(workspace.settings.workspace))
    assert not caplog.text, "once is enough"
    assert outcome.tally.computed == {"pulses": 2}, "rows whose timeline is lost are not taken for whole"
    assert [(t.signal, t.rows) for t in outcome.promoted] == [("pulses", 2)]
    assert wide(again)["pulses_count"].to_list() == [2, 2]
    assert doubled(again) == []
    [gone] = [t for t in narrow_tables(again) if t.startswith(table)]
    tear(min((Path(again.record.uri(gone)) / "_versions").glob("*.manifest")), "empty")
    assert wide(open_workspace(workspace.settings.workspace))["pulses_count"].to_list() == [2, 2]
    with pytest.raises(ValueError, match="no version before is kept"):
        promote.roll_back(again, "pulses")


def test_a_chain_of_new_versions_is_computed_once_each(workspace: Workspace, known: Any) -> None:
    known(brightness=brighter(), double=stand_in.raised(stand_in.signals()["double"]), pulses=pulses(1))
    outcome = run(workspace)
    assert outcome.tally.computed == {"brightness": 2, "double": 2}
    assert [t.signal for t in outcome.promoted] == ["brightness", "double"]


@both_homes
def test_a_roll_back_is_the_reverse_of_a_promotion(workspace: Workspace, known: Any) -> None:
    before = seen(workspace)
    known(pulses=pulses(2))
    assert [t.signal for t in run(workspace, signals=["pulses"]).promoted] == ["pulses"]
    after = seen(workspace)
    assert {r["pulses_count"] for r in after["signals"]} == {2}
    assert {tuple(r["vector"]) for r in after["embeddings_pulses_shape"]} == {(2.0, 0.0)}
    assert len(narrow_tables(workspace)) == 3

    took = promote.roll_back(workspace, "pulses")
    assert (took.version, took.before_version, took.rows) == (0, 2, 2)
    with pytest.raises(ValueError, match="no version before is kept"):
        promote.roll_back(workspace, "pulses")
    assert seen(workspace) == before
    outcome = run(workspace, signals=["pulses"])
    assert (outcome.tally.computed, outcome.promoted) == ({}, []), "it does not take over again by itself"
    assert [s.why for s in outcome.waiting] == ["it is held back"]
    promote.promote(workspace, "pulses")
    assert seen(workspace) == after
    assert doubled(workspace) == []
    with pytest.raises(ValueError, match="pulses: has no candidate"):
        promote.promote(workspace, "pulses")


def test_new_footage_waits_for_the_version_that_takes_over_and_loses_its_row_when_it_goes_back(
    workspace: Workspace, footage: Path, known: Any
) -> None:
    known(brightness=brighter(), pulses=pulses(2))
    for name, fingerprint in (("brightness", brighter().fingerprint), ("pulses", pulses(2).fingerprint)):
        promote.hold(workspace, name, fingerprint, held=True)
    ingest(workspace, [str(footage / "late" / "c.mp4")])
    outcome = run(workspace)
    assert (outcome.tally.computed["brightness"], outcome.tally.computed.get("double")) == (3, None)
    rows = wide(workspace)
    assert rows["brightness_status"].null_count() == rows["double_status"].null_count() == 1
    with pytest.raises(ValueError, match="missing or stale are brightness of 1"):
        freeze.build(workspace, "dark")
    promote.promote(workspace, "brightness")
    promote.promote(workspace, "pulses")
    assert run(workspace).tally.computed == {"double": 3}
    assert wide(workspace)["brightness_status"].null_count() == 0

    promote.roll_back(workspace, "pulses")
    counts = wide(workspace)["pulses_count"].to_list()
    assert sorted(c or 0 for c in counts) == [0, 1, 1], "the version before never saw the new clip"
    assert workspace.record.read(workspace.ledger.manifest(), "embeddings_pulses_shape").num_rows == 2
    known(brightness=brighter(), pulses=pulses(1))
    assert run(workspace).tally.computed == {"pulses": 1}, "with the code taken back, only that clip is computed"


@both_homes
def test_killed_between_the_tables_and_the_manifest_nothing_has_happened(
    workspace: Workspace, known: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = seen(workspace)
    known(pulses=pulses(2))
    publish = Turn.publish

    def killed(turn: Turn, versions: dict[str, int], *args: Any, **kwargs: Any) -> Manifest:
        if kwargs.get("without"):
            raise Killed
        return publish(turn, versions, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(Turn, "publish", killed)
        with pytest.raises(Killed):
            run(workspace, signals=["pulses"])
    assert seen(workspace) == before
    clip = wide(workspace)["clip_id"][0]
    batch = Batch()
    batch.add("signals", pa.table({"clip_id": [clip], "loudness_reason": ["somebody else's row"]}))
    workspace.commit(batch)
    assert wide(workspace)["pulses_count"].to_list() == [1, 1], "another commit brings none of it to light"
    assert has_work(workspace, [Pass()]), "nothing is stale, and the next command promotes all the same"
    assert [t.signal for t in run(workspace, signals=["pulses"]).promoted] == ["pulses"]
    assert wide(workspace)["pulses_count"].to_list() == [2, 2]
    promote.roll_back(workspace, "pulses")
    assert wide(workspace)["pulses_count"].to_list() == [1, 1]


@pytest.mark.skipif(not can_mount(), reason="a small disk needs root and mount")
def test_a_promotion_on_a_full_disk_has_not_happened(
    workspace: Workspace, known: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    swap = promote.swap
    with small_disk(tmp_path / "disk", 48):
        shutil.copytree(workspace.settings.workspace, tmp_path / "disk" / "workspace")
        small = open_workspace(tmp_path / "disk" / "workspace")
        before = seen(small)
        known(pulses=pulses(2))

        def full(*told: Any) -> Any:
            fill(tmp_path / "disk")
            return swap(*told)

        with monkeypatch.context() as patched:
            patched.setattr(promote, "swap", full)
            with pytest.raises(Exception, match=r"No space|disk I/O|disk is full"):
                run(small, signals=["pulses"])
        (tmp_path / "disk" / "filler").unlink()
        assert seen(small) == before, "readers see the version before, whole"
        assert [t.signal for t in run(small, signals=["pulses"]).promoted] == ["pulses"]
        assert wide(small)["pulses_count"].to_list() == [2, 2]
        assert doubled(small) == []


def test_a_candidate_that_fails_where_there_are_values_waits(workspace: Workspace, known: Any) -> None:
    def broken(media: Media, needs: Needs) -> Output:
        raise RuntimeError("model file is corrupt")

    def hungry(media: Media, needs: Needs) -> Output:
        raise MemoryError("no room")

    before = wide(workspace)
    quiet = stand_in.raised(stand_in.signals()["loudness"], hungry)
    known(brightness=stand_in.raised(stand_in.signals()["brightness"], broken), loudness=quiet, pulses=pulses(1))
    outcome = run(workspace)
    assert (outcome.tally.failed, outcome.promoted) == ({"brightness": 2, "loudness": 2}, [])
    assert {s.signal: s.why for s in outcome.waiting} == {
        "brightness": "it fails on 2 of 2 clips that have values now",
        "loudness": "2 rows failed in passing and are tried again",
    }
    assert wide(workspace).equals(before)
    promote.promote(workspace, "brightness")
    assert set(wide(workspace)["brightness_status"]) == {"failed_permanent"}, "whoever says so gets it"


def test_a_tier_spares_no_clip_that_has_a_row_of_the_version_before(workspace: Workspace, known: Any) -> None:
    costly = replace(stand_in.signals()["loudness"].spec, cost_cpu_s=1.0, version=2)
    known(loudness=stand_in.loaded("loudness", costly, stand_in.loudness), pulses=pulses(1))
    file = workspace.settings.workspace / "tiers" / "dark_and_loud.sql"
    file.write_text("SELECT clip_id FROM signals WHERE brightness_mean < 110 AND loudness_rms > 0.01")
    outcome = run(workspace, tiers=[tier.parsed(workspace, "dark_and_loud")])
    assert outcome.tally.computed == {"loudness": 2}, "the bright clip is out, and has a row all the same"
    assert [t.signal for t in outcome.promoted] == ["loudness"]


def test_nothing_of_a_forgotten_video_is_left_beside_what_readers_see(workspace: Workspace, known: Any) -> None:
    known(pulses=pulses(2))
    run(workspace, signals=["pulses"])
    known(pulses=pulses(3))
    with pytest.raises(Killed):
        bring_up_to_date(workspace, first_job_only(workspace))
    with workspace.views() as reader:
        [gone] = reader.sql("SELECT video_id FROM videos WHERE name = 'a.mp4'")["video_id"].to_list()
    assert len(narrow_tables(workspace)) == 6
    held = [workspace.record.read(workspace.ledger.manifest(), t) for t in narrow_tables(workspace)]
    assert any(gone in rows["video_id"].to_pylist() for rows in held)
    told = forget.forget(workspace, "a.mp4")
    assert (told["complete"], told["found"]) == (True, [])
    left = [workspace.record.read(workspace.ledger.manifest(), t) for t in narrow_tables(workspace)]
    assert all(gone not in rows["video_id"].to_pylist() for rows in left)
    assert [t.signal for t in run(workspace, signals=["pulses"]).promoted] == ["pulses"]


def test_a_shadow_shows_what_a_candidate_would_change(workspace: Workspace, known: Any) -> None:
    known(brightness=brighter(), pulses=pulses(1))
    before = wide(workspace)
    told = shadow(workspace, "brightness", num_clips=1, hold=True)
    assert (told["clips"], told["computed_now"], told["computed"], told["held"]) == (1, 1, 1, True)
    [column] = told["columns"]
    assert (column["column"], column["changed_ratio"], column["spearman"]) == ("mean", 1.0, None)
    assert column["after"]["median"] - column["before"]["median"] == 30
    assert told["cost"]["after"] > 0
    [moves] = told["tiers"]
    [left] = moves["leave"]
    assert (moves["tier"], moves["inside"], moves["enter"]) == ("dark", 1, [])
    assert left["clauses"] == ["brightness_mean < 110"]
    assert wide(workspace).equals(before), "nothing that readers see has changed"

    both = shadow(workspace, "brightness")
    assert (both["clips"], both["computed_now"], both["columns"][0]["clips"]) == (2, 1, 2)
    query = "SELECT min(brightness_mean) FROM signals"
    darkest = before["brightness_mean"].min()
    assert tier.query(workspace, query).item() == darkest
    assert tier.query(workspace, query, ["brightness"]).item() == darkest + 30
    outcome = run(workspace)
    assert (outcome.tally.computed, [s.why for s in outcome.waiting]) == ({}, ["it is held back"])
    with pytest.raises(ValueError, match="signal double: has no candidate with rows"):
        tier.query(workspace, query, ["double"])
    with pytest.raises(ValueError, match="signal double: has no candidate, its present version serves"):
        shadow(workspace, "double")
    known(brightness=brighter(), luma=stand_in.raised(stand_in.signals()["luma"]), pulses=pulses(1))
    with pytest.raises(ValueError, match="needs luma, which is out of date here; headroom curate --signal luma"):
        shadow(workspace, "brightness")


def test_a_shadow_is_near_the_thresholds_of_tiers(workspace: Workspace, known: Any) -> None:
    file = workspace.settings.workspace / "tiers" / "dark.sql"
    with workspace.views() as reader:
        for clip, mean in reader.sql("SELECT clip_id, brightness_mean FROM signals").iter_rows():
            file.write_text(f"SELECT clip_id FROM signals WHERE brightness_mean < {mean + 1}")
            assert sample(reader, "brightness", tiers_reading(workspace, "brightness"), 1) == [clip]


def test_the_rows_before_end_with_their_time(workspace: Workspace, known: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    known(pulses=pulses(2))
    run(workspace, signals=["pulses"])
    folder = Path(workspace.record.root)
    workspace.record.compact(workspace.ledger, fragments=0, keep=timedelta(0))
    assert promote.retire(workspace) == [], "they are kept for a roll-back"
    assert len(list(folder.glob("*@*"))) == 3, "what took over lies in the wide table alone"
    later = time.time() + 8 * 86400
    monkeypatch.setattr(time, "time", lambda: later)
    assert len(promote.retire(workspace)) == 3
    assert list(folder.glob("*@*")) == []
    with pytest.raises(ValueError, match="no version before is kept"):
        promote.roll_back(workspace, "pulses")


def test_columns_are_those_of_the_longest_name() -> None:
    names = ["clip_id", "speech_ratio", "speech_input_digest", "speech_quality_ovrl", "speech_quality_input_digest"]
    assert columns_of("speech", names) == ["speech_ratio", "speech_input_digest"]
    assert columns_of("speech_quality", names) == ["speech_quality_ovrl", "speech_quality_input_digest"]
