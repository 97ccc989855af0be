from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from tasks.annotation import agreement, answers, truth

# Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011, section C: four observers, twelve units, gaps.
PUBLISHED = [
    [1, 1, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4],
    [4, 4, 4, 4], [1, 1, 2, 1], [2, 2, 2, 2], [5, 5, 5], [1, 1], [3],
]  # fmt: skip
BODY = answers.DEFAULTS


def test_alpha_is_the_published_one() -> None:
    assert agreement.alpha(PUBLISHED) == pytest.approx(0.743, abs=0.0006)
    assert agreement.alpha(PUBLISHED, ordinal=True) == pytest.approx(0.815, abs=0.0006)
    assert agreement.alpha(PUBLISHED, lambda a, b: (a - b) ** 2) == pytest.approx(0.849, abs=0.0006)


def test_alpha_without_any_variation_is_not_defined() -> None:
    assert math.isnan(agreement.alpha([[1, 1], [1, 1]]))


def test_alpha_fits_fleiss_kappa_of_statsmodels() -> None:
    inter_rater = pytest.importorskip("statsmodels.stats.inter_rater", reason="pip install -e '.[dev]'")
    given = np.random.default_rng(3).integers(0, 3, (40, 4))
    given[:, 1:3] = given[:, :1]
    counts, _ = inter_rater.aggregate_raters(given)
    kappa = inter_rater.fleiss_kappa(counts)
    # With as many raters on every item the two differ by the small-sample factor alone.
    assert agreement.alpha(given.tolist()) == pytest.approx(1 - (1 - kappa) * (given.size - 1) / given.size)


@pytest.mark.parametrize(("successes", "num"), [(0, 1), (3, 7), (60, 60), (51, 60)])
def test_wilson_is_that_of_statsmodels(successes: int, num: int) -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion", reason="pip install -e '.[dev]'")
    theirs = proportion.proportion_confint(successes, num, 0.05, "wilson")
    assert agreement.wilson(successes, num) == pytest.approx(theirs, abs=1e-4)
    assert agreement.wilson(0, 0) == (0.0, 1.0)


def test_likert_agreement_loses_half_a_point_per_step() -> None:
    one, other = {"a": 1, "b": 3}, {"a": 2, "b": 5}
    body = {"points": 5, "dimensions": [{"name": "a"}, {"name": "b"}]}
    assert answers.alike("likert", body, one, other) == {"a": 0.5, "b": 0.0}
    assert answers.alike("likert", body, {"a": 1, "b": 1}, {"a": 5, "b": 1}) == {"a": 0.0, "b": 1.0}


def test_green_needs_more_than_what_chance_gives() -> None:
    """Raters who always say 3 agree fully and tell nothing."""
    body = {"points": 5, "dimensions": [{"name": "a", "label": "A"}]}
    lazy = [[{"a": 3}, {"a": 3}] for _ in range(40)] + [[{"a": 3}, {"a": 4}]]
    (question,) = agreement.by_question("likert", body, lazy)
    assert question.agreement.value > 0.98
    assert question.alpha.value < 0.1
    assert not question.green
    (better,) = agreement.by_question("likert", body, [[{"a": i % 5 + 1}] * 2 for i in range(40)])
    assert better.green
    assert better.alpha.low == pytest.approx(1.0)


def test_intervals_hold_the_value_and_shrink_with_items() -> None:
    rng = np.random.default_rng(0)
    body = {"dimensions": [{"name": "a", "label": "A"}]}

    def width(num: int) -> float:
        sides = rng.choice(["left", "right"], num)
        given = [[{"a": s}, {"a": s if rng.random() < 0.8 else "tie"}] for s in sides]
        (q,) = agreement.by_question("pairwise", body, given)
        assert q.agreement.low <= q.agreement.value <= q.agreement.high
        return q.agreement.high - q.agreement.low

    assert width(400) < width(40) / 2


def test_flags_count_only_what_somebody_raised() -> None:
    teeth = {"flags": [{"kind": "teeth", "start_s": 0, "end_s": 1, "box": None}]}
    clean: dict[str, list] = {"flags": []}
    given = [[teeth, teeth], [teeth, clean], *[[clean, clean]] * 20]
    found = {q.name: q for q in agreement.by_question("flags", BODY["flags"], given)}
    assert found["teeth"].agreement.value == pytest.approx(2 / 3)  # 2a / (2a + b + c), and not the 21 of 22 items
    assert math.isnan(found["identity_drift"].agreement.value)


def test_spans_match_at_half_their_union() -> None:
    nod = {"label": "nod", "start_s": 0.0, "end_s": 2.0}
    assert answers.span_f1([nod], [{**nod, "start_s": 1.0}]) == 1.0
    assert answers.span_f1([nod], [{**nod, "start_s": 1.1}]) == 0.0
    assert answers.span_f1([nod], [{**nod, "label": "hands"}]) == 0.0
    assert answers.span_f1([nod, {**nod, "start_s": 3.0, "end_s": 4.0}], [nod]) == pytest.approx(2 / 3)
    assert answers.span_f1([], []) == 1.0


