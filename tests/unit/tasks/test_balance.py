"""Shares are met where they can be, by the weights that change least; what can't be met is said."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headroom
from modeling.data import ClipDataset, ClipLoader, ClipRanges
from store.frozen import frozen
from store.snapshot import Snapshot, from_bytes, load, redact, to_bytes
from store.workspace import Workspace
from tasks import freeze
from tasks.balance import FORBIDDEN, OTHERS, Target, Targets, fit, read_targets, weigh
from tests.unit.modeling.conftest import fill


def shares_of(weights: np.ndarray, code: np.ndarray, num: int) -> np.ndarray:
    return np.bincount(code, weights, num) / weights.sum()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(2, 4))
def test_shares_that_some_weights_have_are_met(seed: int, num_margins: int, num_categories: int) -> None:
    draw = np.random.default_rng(seed)
    num = 40 + num_categories
    codes = [
        np.concatenate([np.arange(num_categories), draw.integers(0, num_categories, 40)]) for _ in range(num_margins)
    ]
    hidden = draw.uniform(0.4, 2.5, num)
    hidden /= hidden.mean()
    low, high = hidden.min() * 0.99, hidden.max() * 1.01
    shares = [shares_of(hidden, code, num_categories) for code in codes]
    weights = fit(codes, shares, min(low, 0.99), max(high, 1.01))
    assert weights.mean() == pytest.approx(1)
    assert weights.min() >= min(low, 0.99) - 1e-9
    assert weights.max() <= max(high, 1.01) + 1e-9
    for code, share in zip(codes, shares, strict=True):
        assert shares_of(weights, code, num_categories) == pytest.approx(share, abs=2e-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([np.inf, 1.6]))
def test_they_are_the_nearest_to_equal_weights(seed: int, high: float) -> None:
    """Two categories twice: given both shares, one number is free, and every value of it is tried."""
    draw = np.random.default_rng(seed)
    cells = np.repeat(np.arange(4), draw.integers(3, 12, 4))
    codes, num = [cells // 2, cells % 2], len(cells)
    hidden = draw.uniform(0.5, 1.5, num)
    hidden /= hidden.mean()
    shares = [shares_of(hidden, code, 2) for code in codes]
    found = fit(codes, shares, 0.0, high)
    counts = np.bincount(cells)
    (_, a), (_, b) = shares
    mass = np.linspace(0, 1, 20_001)[None] * num  # of the cell (1, 1)
    masses = np.concatenate([num * (1 - a - b) + mass, num * b - mass, num * a - mass, mass])
    each = masses / counts[:, None]
    possible = (each >= 0).all(axis=0) & (each <= high + 1e-12).all(axis=0)
    if not possible.any():
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        away = np.nan_to_num(each * np.log(each), nan=0.0)
    best = np.where(possible, (counts[:, None] * away).sum(axis=0), np.inf).argmin()
    assert found == pytest.approx(each[cells % 4, best], abs=2e-3)


def made(target: Target, values: list[str | None], **bounds: float) -> tuple[np.ndarray, list[dict[str, Any]]]:
    return weigh(pa.table({target.name: values}), Targets((target,), **bounds))


def test_a_category_without_clips_is_said_and_its_share_goes_to_the_others() -> None:
    target = Target("tongue", "x", {"en": 0.5, "de": 0.25, "fr": 0.25})
    weights, told = made(target, ["en"] * 6 + ["de"] * 2)
    assert {m["category"]: (m["got"], m["why"]) for m in told} == {
        "en": (pytest.approx(2 / 3, abs=1e-5), "takes what others lack"),
        "de": (pytest.approx(1 / 3, abs=1e-5), "takes what others lack"),
        "fr": (0, "no such clip"),
    }
    assert weights.mean() == pytest.approx(1, abs=1e-5)


def test_bounds_hold_and_what_they_forbid_is_said() -> None:
    target = Target("tongue", "x", {"en": 0.5, "de": 0.5})
    weights, told = made(target, ["en"] * 9 + ["de"], max_weight=2.0)
    assert weights[-1] == 2
    assert weights[:9] == pytest.approx(8 / 9, abs=1e-5)
    assert [m["why"] for m in told] == ["takes what others lack", FORBIDDEN]
    weights, told = made(target, ["en"] * 9 + ["de"], max_weight=5.0)
    assert [m["why"] for m in told] == ["", ""]
    assert weights[-1] == 5


def test_clips_of_other_categories_share_the_rest_or_are_not_drawn() -> None:
    values = ["en", "en", "de", None]
    weights, told = made(Target("tongue", "x", {"en": 0.4}), values)
    assert weights == pytest.approx([0.8, 0.8, 1.2, 1.2])
    assert told[-1] == {
        "target": "tongue", "category": OTHERS, "clips": 2, "before": 0.5, "asked": 0.6, "got": 0.6, "why": "",
    }  # fmt: skip
    weights, told = made(Target("tongue", "x", {"en": 0.5, "de": 0.5}), values)
    assert weights[3] == 0
    assert told[-1]["why"] == "has no share: never drawn"
    with pytest.raises(ValueError, match="no clip has a share in every target"):
        made(Target("tongue", "x", {"fr": 1.0}), values)


GOOD = "[target.length]\nby = \"CASE WHEN duration_s < 3 THEN 'short' ELSE 'long' END\"\nshares = { short = 0.5, long = 0.5 }\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "names no target; write"),
        ("max_weight = [", "can't be read as TOML"),
        ("colour = 1\n" + GOOD, "'colour' is none of target, max_weight, min_weight"),
        ("max_weight = 0.5\n" + GOOD, "max_weight 0.5; the mean is 1"),
        ("max_weight = true\n" + GOOD, "max_weight True; the mean is 1"),
        ('[target.a]\nby = "x"\n', "target a needs by"),
        ('[target.a]\nby = "x"\nshares = { b = 1.5 }\n', "share of 'b' is 1.5; it lies in"),
        ('[target.a]\nby = "x"\nshares = { b = 0.7, c = 0.7 }\n', "its shares sum to 1.4"),
    ],
)
def test_a_file_that_can_not_be_meant(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "targets.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=told):
        read_targets(file)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    from store.workspace import open_workspace

    workspace = open_workspace(tmp_path_factory.mktemp("balance") / "corpus")
    fill(workspace)
    return workspace


@pytest.fixture
def own_corpus(tmp_path: Path, either_ledger: str) -> Workspace:
    """The same, on each kind of ledger."""
    from store.workspace import open_workspace

    workspace = open_workspace(tmp_path / "corpus")
    fill(workspace)
    return workspace


def targets(tmp_path: Path, text: str = GOOD) -> Targets:
    (tmp_path / "targets.toml").write_text(text)
    return read_targets(tmp_path / "targets.toml")


@pytest.mark.usefixtures("quick_sql")
def test_a_balanced_snapshot_holds_its_weights_under_its_hash(own_corpus: Workspace, tmp_path: Path) -> None:
    corpus = own_corpus
    plain = freeze.build(corpus, "all_of_it")
    told = freeze.build(corpus, "all_of_it", targets(tmp_path))
    assert told["snapshot"] != plain["snapshot"]
    assert [(m["category"], m["clips"], m["got"]) for m in told["margins"]] == [("long", 2, 0.5), ("short", 1, 0.5)]
    held = load(corpus.objects.local(told["path"]))
    assert held.clips["weight"].to_pylist() == [1.5, 0.75, 0.75]
    forged = held.clips.set_column(held.clips.column_names.index("weight"), "weight", pa.array([1.0, 1.0, 1.0]))
    with pytest.raises(ValueError, match="changed; build the tier again"):
        from_bytes(to_bytes(Snapshot(held.header, forged, 0.0)), "s")
    assert redact(held, ["a1"]).clips["weight"].to_pylist() == [None, 0.75, 0.75]
    assert freeze.build(corpus, "all_of_it", targets(tmp_path)) == told, "the same once more"
    assert freeze.build(corpus, "all_of_it")["snapshot"] == plain["snapshot"], "without targets it is the plain one"
    other = freeze.build(corpus, "all_of_it", targets(tmp_path, GOOD.replace("long = 0.5", "long = 0.4")))
    assert other["snapshot"] != told["snapshot"]


@pytest.mark.usefixtures("quick_sql")
def test_expressions_are_guarded_as_tiers_are(corpus: Workspace, tmp_path: Path) -> None:
    def build(by: str) -> None:
        freeze.build(corpus, "all_of_it", targets(tmp_path, f'[target.a]\nby = "{by}"\nshares = {{ b = 1 }}\n'))

    with pytest.raises(ValueError, match="target a: .*random.* changes from run to run"):
        build("CASE WHEN random() < 0.5 THEN 'b' ELSE 'c' END")
    with pytest.raises(ValueError, match="table function"):
        build("(SELECT count(*) FROM read_csv('/etc/passwd'))")
    for escape in ("1) AS told FROM clips, (SELECT 1 AS b", "1) AS told, (2", "1 -- a comment", "count(*)"):
        with pytest.raises(ValueError, match="write one SELECT|neither grouped nor counted"):
            build(escape)
    with pytest.raises(ValueError, match="no clip has a share"):
        build("licence")


@pytest.mark.usefixtures("quick_sql")
def test_the_loader_draws_by_the_weights(corpus: Workspace, tmp_path: Path) -> None:
    told = freeze.build(corpus, "all_of_it", targets(tmp_path))
    data = ClipDataset(frozen(corpus, str(told["snapshot"])), ClipRanges(length_s=0.2, frames=False, audio=False))

    def epoch(**given: Any) -> list[str]:
        return [c for batch in ClipLoader(data, seed=5, **given) for c in batch["clip_id"]]

    drawn = epoch()
    counts = Counter(drawn)
    assert len(drawn) == len(data) == 12 + 19 + 20
    for clip, share in (("a1", 0.5), ("a2", 0.25), ("b1", 0.25)):
        assert abs(counts[clip] - len(drawn) * share) <= 1, "12 ranges of a1 come as often as the 39 of both others"
    assert epoch() == drawn, "by the seed"
    assert Counter(epoch(shuffle=False)) == {"a1": 12, "a2": 19, "b1": 20}
    unbalanced = freeze.build(corpus, "all_of_it")
    plain = ClipDataset(frozen(corpus, str(unbalanced["snapshot"])), ClipRanges(length_s=0.2))
    assert plain.draw_probability is None
    only = freeze.build(corpus, "all_of_it", targets(tmp_path, GOOD.replace("short = 0.5, long = 0.5", "short = 1")))
    short = frozen(corpus, str(only["snapshot"]))
    assert {c for b in ClipLoader(ClipDataset(short, data.ranges)) for c in b["clip_id"]} == {"a1"}
    with pytest.raises(ValueError, match="none of these ranges is of a clip that is drawn"):
        len(ClipLoader(ClipDataset(short, ClipRanges(length_s=3.0))))


@pytest.mark.usefixtures("quick_sql")
def test_shards_tell_the_weights(corpus: Workspace, tmp_path: Path) -> None:
    import json
    import tarfile

    from tasks.shard_erase import erase_from_shards
    from tests.unit.tasks.sharded import put_source
    from tests.unit.tasks.test_shard import shard, tables

    for video in ("va", "vb"):
        put_source(corpus, tmp_path / "footage", video)
    told = freeze.build(corpus, "all_of_it", targets(tmp_path))
    shard(corpus, tmp_path / "out", str(told["snapshot"]), timelines=())
    first = sorted((tmp_path / "out").rglob("*.tar"))[0]
    listed = json.loads(first.with_suffix(".json").read_text())
    assert dict(zip(listed["clips"], listed["weights"], strict=True)) == {"a1": 1.5, "a2": 0.75}
    rows = [row for rows in tables(tmp_path / "out").values() for row in rows]
    assert {r["clip_id"]: r["weight"] for r in rows} == {"a1": 1.5, "a2": 0.75, "b1": 0.75}
    with tarfile.open(first) as tar:
        clip = tar.extractfile("a1.json")
        assert clip is not None
        assert json.loads(clip.read())["weight"] == 1.5
    erase_from_shards(corpus, str(tmp_path / "out"), ["a1"])
    listed = json.loads(first.with_suffix(".json").read_text())
    assert (listed["clips"], listed["weights"]) == (["a2"], [0.75])


@pytest.mark.usefixtures("quick_sql")
def test_the_command_freezes_and_says_what_is_met(
    corpus: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "targets.toml").write_text(GOOD)
    asked = [
        "tier",
        "balance",
        "all_of_it",
        str(tmp_path / "targets.toml"),
        "--workspace",
        str(corpus.settings.workspace),
    ]
    with pytest.raises(SystemExit) as end:
        headroom.main([*asked, "--json"])
    assert end.value.code == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["snapshot"] == freeze.build(corpus, "all_of_it", targets(tmp_path))["snapshot"]
    assert {m["category"] for m in told["margins"]} >= {"short", "long"}
    with pytest.raises(SystemExit):
        headroom.main(asked)
    shown = " ".join(capsys.readouterr().out.split())
    assert "every share is met" in shown
    assert told["snapshot"][:8] in shown
    (tmp_path / "targets.toml").write_text("[target.a]\nby = 'licence'\nshares = { b = 2 }\n")
    with pytest.raises(SystemExit) as end:
        headroom.main(asked)
    assert end.value.code == 2
    assert "share of 'b' is 2; it lies in [0, 1]" in capsys.readouterr().err
