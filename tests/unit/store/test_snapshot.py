"""Snapshots: the same each time, verified, redactable, refused while clips are undecided; and their diff."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from store.guard import in_process
from store.snapshot import Snapshot, _leaves, freeze, from_bytes, header_of, load, merkle_root, redact, save, to_bytes
from store.snapshot_diff import diff
from store.tier_sql import parse_tier
from tests.unit.store.conftest import SIGNALS, connect, world

TIER = (
    "SELECT clip_id FROM clips JOIN signals USING (clip_id) JOIN rights USING (video_id) "
    "WHERE duration_s >= 3 AND speech_quality_ovrl >= 3 AND consent = 'yes'"
)
MANIFEST = {"clips": 3, "signals": 7}
FINGERPRINTS = {s: f"fp-{s}" for s in SIGNALS}


def frozen(query: Any, sql: str = TIER, **told: Any) -> Snapshot:
    arguments: dict[str, Any] = {"fingerprints": FINGERPRINTS, "manifest": MANIFEST, "secret": b"key", **told}
    return freeze(query, parse_tier("t", sql, {}, SIGNALS), **arguments)


def test_a_snapshot_holds_the_clips_their_spans_and_values(query: Any) -> None:
    made = frozen(query)
    assert made.clip_ids == ["c2", "c3", "c5", "c6"]
    row = made.clips.to_pylist()[0]
    assert (row["video_id"], row["start_frame"], row["end_frame"], row["duration_s"]) == ("v1", 200, 300, 4.0)
    assert (row["signals.speech_quality_ovrl"], row["rights.consent"]) == (3.0, "yes")
    assert made.header["fingerprints"] == {"speech_quality": "fp-speech_quality"}
    assert (made.header["manifest"], made.header["num_clips"], made.header["duration_s"]) == (MANIFEST, 4, 24.0)
    assert [c.text for c in made.clauses] == ["duration_s >= 3", "speech_quality_ovrl >= 3", "consent = 'yes'"]


def test_unchanged_data_give_the_same_snapshot_whenever_and_in_whatever_order(query: Any) -> None:
    turned = {name: t.take(pa.array(range(t.num_rows))[::-1]) for name, t in world().items()}
    again = frozen(in_process(connect(turned)), created_at=9.0)
    assert again.id == frozen(query, created_at=1.0).id
    assert len(again.id) == 16


@pytest.mark.parametrize(
    "other",
    [
        {"sql": TIER.replace("3 AND", "4 AND")},
        {"manifest": {"clips": 4, "signals": 7}},
        {"fingerprints": {**FINGERPRINTS, "speech_quality": "fp-2"}},
        {"secret": b"another"},
    ],
)
def test_what_a_snapshot_rests_on_is_under_its_hash(query: Any, other: dict[str, Any]) -> None:
    assert frozen(query, **other).sha256 != frozen(query).sha256


def test_fingerprints_of_signals_it_does_not_read_change_nothing(query: Any) -> None:
    assert frozen(query, fingerprints={**FINGERPRINTS, "lip_sync": "fp-2"}).sha256 == frozen(query).sha256


def test_saved_and_loaded_it_is_the_same(query: Any, tmp_path: Path) -> None:
    made = frozen(query, created_at=12.5)
    path = save(made, tmp_path / "snapshots")
    assert path.name == f"{made.id}.snapshot"
    found = load(path)
    assert (found.sha256, found.created_at, found.clauses) == (made.sha256, 12.5, made.clauses)
    assert found.clips.equals(made.clips)
    assert save(frozen(query, created_at=99.0), path.parent) == path
    assert load(path).created_at == 12.5, "the first freezing of a snapshot is kept"
    path.write_bytes(b"half a file")
    save(made, path.parent)
    assert load(path).id == made.id
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_write_that_fails_leaves_nothing(query: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("store.snapshot.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(frozen(query), tmp_path)
    assert list(tmp_path.iterdir()) == []


def _changed(made: Snapshot, name: str, value: Any) -> Snapshot:
    column = made.clips[name]
    index = made.clips.column_names.index(name)
    told = pc.if_else(pc.equal(made.clips["clip_id"], "c3"), pa.scalar(value, column.type), column)
    return Snapshot(made.header, made.clips.set_column(index, name, told), made.created_at)


@pytest.mark.parametrize(
    ("name", "value"), [("clip_id", "c9"), ("signals.speech_quality_ovrl", 3.01), ("end_frame", 1), ("salt", b"x" * 16)]
)
def test_a_changed_clip_is_found_out(query: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"snapshot s: its clips hash to .*: changed; build the tier again"):
        from_bytes(to_bytes(_changed(frozen(query), name, value)), "s")


def test_a_changed_header_or_row_count_or_format_is_found_out(query: Any) -> None:
    made = frozen(query)
    whole = to_bytes(made)
    with pa.ipc.open_file(pa.BufferReader(whole)) as reader:
        table = reader.read_all()
    told = dict(table.schema.metadata)
    forged = {**json.loads(told[b"header"]), "sql": "SELECT clip_id FROM clips"}
    with pytest.raises(ValueError, match="its header has sha256"):
        from_bytes(_file(table, {**told, b"header": json.dumps(forged).encode()}), "s")
    with pytest.raises(ValueError, match="3 rows don't fit its header"):
        from_bytes(_file(table.slice(1), told), "s")
    newer = Snapshot({**made.header, "format": "headroom snapshot 3"}, made.clips, 0.0)
    with pytest.raises(ValueError, match="format 'headroom snapshot 3', this version reads"):
        from_bytes(to_bytes(newer), "s")


def _file(table: pa.Table, metadata: dict[bytes, bytes]) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema.with_metadata(metadata)) as writer:
        writer.write_table(table.replace_schema_metadata(metadata))
    return bytes(sink.getvalue().to_pybytes())


@pytest.mark.parametrize("data", [b"", b"ARROW1 nonsense", b"{}"])
def test_what_is_no_snapshot_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="snapshot s: can't be read"):
        from_bytes(data, "s")


def test_a_redacted_snapshot_forgets_the_clip_and_still_verifies(query: Any) -> None:
    made = frozen(query)
    redacted = redact(made, ["c3"])
    data = to_bytes(redacted)
    found = from_bytes(data, "s")
    assert found.sha256 == made.sha256
    assert found.clip_ids == ["c2", "c5", "c6"]
    row = found.clips.to_pylist()[1]
    assert {k for k, v in row.items() if v is not None} == {"leaf"}
    hidden = b"".join(b.to_pybytes() for c in redacted.clips.columns for b in c.chunk(0).buffers() if b is not None)
    assert made.clips["salt"].to_pylist()[1] not in hidden, "NULL in a column, and in no buffer under it"
    assert made.clips["salt"].to_pylist()[0] in hidden
    with pytest.raises(ValueError, match="changed"):
        from_bytes(to_bytes(_changed(redact(made, ["c2"]), "end_frame", 1)), "s")
    assert redact(redacted, ["c3", "c2"]).clip_ids == ["c5", "c6"]


def test_the_root_depends_on_every_leaf_and_their_order() -> None:
    leaves = [bytes([i]) * 32 for i in range(5)]
    roots = {merkle_root(leaves[:n]) for n in range(6)} | {merkle_root(leaves[::-1])}
    assert len(roots) == 7
    many = [bytes([i % 251, i // 251]) * 16 for i in range(5000)]  # three levels of nodes
    other = [*many[:4900], bytes(32), *many[4901:]]
    assert merkle_root(many, 2) != merkle_root(many)
    assert len({merkle_root(m) for m in (many, many[:-1], other, [*many[64:], *many[:64]])}) == 4


def test_no_value_is_another_one_than_zero(query: Any) -> None:
    made = frozen(query)
    index = made.clips.column_names.index("signals.speech_quality_ovrl")
    column = made.clips.column(index)

    def root(values: pa.Array) -> bytes:
        return merkle_root(_leaves(made.clips.set_column(index, "signals.speech_quality_ovrl", values)))

    zeros = pa.array([0.0] * len(column), column.type)
    assert root(zeros) != root(pa.nulls(len(column), column.type))
    assert root(zeros) == root(pa.chunked_array([zeros[:1], zeros[1:]])), "however they lie in memory"


def test_a_snapshot_of_format_1_is_read_and_redacted(query: Any) -> None:
    made = frozen(query)
    root = "1790421ec5bfee48ba837d10f97efc42ac648ac076660f68b7f8452ac8fdfee7"  # as format 1 was hashed when it was the one that is written
    old = Snapshot({**made.header, "format": "headroom snapshot 1", "merkle_root": root}, made.clips, 0.0)
    assert from_bytes(to_bytes(old), "s").sha256 == old.sha256
    assert from_bytes(to_bytes(redact(old, ["c3"])), "s").clip_ids == ["c2", "c5", "c6"]
    with pytest.raises(ValueError, match="its clips hash to"):
        from_bytes(to_bytes(_changed(old, "end_frame", 1)), "s")


def test_a_header_is_read_without_the_clips(query: Any, tmp_path: Path) -> None:
    made = frozen(query)
    path = save(made, tmp_path)
    assert header_of(path) == made.header
    damaged = tmp_path / "damaged"
    damaged.write_bytes(path.read_bytes().replace(b"headroom snapshot", b"headroom Snapshot"))
    with pytest.raises(ValueError, match="can't be read|its header has sha256|format"):
        header_of(damaged)


def test_a_separator_inside_a_value_can_not_shift_values(query: Any) -> None:
    def of(licence: str, consent: str) -> str:
        tables = world()
        rights = [{"video_id": f"v{i}", "licence": licence, "consent": consent} for i in range(4)]
        told = in_process(connect({**tables, "rights": pa.Table.from_pylist(rights)}))
        sql = "SELECT clip_id FROM clips JOIN rights USING (video_id) WHERE licence <> '' AND consent <> ''"
        return frozen(told, sql).sha256

    assert of("a\x1f=b", "c") != of("a", "b\x1f=c")


def test_a_tier_with_undecided_clips_is_not_frozen(query: Any) -> None:
    with pytest.raises(ValueError, match=r"2 clips are not decided: missing or stale are speech_quality of 2; run"):
        frozen(query, undecided={"speech_quality": ["c7", "c3", "gone"], "lip_sync": ["c1"]})


def test_a_clip_ruled_out_by_what_is_known_is_decided(query: Any) -> None:
    assert frozen(query, undecided={"speech_quality": ["c0"]}).clip_ids == ["c2", "c3", "c5", "c6"]


def test_a_clause_over_other_clips_needs_all_of_them(query: Any) -> None:
    sql = (
        "SELECT clip_id FROM clips JOIN signals USING (clip_id) WHERE duration_s >= 3 AND "
        "speech_quality_ovrl >= (SELECT avg(speech_quality_ovrl) FROM signals)"
    )
    with pytest.raises(ValueError, match="1 clips are not decided"):
        frozen(query, sql, undecided={"speech_quality": ["c0"]})


def test_a_missing_fingerprint_is_named(query: Any) -> None:
    with pytest.raises(ValueError, match="no fingerprint given for speech_quality"):
        frozen(query, fingerprints={})


def test_doubled_clips_are_refused() -> None:
    tables = world()
    rights = pa.concat_tables([tables["rights"], tables["rights"]])
    with pytest.raises(ValueError, match="clips appear twice"):
        frozen(in_process(connect({**tables, "rights": rights})))


def test_a_moved_threshold_is_named_as_what_decided(query: Any) -> None:
    loose, strict = frozen(query), frozen(query, TIER.replace(">= 3 AND consent", ">= 3.1 AND consent"))
    found = diff(loose, strict)
    assert [(m.clip_id, m.clause.text if m.clause else None) for m in found.went] == [
        ("c2", "speech_quality_ovrl >= 3.1"),
        ("c3", "speech_quality_ovrl >= 3.1"),
    ]
    assert found.went[0].values == {"signals.speech_quality_ovrl": 3.0}
    assert found.went[0].because[:2] == ("speech_quality_ovrl >= 3.1", "speech_quality_ovrl = 3.0")
    assert (found.came, found.stayed, found.before, found.after) == ((), 2, loose.id, strict.id)
    back = diff(strict, loose)
    assert [(m.clip_id, m.reason) for m in back.came] == [
        (c, "this clause of the older snapshot kept it out") for c in ("c2", "c3")
    ]


def test_changed_values_are_told_from_the_present_tables(query: Any) -> None:
    before = frozen(query)
    tables = world()
    signals = [r for r in tables["signals"].to_pylist() if r["clip_id"] != "c5"]
    next(r for r in signals if r["clip_id"] == "c3")["speech_quality_ovrl"] = 2.5
    next(r for r in signals if r["clip_id"] == "c1")["speech_quality_ovrl"] = 3.5
    clips = tables["clips"].filter(pc.not_equal(tables["clips"]["clip_id"], "c5"))
    now = in_process(connect({**tables, "clips": clips, "signals": pa.Table.from_pylist(signals)}))
    after = frozen(now)
    moved = {m.clip_id: m for m in diff(before, after, now).went}
    assert set(moved) == {"c3", "c5"}
    assert moved["c3"].reason == "its values changed, and this clause keeps it out"
    assert moved["c3"].values == {"signals.speech_quality_ovrl": 2.5}
    assert moved["c5"].reason.startswith("no longer among the clips")
    assert diff(before, after).went[0].reason.startswith("its values changed: those it had pass")
    assert diff(before, after, query).went[0].reason.startswith("passes every clause by the present values")
    assert [(m.clip_id, m.clause) for m in diff(before, after, now).came] == [("c1", None)]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({}, ()),
        ({"sql": TIER.replace("duration_s >= 3", "duration_s >= 3.0")}, ("the tier's SQL",)),
        ({"fingerprints": {**FINGERPRINTS, "speech_quality": "fp-2"}}, ("how speech_quality is computed",)),
        (
            {"manifest": {"clips": 4, "signals": 7}},
            ("the tables' versions alone: those of the older snapshot are gone or hold other clips, too",),
        ),
    ],
)
def test_a_diff_without_moves_says_why_the_id_is_another(
    query: Any, other: dict[str, Any], told: tuple[str, ...]
) -> None:
    found = diff(frozen(query), frozen(query, **other))
    assert (found.came, found.went, found.stayed) == ((), (), 4)
    assert found.changed == told


def test_a_diff_counts_clips_that_stayed_with_other_values(query: Any) -> None:
    found = diff(frozen(query), _changed(frozen(query), "signals.speech_quality_ovrl", 3.01))
    assert found.changed == ("values or spans of clips that stayed: 1",)
