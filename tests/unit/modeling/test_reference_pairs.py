"""Reference pairs of a snapshot: only its own clips, and every group and person in turn, the same each time."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from modeling.reference_pairs import PairSampler, ReferencePair, read_pairs
from store.frozen import frozen
from store.record import Batch, table_of
from store.schema import PAIRS
from store.workspace import Workspace
from tasks import freeze


def pair(number: int, identity: str, group: str) -> ReferencePair:
    return ReferencePair(f"r{number}", f"t{number}", identity, group, 0.8, 0.3)


UNEVEN = [
    *(pair(n, "often", "720p/4-8s") for n in range(40)),
    *(pair(n, "seldom", "720p/4-8s") for n in range(40, 43)),
    *(pair(n, "other", "384p/2-4s") for n in range(43, 45)),
]


def test_groups_and_people_come_equally_often_whoever_has_more_footage() -> None:
    batches = list(islice(PairSampler(UNEVEN, batch_size=4, seed=1), 40))
    assert all(len({p.group for p in batch}) == 1 and len(batch) == 4 for batch in batches)
    groups = Counter(batch[0].group for batch in batches)
    assert groups == {"720p/4-8s": 20, "384p/2-4s": 20}
    people = Counter(p.identity for batch in batches for p in batch)
    assert people == {"often": 40, "seldom": 40, "other": 80}
    own = Counter(p.target for batch in batches for p in batch if p.identity == "often")
    assert set(own.values()) == {1}, "each of 40 pairs once before one comes again"
    assert {c for t, c in Counter(p.target for b in batches for p in b if p.identity == "seldom").items()} <= {13, 14}


def test_the_order_follows_from_the_seed_and_can_be_gone_on_with() -> None:
    whole = list(islice(PairSampler(UNEVEN, seed=3), 12))
    assert list(islice(PairSampler(UNEVEN[::-1], seed=3), 12)) == whole
    assert list(islice(PairSampler(UNEVEN, seed=3, first=7), 5)) == whole[7:]
    assert list(islice(PairSampler(UNEVEN, seed=4), 12)) != whole


def test_what_can_not_be_sampled() -> None:
    with pytest.raises(ValueError, match="0 pairs, batch_size 8"):
        PairSampler([])
    with pytest.raises(ValueError, match="batch_size 0"):
        PairSampler(UNEVEN, batch_size=0)


def test_a_snapshot_gives_the_pairs_of_its_own_clips(corpus: Workspace) -> None:
    with pytest.raises(ValueError, match="holds no two clips of one person in two places"):
        read_pairs(frozen(corpus, "all_of_it"))
    rows = [
        {"key": f"{a}:{b}", "clip_a": a, "clip_b": b, "identity": "me", "held": held, "face_similarity": 0.9, "background_similarity": 0.2}
        for a, b, held in (("a1", "b1", True), ("a1", "a1", True), ("a1", "a2", False))
    ]  # fmt: skip
    batch = Batch()
    batch.add("pairs", table_of(rows, PAIRS))
    corpus.commit(batch)
    folder = corpus.settings.workspace / "tiers"
    (folder / "with_pairs.sql").write_text("SELECT clip_id FROM clips WHERE duration_s >= 2.1")
    (folder / "half_of_it.sql").write_text("SELECT clip_id FROM clips WHERE duration_s >= 3")
    for name in ("with_pairs", "half_of_it"):
        freeze.build(corpus, name)
    found = read_pairs(frozen(corpus, "with_pairs"))
    assert [(p.reference, p.target, p.group) for p in found] == [
        ("a1", "b1", "1080p/2-4s"),
        ("b1", "a1", "1080p/2-4s"),
    ]
    with pytest.raises(ValueError, match="holds no two clips"):
        read_pairs(frozen(corpus, "half_of_it"))  # it has b1 alone of the two
