"""The engine: computes what is stale, nothing else, whatever happens in between."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import lance
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from store.ledger import Manifest
from store.record import Batch
from store.schema import TIMELINES
from store.tier_sql import Tier, parse_tier
from store.workspace import Workspace, open_workspace
from tasks import compute, jobs, plan, reclip, signal_counts, stale
from tasks.clipping import ClipParams
from tasks.curate import bring_up_to_date
from tasks.ingest import ingest
from tasks.jobs import Done, Job, Stage
from tasks.media.errors import MediaError
from tasks.media.media import Media
from tasks.signal import Column, Needs, NotApplicable, Output, Resources, Signal
from tests.tables import contents, contents_differ, doubled
from tests.unit.tasks import stand_in
from tests.unit.tasks.stand_in import run, wide

pytestmark = pytest.mark.usefixtures("quick_sql")

CLIP_SIGNALS = ("brightness", "double", "loudness")


def without_times(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select([c for c in frame.columns if not c.endswith("computed_at") and c != "created_at"])


@pytest.mark.usefixtures("either_ledger")
def test_the_first_run_computes_everything_and_the_second_nothing(workspace: Workspace) -> None:
    first = run(workspace)
    assert first.tally.computed == {"faces": 2, "flow": 2, "keyframes": 2, "cuts": 2, "luma": 2} | dict.fromkeys(
        CLIP_SIGNALS, 2
    )
    assert [name for name, _ in first.quarantined] == ["broken.mp4"]
    manifest = workspace.ledger.manifest()
    second = run(workspace)
    assert (second.tally.computed, second.tally.failed, second.predicted) == ({}, {}, {})
    assert workspace.ledger.manifest() == manifest


def test_values_are_those_of_the_footage(curated: Workspace) -> None:
    with curated.views() as reader:
        rows = reader.sql(
            "SELECT v.name, s.* FROM signals s JOIN clips USING (clip_id) JOIN videos v USING (video_id) ORDER BY v.name"
        ).to_dicts()
    # The grounds differ by 70 of 255, 60 in video range, over the 86 % of the picture that the box leaves free.
    assert rows[1]["brightness_mean"] - rows[0]["brightness_mean"] == pytest.approx(52, abs=2)
    assert [r["double_value"] for r in rows] == [2 * r["brightness_mean"] for r in rows]
    assert (rows[0]["loudness_status"], rows[1]["loudness_status"]) == ("ok", "not_applicable")
    assert (rows[1]["loudness_rms"], rows[1]["loudness_reason"]) == (None, "no audio")


@pytest.mark.usefixtures("either_ledger")
def test_a_raised_version_recomputes_exactly_its_dependants(workspace: Workspace, use: Any) -> None:
    run(workspace)
    before = wide(workspace)

    def brighter(media: Media, needs: Needs) -> Output:
        made = stand_in.luma(media, needs).timeline
        assert made is not None
        lifted = pa.array([v + 10 for v in made["luma"].to_pylist()], pa.float32())
        return Output(timeline=made.set_column(1, "luma", lifted))

    use(luma=stand_in.raised(stand_in.signals()["luma"], brighter))
    outcome = run(workspace)
    assert outcome.tally.computed == {"luma": 2, "brightness": 2, "double": 2}
    assert (outcome.stopped, outcome.outdated) == ({}, {"luma": 2})
    after = wide(workspace)
    assert (after["brightness_mean"] - before["brightness_mean"]).to_list() == pytest.approx([10, 10], abs=1)
    untouched = [c for c in before.columns if c.startswith("loudness_")]
    assert after.select(untouched).equals(before.select(untouched))


def test_an_unchanged_output_stops_what_depends_on_it(curated: Workspace, use: Any) -> None:
    use(luma=stand_in.raised(stand_in.signals()["luma"]))
    outcome = run(curated)
    assert outcome.tally.computed == {"luma": 2}
    assert outcome.predicted == {"luma": 2, "brightness": 2, "double": 2}
    assert outcome.stopped == {"brightness": 2, "double": 2}


def test_the_cut_off_works_between_clip_signals_of_one_batch(curated: Workspace, use: Any) -> None:
    use(brightness=stand_in.raised(stand_in.signals()["brightness"]))
    outcome = run(curated)
    assert outcome.tally.computed == {"brightness": 2}
    assert (outcome.stopped, outcome.outdated) == ({"double": 2}, {"brightness": 2})
    assert outcome.followed_by(run(curated)).outdated == {"brightness": 2}


def test_a_signal_that_raises_fails_alone(workspace: Workspace, use: Any) -> None:
    def broken(media: Media, needs: Needs) -> Output:
        if media.audio is None:
            return stand_in.loudness(media, needs)
        raise RuntimeError("model file is corrupt")

    use(loudness=stand_in.loaded("loudness", stand_in.LOUDNESS, broken))
    outcome = run(workspace)
    assert outcome.tally.failed == {"loudness": 1}
    assert outcome.tally.computed["double"] == 2
    (failure,) = outcome.tally.failures
    assert (failure.signal, failure.reason) == ("loudness", "RuntimeError: model file is corrupt")
    assert re.fullmatch(r"clip \w+ of a.mp4", failure.what)
    rows = wide(workspace).filter(pl.col("loudness_status") == "failed_permanent").to_dicts()
    assert [r["loudness_reason"] for r in rows] == ["RuntimeError: model file is corrupt"]
    assert run(workspace).tally.failed == {}, "a permanent failure waits for a new version or input"


@pytest.mark.usefixtures("either_ledger")
def test_a_passing_failure_is_tried_again_when_its_time_has_come(
    workspace: Workspace, use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hungry(media: Media, needs: Needs) -> Output:
        raise MemoryError("no room")

    use(loudness=stand_in.loaded("loudness", stand_in.LOUDNESS, hungry))
    assert run(workspace).tally.failed == {"loudness": 2}
    use()
    assert run(workspace).tally.computed == {}

    later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: later)
    assert run(workspace).tally.computed == {"loudness": 2}


def test_killed_between_any_two_commits_the_next_run_ends_the_same(tmp_path: Path, footage: Path, use: Any) -> None:
    use()

    def made(name: str) -> Workspace:
        workspace = open_workspace(tmp_path / name)
        ingest(workspace, [str(footage)])
        return workspace

    undisturbed = made("whole")
    run(undisturbed)

    class Killed(BaseException):
        pass

    broken = made("broken")
    for survived in range(6):

        def submit(stage: Stage, manifest: Manifest, groups: list[list[Job]], limit: int = survived) -> Iterator[Done]:
            for count, group in enumerate([[j] for g in groups for j in g]):
                if count >= limit:
                    raise Killed
                yield from stand_in.serial(broken)(stage, manifest, [group])

        try:
            bring_up_to_date(broken, submit)
        except Killed:
            continue
    run(broken)
    for query in (
        "SELECT * FROM signals ORDER BY clip_id",
        "SELECT * FROM clips ORDER BY clip_id",
        "SELECT * EXCLUDE (ingested_at, proxy_uri, audio_uri, normalise_cpu_s) FROM videos ORDER BY video_id",
        "SELECT * FROM timelines ORDER BY key",
    ):
        with undisturbed.views() as one, broken.views() as two:
            assert without_times(one.sql(query)).equals(without_times(two.sql(query))), query


def test_what_was_torn_is_computed_again(curated: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """Data of two tables at once, as after a power loss, under manifests that are whole."""
    before = contents(curated)
    for table in ("signals", "timelines"):
        data = Path(curated.record.uri(table)) / "data"
        newest = max(data.iterdir(), key=lambda f: f.stat().st_mtime_ns)
        newest.write_bytes(newest.read_bytes()[:100])
    again = open_workspace(curated.settings.workspace)
    assert "were torn" in caplog.text
    told = run(again)
    assert told.tally.failed == {}
    assert told.tally.computed, "what was lost is stale"
    assert contents_differ(before, contents(again)) == []
    assert doubled(again) == []


def test_a_stage_that_makes_no_progress_says_so(workspace: Workspace) -> None:
    def idle(stage: Stage, manifest: Manifest, groups: list[list[Job]]) -> Iterator[Done]:
        yield Done()

    with pytest.raises(RuntimeError, match="normalise: 3 jobs ran and are still stale"):
        bring_up_to_date(workspace, idle)


@pytest.mark.usefixtures("either_ledger")
def test_a_budget_leaves_the_rest_for_the_next_run(workspace: Workspace) -> None:
    outcome = bring_up_to_date(workspace, stand_in.serial(workspace), budget_s=0.0)
    assert outcome.out_of_budget
    assert run(workspace).tally.computed["double"] == 2


def test_what_a_budget_leaves_is_not_told_as_spared(workspace: Workspace) -> None:
    bring_up_to_date(workspace, stand_in.serial(workspace), signals=["brightness"])
    loud = tier("SELECT clip_id FROM signals WHERE loudness_rms >= 0 AND double_value >= 0")
    outcome = bring_up_to_date(workspace, stand_in.serial(workspace), tiers=[loud], budget_s=0.0)
    assert (outcome.out_of_budget, outcome.skipped) == (True, {})


def test_only_what_a_signal_needs_is_computed_when_it_is_asked_for(workspace: Workspace) -> None:
    outcome = bring_up_to_date(workspace, stand_in.serial(workspace), signals=["brightness"])
    assert set(outcome.tally.computed) == {"faces", "flow", "keyframes", "cuts", "luma", "brightness"}
    with pytest.raises(ValueError, match="signal 'nonsense' is none of"):
        plan.wanted_signals(["nonsense"])


def test_counts_tell_fresh_from_stale(curated: Workspace, use: Any) -> None:
    use(luma=stand_in.raised(stand_in.signals()["luma"]))
    with curated.views() as reader:
        counts = signal_counts.counts(reader)
    assert (counts["luma"].total, counts["luma"].stale, counts["luma"].fresh) == (2, 2, 0)
    assert (counts["loudness"].ok, counts["loudness"].not_applicable, counts["loudness"].stale) == (1, 1, 0)


def test_batches_hold_about_a_minute_of_media() -> None:
    made = plan.batches([Job("clip", str(i), "a", 25.0) for i in range(7)])
    assert [len(b) for b in made] == [3, 3, 1]


def test_the_plan_in_sql_and_the_rule_in_python_agree(curated: Workspace) -> None:
    """Every kind of damage to the provenance of a row is seen by the query exactly as by tasks.compute.is_stale."""
    clip_ids = wide(curated)["clip_id"].to_list()
    damage: list[dict[str, Any]] = [
        {"brightness_fingerprint": "old"},
        {"brightness_input_digest": 7},
        {"brightness_fingerprint": None},
        {"brightness_status": "failed_transient", "brightness_not_before": 1.0},
        {"brightness_status": "failed_transient", "brightness_not_before": 4e9},
        {"brightness_status": "failed_permanent"},
        {"brightness_output_digest": 7},
    ]
    expected = [{"brightness"}, {"brightness"}, {"brightness"}, {"brightness"}, set(), set(), {"double"}]
    good = curated.record.read(curated.ledger.manifest(), "signals").to_pylist()
    for change, names in zip(damage, expected, strict=True):
        batch = Batch()
        schema = curated.record.read(curated.ledger.manifest(), "signals").schema
        batch.add("signals", pa.Table.from_pylist([{**r, **change} for r in good], schema=schema))
        curated.commit(batch)
        with curated.views() as reader:
            found = stale.stale_clips(reader, CLIP_SIGNALS)
        assert set(found["name"]) == names, change
        assert len(found) == len(names) * len(clip_ids)


def tier(sql: str) -> Tier:
    return parse_tier("wanted", sql, {}, CLIP_SIGNALS)


def test_a_tier_spares_costly_signals_where_a_cheap_one_decides(workspace: Workspace, use: Any) -> None:
    made = use()
    costly = replace(made["loudness"].spec, cost_cpu_s=1.0)
    use(loudness=stand_in.loaded("loudness", costly, stand_in.loudness))
    dark_and_loud = tier("SELECT clip_id FROM signals WHERE loudness_rms > 0.01 AND brightness_mean < 110")
    outcome = bring_up_to_date(workspace, stand_in.serial(workspace), tiers=[dark_and_loud])
    assert outcome.tally.computed["brightness"] == 2
    assert outcome.tally.computed["loudness"] == 1, "the bright clip is out whatever its sound"
    assert outcome.skipped == {"loudness": 1}
    assert "double" not in outcome.tally.computed
    again = bring_up_to_date(workspace, stand_in.serial(workspace), tiers=[dark_and_loud])
    assert again.tally.computed == {}
    with workspace.views() as reader:
        found = reader.sql(dark_and_loud.inlined)["clip_id"].to_list()
    run(workspace)
    with workspace.views() as reader:
        assert reader.sql(dark_and_loud.inlined)["clip_id"].to_list() == found, (
            "computing everything gives the same tier"
        )


def test_what_a_gpu_computes_goes_in_jobs_of_its_own(workspace: Workspace, use: Any) -> None:
    heavy = replace(use()["brightness"].spec, resources=Resources(gpu_gib=5.0))
    use(brightness=stand_in.loaded("brightness", heavy, stand_in.brightness))
    asked: list[tuple[str, ...]] = []

    def submit(stage: Stage, manifest: Manifest, groups: list[list[Job]]) -> Iterator[Done]:
        asked.extend(job.signals for group in groups for job in group if stage == "signals")
        yield from stand_in.serial(workspace)(stage, manifest, groups)

    outcome = bring_up_to_date(workspace, submit)
    assert outcome.tally.computed.items() >= dict.fromkeys(CLIP_SIGNALS, 2).items()
    clip_signals = [tuple(n for n in names if n in CLIP_SIGNALS) for names in asked]
    assert clip_signals[:2] == [("loudness",)] * 2, "no GPU is held for what a CPU does"
    assert all({"brightness", "double"} <= set(names) for names in clip_signals[2:]), "what needs it rides along"
    assert run(workspace).tally.computed == {}


def test_what_other_clips_are_compared_with_is_computed_for_all(workspace: Workspace) -> None:
    wanted = tier(
        """SELECT clip_id FROM signals WHERE brightness_mean < 110
           AND loudness_rms >= (SELECT min(loudness_rms) FROM signals)"""
    )
    outcome = bring_up_to_date(workspace, stand_in.serial(workspace), tiers=[wanted])
    assert outcome.tally.computed["loudness"] == 2


def test_a_tier_reads_a_signal_that_needs_another_clip_signal(workspace: Workspace) -> None:
    """The costlier one is computed in a round of its own, from the row that the round before has stored."""
    twice = tier("SELECT clip_id FROM signals WHERE double_value > 0")
    outcome = bring_up_to_date(workspace, stand_in.serial(workspace), tiers=[twice])
    assert (outcome.tally.computed["double"], outcome.tally.failed) == (2, {})
    assert wide(workspace).select("double_status", "brightness_status").unique().rows() == [("ok", "ok")]
    assert bring_up_to_date(workspace, stand_in.serial(workspace), tiers=[twice]).tally.computed == {}


def test_a_clip_over_two_windows_depends_on_both(tmp_path: Path, use: Any) -> None:
    use()
    stand_in.make_video(tmp_path / "long.mp4", 64.0)
    workspace = open_workspace(tmp_path / "workspace")
    reclip.remember(workspace, ClipParams())
    ingest(workspace, [str(tmp_path / "long.mp4")])
    run(workspace)
    reclip.apply(workspace, reclip.propose(workspace, reclip.changed(ClipParams(), {"max_s": "40"})))
    assert run(workspace).tally.computed["brightness"] == 2
    assert run(workspace).tally.computed == {}, "the digest in SQL is that in Python"
    manifest = workspace.ledger.manifest()
    lines = workspace.record.read(manifest, "timelines", where="name = 'luma' AND window_index = 1").to_pylist()
    batch = Batch()
    batch.add("timelines", pa.Table.from_pylist([{**lines[0], "output_digest": 7}], schema=TIMELINES))
    workspace.commit(batch)
    with workspace.views() as reader:
        assert len(stale.stale_clips(reader, ["brightness"])) == 1, (
            "only one of the clips reaches into the second window"
        )


def test_windows_that_hold_the_same_do_not_cancel_out() -> None:
    signal = stand_in.signals()["luma"]
    empty = Output(timeline=pa.table({"frame": pa.array([], pa.int32()), "luma": pa.array([], pa.float32())}))
    held = [compute.attempt(signal, lambda: empty, 0, None, 0.0, window) for window in (0, 1)]
    assert held[0].output_digest != held[1].output_digest


def test_what_a_clip_signal_holds_beside_its_row_reaches_a_dependant_of_a_later_run(
    workspace: Workspace, use: Any
) -> None:
    pulse = Column("at", stand_in.F32, "s", "when", decimals=2)
    count = Column("count", pa.int32(), "count", "how many")
    made = Signal(grain="clip", version=1, columns=(count,), timeline=(pulse,), vectors={"shape": 3})
    told = Signal(grain="clip", version=1, columns=(count,), needs=("pulses",))

    def pulses(media: Media, needs: Needs) -> Output:
        schema = pa.schema([("frame", pa.int32()), ("at", pa.float32())])
        frames = [media.start_frame, media.start_frame + 1]
        line = pa.table({"frame": frames, "at": [0.5, 0.25]}, schema=schema)
        return Output({"count": 2}, line, {"shape": np.array([1, 0, 2], np.float32)})

    def follower(media: Media, needs: Needs) -> Output:
        seen = needs["pulses.timeline"].num_rows + len(needs["pulses.shape"]) + needs["pulses"]["count"]
        return Output({"count": seen})

    first = {"pulses": stand_in.loaded("pulses", made, pulses), "follower": stand_in.loaded("follower", told, follower)}
    use(**first)
    run(workspace)
    use(**{**first, "follower": stand_in.raised(first["follower"])})
    assert run(workspace).tally.computed == {"follower": 2}
    assert wide(workspace)["follower_count"].to_list() == [7, 7]

    def absent(media: Media, needs: Needs) -> Output:
        raise NotApplicable("none here")

    use(**{**first, "pulses": stand_in.raised(first["pulses"], absent)})
    run(workspace)
    vectors = workspace.record.read(workspace.ledger.manifest(), "embeddings_pulses_shape")
    assert vectors.num_rows == vectors["vector"].null_count == 2, "a vector outlived its signal's row"
    assert set(wide(workspace)["follower_status"]) == {"not_applicable"}


def test_digests_written_as_text_by_an_older_version_are_stale(workspace: Workspace, use: Any) -> None:
    needy = replace(stand_in.LUMA, needs=("faces",))
    use(luma=stand_in.loaded("luma", needy, stand_in.luma))
    run(workspace)
    manifest = workspace.ledger.manifest()
    for table in ("timelines", "signals"):
        dataset = workspace.record.open(table)
        assert dataset is not None
        rows = dataset.to_table()
        for at, field in enumerate(rows.schema):
            if field.name.endswith("_digest"):
                rows = rows.set_column(at, field.name, pa.array(["5d41402abc4b2a76"] * rows.num_rows, pa.string()))
        lance.write_dataset(rows, workspace.record.uri(table), mode="overwrite")
        with workspace.ledger.turn() as turn:
            turn.publish({table: workspace.record.open(table).version})  # type: ignore[union-attr]
    assert workspace.ledger.manifest().id > manifest.id
    again = run(workspace)
    assert again.tally.computed["luma"] == 2
    assert again.tally.computed["double"] == 2
    assert run(workspace).tally.computed == {}


def test_a_passing_failure_of_normalise_puts_no_file_aside(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise MediaError("normalise", "FFmpeg was killed from outside", transient=True)

    with monkeypatch.context() as patched:
        patched.setattr(jobs, "normalise", killed)
        with pytest.raises(MediaError, match="killed from outside"):
            run(workspace)
    with workspace.views() as reader:
        assert reader.sql("SELECT count(*) FROM videos WHERE state = 'quarantined'").item() == 0
    assert run(workspace).tally.computed["brightness"] == 2