def test_sets_agree_by_jaccard() -> None:
    question = {"name": "style", "how": "many", "choices": ["a", "b", "c"]}
    assert answers.part_alike("attributes", question, ["a", "b"], ["b", "c"]) == pytest.approx(1 / 3)


def test_left_share_tells_who_always_takes_the_left() -> None:
    found = agreement.left_share(["left"] * 40 + ["tie"] * 10)
    assert (found.value, found.low > 0.9) == (1.0, True)


def test_dawid_skene_finds_the_truth_and_who_is_to_be_trusted() -> None:
    rng = np.random.default_rng(1)
    right = rng.integers(0, 3, 200)
    accuracy = [0.95, 0.9, 0.4, 0.35, 0.35]
    ratings = [
        (i, r, int(t if rng.random() < p else rng.choice([c for c in range(3) if c != t])))
        for i, t in enumerate(right) for r, p in enumerate(accuracy)
    ]  # fmt: skip
    found = truth.dawid_skene(ratings, 200, 5, 3)
    assert np.abs(found.accuracy - accuracy).max() < 0.1
    votes = np.zeros((200, 3))
    np.add.at(votes, tuple(np.array([(i, c) for i, _, c in ratings]).T), 1)
    assert (found.posterior.argmax(1) == right).mean() > (votes.argmax(1) == right).mean() + 0.1
    assert np.allclose(found.posterior.sum(1), 1)


@pytest.mark.filterwarnings("ignore:The (inplace|copy) keyword")  # in crowd-kit, of pandas
def test_dawid_skene_is_that_of_crowd_kit() -> None:
    """Both start at majorities and climb to the same maximum: posteriors, prior and confusion matrices. crowd-kit (Apache-2.0)
    smooths nothing; with our usual smoothing every item keeps the class that crowd-kit gives it."""
    from crowdkit.aggregation import DawidSkene

    rng, num_items, num_raters, classes = np.random.default_rng(0), 200, 8, [0, 1, 2]
    right = rng.choice(3, num_items, p=[0.5, 0.3, 0.2])
    accuracy = rng.uniform(0.6, 0.95, num_raters)
    ratings = [
        (i, int(r), int(t if rng.random() < accuracy[r] else rng.choice([c for c in classes if c != t])))
        for i, t in enumerate(right) for r in rng.choice(num_raters, 6, replace=False)
    ]  # fmt: skip
    theirs = DawidSkene(n_iter=2000, tol=1e-13).fit(pd.DataFrame(ratings, columns=["task", "worker", "label"]))
    posterior = theirs.probas_.sort_index()[classes].to_numpy()
    ours = truth.dawid_skene(ratings, num_items, num_raters, 3, num_steps=2000, smoothing=1e-9)
    assert ours.posterior == pytest.approx(posterior, abs=1e-4)
    assert ours.prior == pytest.approx(theirs.priors_[classes].to_numpy(), abs=1e-4)
    confusion = [[[theirs.errors_.loc[(r, c), t] for c in classes] for t in classes] for r in range(num_raters)]
    assert ours.confusion == pytest.approx(np.array(confusion), abs=1e-4)
    usual = truth.dawid_skene(ratings, num_items, num_raters, 3)
    assert (usual.posterior.argmax(1) == posterior.argmax(1)).all()


def test_consensus_takes_medians_majorities_and_spans_that_most_marked() -> None:
    rated = [{d["name"]: p for d in BODY["likert"]["dimensions"]} for p in (2, 5, 4)]
    assert truth.consensus("likert", BODY["likert"], rated)["lip_sync"] == 4
    assert truth.consensus("likert", BODY["likert"], rated[1:])["lip_sync"] == 4.5

    def flag(start: float, *box: float) -> dict[str, list]:
        return {"flags": [{"kind": "teeth", "start_s": start, "end_s": 3.0, "box": list(box) or None}]}

    found = truth.consensus("flags", BODY["flags"], [flag(1.0, 0, 0, 0.5, 0.5), flag(2.0), {"flags": []}])
    assert found == {"flags": [{"kind": "teeth", "start_s": 1.5, "end_s": 3.0, "box": [0, 0, 0.5, 0.5]}]}
    assert truth.consensus("flags", BODY["flags"], [flag(1.0), {"flags": []}]) == {"flags": []}


@pytest.mark.parametrize(
    ("ratings", "enough"),
    [
        (((4, 3, 3, 3), (3, 3, 3, 3)), True),
        (((1, 3, 3, 3), (5, 3, 3, 3)), False),
        (((3, 3, 3, 3), (5, 3, 3, 3)), False),
        (((1, 3, 3, 3), (5, 3, 3, 3), (5, 3, 3, 3)), True),
        (((1, 3, 3, 3), (3, 3, 3, 3), (5, 3, 3, 3)), False),
        (((4, 3, 4, 3), (3, 4, 3, 4)), False),
    ],
)
def test_raters_who_contradict_each_other_on_one_question_do_not_agree(
    ratings: tuple[tuple[int, ...], ...], enough: bool
) -> None:
    names = [q["name"] for q in answers.questions("likert", BODY["likert"])]
    given = [dict(zip(names, rated, strict=True)) for rated in ratings]
    assert truth.agreed("likert", BODY["likert"], given) is enough
