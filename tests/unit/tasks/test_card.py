"""A snapshot's card: what is in it, whose it is, what it lacks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from store.record import Batch, table_of
from store.schema import IDENTITIES, RIGHTS
from store.snapshot import load
from store.workspace import Workspace, open_workspace
from tasks import freeze
from tasks.balance import Target, Targets
from tasks.card import card, gaps, markdown
from tests.unit.dashboards.conftest import signal_rows
from tests.unit.modeling.conftest import fill
from tests.unit.tasks.sharded import put_source
from tests.unit.tasks.test_shard import shard

pytestmark = pytest.mark.usefixtures("quick_sql")
SQL = """SELECT clip_id FROM clips
WHERE clips.duration_s >= 2 -- source: chosen
AND source_fps < 30"""


@pytest.fixture
def corpus(tmp_path: Path) -> Workspace:
    workspace = open_workspace(tmp_path / "corpus")
    fill(workspace)
    batch = Batch()
    rows = [{"clip_id": c, "video_id": v, "identity": "me"} for c, v in (("a1", "va"), ("b1", "vb"))]
    batch.add("identities", table_of(rows, IDENTITIES))
    batch.add("rights", table_of([{"video_id": "vb", "licence": "a|b <c>", "consent": None}], RIGHTS))
    videos = {"a1": "va", "a2": "va", "b1": "vb"}
    views = {"a1": "frontal", "a2": "frontal", "b1": "profile"}
    batch.add("signals", signal_rows("categories", {c: {"view": v} for c, v in views.items()}, videos))
    workspace.commit(batch)
    (workspace.settings.workspace / "tiers" / "mine.sql").write_text(SQL)
    return workspace


def test_a_card_lies_beside_the_snapshot_and_in_its_shards(corpus: Workspace, tmp_path: Path) -> None:
    built = freeze.build(corpus, "mine")
    folder = Path(str(built["path"])).parent
    told = json.loads((folder / f"{built['snapshot']}.card.json").read_text())
    assert (told["clips"], told["videos"], told["people"], told["clips_of_nobody_known"]) == (3, 2, 1, 1)
    assert told["hours"] == pytest.approx((60 + 95 + 100) / 25 / 3600, abs=1e-6)
    assert [(r["licence"], r["consent"], r["clips"]) for r in told["rights"]] == [
        ("CC-BY-4.0", "yes", 2),
        ("a|b <c>", "unknown", 1),
    ]
    assert told["distributions"]["categories_view"] == {"frontal": 2, "profile": 1}
    assert told["distributions"]["group of shards"] == {"unknown/1080p/16x9/2-4s": 2, "unknown/1080p/16x9/4-8s": 1}
    assert told["values"]["clips.source_fps"] == {"least": 25, "median": 25, "greatest": 25}
    assert told["clauses"][0] == {"clause": "clips.duration_s >= 2", "tier": "mine", "source": "chosen"}
    for gap in (
        "1 of 3 clips are of unknown consent",
        "1 of 3 clips show no face that could be told",
        "one person makes up 63% of the hours",
        "nobody is seen in two places",
        "nobody says where this threshold comes from: source_fps < 30",
    ):
        assert gap in told["known_gaps"]
    put_source(corpus, tmp_path, "va")
    shard(corpus, tmp_path / "out", "mine", timelines=(), formats=("webdataset",))
    of_shards = json.loads((tmp_path / "out" / "card.json").read_text())
    assert of_shards.pop("shards")["num_left_out"] == 1
    assert of_shards == told
    assert "1 clips of the snapshot are not in them" in (tmp_path / "out" / "card.md").read_text()
    page = (tmp_path / "out" / "card.md").read_text()
    assert "| a\\|b &lt;c> | unknown | 1 |" in page
    for name in ("a1", "va.mp4", "/footage"):
        assert not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", page), "hashes may hold the letters, not the word"


def test_a_balanced_snapshot_tells_what_it_could_not_meet(corpus: Workspace) -> None:
    targets = Targets((Target("length", "clips.duration_s > 3", {"true": 0.5, "maybe": 0.5}),))
    held = load(corpus.objects.local(str(freeze.build(corpus, "all_of_it", targets)["path"])))
    with pytest.raises(ValueError, match="categories, which a target reads, is missing or stale for 1 of its clips"):
        freeze._refuse_unweighable(held, {"categories": {"a1", "of another tier"}})
    told = card(corpus, held)
    assert "target length: maybe has 0.0% and not 50.0%" in told["known_gaps"]
    assert "## Balance" in markdown(told)


def test_an_empty_one_says_so(corpus: Workspace) -> None:
    (corpus.settings.workspace / "tiers" / "none.sql").write_text("SELECT clip_id FROM clips WHERE duration_s > 99")
    told = card(corpus, load(corpus.objects.local(str(freeze.build(corpus, "none")["path"]))))
    assert told["known_gaps"] == gaps(told) == ["it holds no clip"]
    assert "0 clips, 0 hours" in markdown(told)
