"""Smart clipping against an integer program, by hand, and at two hours."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.clip_timelines import Timelines, shot_numbers, unit_bounds
from tasks.clipping import ClipParams, Clipping, clip_id, compare, solve

OPEN = ClipParams(min_s=0.4, max_s=2.0, quality_mean_min=0, quality_min_min=0, motion_min=0, motion_max=1000,
                  camera_motion_max=1000, face_ratio_min=0, face_height_min_px=1)  # fmt: skip
"""Nothing but lengths of 10 to 50 frames."""


def timelines(num_frames: int, cuts: tuple[tuple[int, int], ...] = (), **values: object) -> Timelines:
    """Fine everywhere, except for what is given per unit."""
    bounds = unit_bounds(num_frames, cuts)
    n = len(bounds) - 1
    fine = {"quality": 4.0, "motion": 5.0, "camera_motion": 0.0, "face_height_px": 100.0, "speech": 1.0}
    filled = {name: np.broadcast_to(np.asarray(values.get(name, v), float), n) for name, v in fine.items()}
    return Timelines(num_frames, bounds, shot_numbers(bounds, cuts), **filled)


def meets(t: Timelines, params: ClipParams, first: int, last: int) -> bool:
    """The definition, unit by unit, frame by frame: no prefix sums, no vectors."""
    units = range(first, last)
    frames = [int(t.bounds[u + 1] - t.bounds[u]) for u in units]
    least, largest = params.length_frames
    if not least <= sum(frames) <= largest or len({int(t.shot[u]) for u in units}) > 1 or t.shot[first] < 0:
        return False

    def mean(values: np.ndarray) -> float:
        return sum(float(values[u]) * f for u, f in zip(units, frames, strict=True)) / sum(frames)

    faces = (t.face_height_px >= params.face_height_min_px).astype(float)
    return (
        min(float(t.quality[u]) for u in units) >= params.quality_min_min
        and mean(t.quality) >= params.quality_mean_min
        and params.motion_min <= mean(t.motion) <= params.motion_max
        and mean(t.camera_motion) <= params.camera_motion_max
        and mean(faces) >= params.face_ratio_min
        and mean(t.speech) >= params.speech_ratio_min
    )


def admissible(t: Timelines, params: ClipParams) -> list[tuple[int, int]]:
    n = len(t.bounds) - 1
    return [(a, b) for a in range(n) for b in range(a + 1, n + 1) if meets(t, params, a, b)]


def by_milp(t: Timelines, params: ClipParams) -> int:
    """Largest total duration in frames as an integer program: choose spans, no unit twice."""
    from scipy.optimize import LinearConstraint, milp

    spans = admissible(t, params)
    if not spans:
        return 0
    frames = np.array([t.bounds[b] - t.bounds[a] for a, b in spans], float)
    covers = np.array([[a <= u < b for a, b in spans] for u in range(len(t.bounds) - 1)], float)
    found = milp(-frames, constraints=LinearConstraint(covers, ub=1), integrality=np.ones(len(spans)), bounds=(0, 1))
    assert found.success
    return round(-found.fun)


def by_hand(t: Timelines, params: ClipParams) -> tuple[tuple[int, int], ...]:
    """The one best solution by enumeration of all: most frames, fewest clips, earliest, longest."""
    spans = admissible(t, params)

    def extend(chosen: tuple[tuple[int, int], ...]) -> list[tuple[tuple[int, int], ...]]:
        after = chosen[-1][1] if chosen else 0
        return [chosen] + [s for a, b in spans if a >= after for s in extend((*chosen, (a, b)))]

    def rank(chosen: tuple[tuple[int, int], ...]) -> tuple[object, ...]:
        frames = sum(int(t.bounds[b] - t.bounds[a]) for a, b in chosen)
        return (-frames, len(chosen), [(a, -b) for a, b in chosen])

    best = min(extend(()), key=rank)
    return tuple((int(t.bounds[a]), int(t.bounds[b])) for a, b in best)


@st.composite
def problems(draw: st.DrawFn, max_frames: int) -> tuple[Timelines, ClipParams]:
    """Values in quarters, exact in binary, so that bounds are often met with equality."""
    num_frames = draw(st.integers(1, max_frames))
    cuts, at = [], 0
    for _ in range(draw(st.integers(0, 2))):
        first = at + draw(st.integers(1, 30))
        at = first + draw(st.sampled_from([0, 0, 1, 8]))
        if at < num_frames:
            cuts.append((first, at))
    n = len(unit_bounds(num_frames, cuts)) - 1

    def values(low: int, high: int) -> np.ndarray:
        return np.array(draw(st.lists(st.integers(low, high), min_size=n, max_size=n))) / 4

    t = timelines(num_frames, tuple(cuts), quality=values(4, 20), motion=values(0, 8), camera_motion=values(0, 4),
                  face_height_px=values(0, 8), speech=(values(0, 4) >= 0.5))  # fmt: skip
    min_s = draw(st.sampled_from([0.2, 0.4, 0.6]))
    params = ClipParams(
        min_s=min_s,
        max_s=min_s + draw(st.sampled_from([0.0, 0.4, 1.0, 9.0])),
        quality_mean_min=draw(st.integers(0, 14)) / 4,
        quality_min_min=draw(st.integers(0, 8)) / 4,
        motion_min=draw(st.integers(0, 3)) / 4,
        motion_max=draw(st.integers(4, 8)) / 4,
        camera_motion_max=draw(st.integers(1, 4)) / 4,
        face_ratio_min=draw(st.sampled_from([0.0, 0.5, 0.75, 1.0])),
        face_height_min_px=0.5,
        speech_ratio_min=draw(st.sampled_from([0.0, 0.0, 0.5])),
    )
    return t, params


@settings(max_examples=250, deadline=None)
@given(problems(max_frames=90))
def test_it_is_as_good_as_an_integer_program(problem: tuple[Timelines, ClipParams]) -> None:
    t, params = problem
    chosen = solve(t, params)
    unit_of = {int(f): u for u, f in enumerate(t.bounds)}
    assert all(meets(t, params, unit_of[a], unit_of[b]) for a, b in chosen.spans)
    assert all(x[1] <= y[0] for x, y in zip(chosen.spans, chosen.spans[1:], strict=False))
    assert sum(b - a for a, b in chosen.spans) == by_milp(t, params)
    assert bool(chosen.spans) != bool(chosen.binding)
    assert bool(chosen.spans) != bool(chosen.reason)


@settings(max_examples=250, deadline=None)
@given(problems(max_frames=45))
def test_of_all_solutions_it_is_the_documented_one(problem: tuple[Timelines, ClipParams]) -> None:
    assert solve(*problem).spans == by_hand(*problem)


def test_clips_reach_the_first_and_last_frame_of_a_shot() -> None:
    assert solve(timelines(83, ((37, 37),)), OPEN).spans == ((0, 37), (37, 83))


def test_no_frame_of_a_gradual_cut_is_in_a_clip() -> None:
    assert solve(timelines(80, ((33, 42),)), OPEN).spans == ((0, 33), (42, 80))


def test_fewest_clips_then_earliest_then_longest() -> None:
    params = replace(OPEN, max_s=1.0)
    assert solve(timelines(25), params).spans == ((0, 25),)
    # 40 frames: 25 + 15 and 20 + 20 are equally long and many; the first clip is the longest it can be.
    assert solve(timelines(40), params).spans == ((0, 25), (25, 40))
    # 30 frames of which 5 can't be used: one clip of 25, at either end.
    assert solve(timelines(30, quality=[4, 4, 4, 4, 4, 4]), replace(params, min_s=1.0)).spans == ((0, 25),)


def test_a_unit_of_too_low_quality_is_a_wall() -> None:
    low = np.full(20, 4.0)
    low[9] = 1.0
    assert solve(timelines(100, quality=low), replace(OPEN, quality_min_min=1.5)).spans == ((0, 45), (50, 100))


def test_a_mean_met_exactly_is_met() -> None:
    t = timelines(50, face_height_px=[100] * 7 + [0] * 3)
    assert solve(t, replace(OPEN, min_s=2.0, face_ratio_min=0.7)).spans == ((0, 50),)
    assert solve(t, replace(OPEN, min_s=2.0, face_ratio_min=0.7001)).spans == ()
    tenths = timelines(50, motion=[0.1, 0.2] * 5)
    assert solve(tenths, replace(OPEN, min_s=2.0, motion_min=0.15, motion_max=0.15)).spans == ((0, 50),)


def test_lengths_count_frames() -> None:
    assert replace(OPEN, min_s=2.2, max_s=4.6).length_frames == (55, 115)
    assert solve(timelines(54), replace(OPEN, min_s=2.2, max_s=4.6)).binding == ("length",)
    assert solve(timelines(55), replace(OPEN, min_s=2.2, max_s=4.6)).spans == ((0, 55),)


def test_an_infeasible_video_names_the_constraint_and_the_best_value() -> None:
    t = timelines(100, face_height_px=[100, 0, 0, 0] * 5)
    chosen = solve(t, replace(OPEN, min_s=2.0, max_s=4.0, face_ratio_min=0.9))
    assert chosen == Clipping(
        (), "no span of 2 s that meets the rest has face_ratio >= 0.9: the best has 0.3077", ("face_ratio",)
    )


def test_an_upper_bound_is_told_as_one() -> None:
    chosen = solve(timelines(50, motion=80.0), replace(OPEN, motion_max=60))
    assert chosen.binding == ("motion_max",)
    assert chosen.reason == "no span of 0.4 s that meets the rest has motion_max <= 60: the best has 80"


def test_the_least_quality_is_told_with_the_best_least() -> None:
    t = timelines(50, quality=[1, 2, 2.5, 1, 3, 1, 1, 1, 1, 1])
    chosen = solve(t, replace(OPEN, quality_min_min=2.2))
    assert chosen.reason == "no span of 0.4 s that meets the rest has quality_min >= 2.2: the best has 2"


def test_two_hopeless_constraints_are_both_named() -> None:
    t = timelines(50, face_height_px=0.0, quality=1.5)
    chosen = solve(t, replace(OPEN, face_ratio_min=0.9, quality_mean_min=2.0))
    assert chosen.binding == ("quality_mean", "face_ratio")
    assert chosen.reason == (
        "no span of 0.4 s has quality_mean >= 2: the best has 1.5; and no span of 0.4 s has face_ratio >= 0.9: the best has 0"
    )


def test_either_of_two_that_exclude_each_other_would_free_a_clip() -> None:
    t = timelines(50, face_height_px=[100] * 5 + [0] * 5, motion=[0] * 5 + [9] * 5)
    chosen = solve(t, replace(OPEN, face_ratio_min=1, motion_min=8))
    assert chosen.binding == ("motion_min", "face_ratio")
    assert "motion_min >= 8: the best has 0; or " in str(chosen.reason)


def test_three_that_hold_in_pairs_are_named_together() -> None:
    # Each two of the four are met somewhere, no three; each alone is met, and dropping any one frees nothing.
    t = timelines(
        60,
        face_height_px=[9, 9, 0, 0, 9, 9, 0, 0, 9, 9, 0, 0],
        motion=[9, 9, 9, 9, 0, 0, 0, 0, 0, 0, 9, 9],
        speech=[0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0],
        camera_motion=[9, 9, 9, 9, 9, 9, 0, 0, 0, 0, 0, 0],
    )
    chosen = solve(t, replace(OPEN, face_ratio_min=1, motion_min=9, speech_ratio_min=1, camera_motion_max=0))
    assert len(chosen.binding) == 3
    assert str(chosen.reason).startswith("no span of 0.4 s meets ")
    assert str(chosen.reason).endswith(" together")


def test_shots_too_short_for_a_clip_say_so() -> None:
    chosen = solve(timelines(60, ((20, 20), (45, 45))), replace(OPEN, min_s=2.0))
    assert chosen.binding == ("length",)
    assert chosen.reason == "no span of 2 to 2 s lies between cuts: the longest shot is 1 s"


def test_two_hours_fit_in_bounded_memory() -> None:
    import tracemalloc

    n = 2 * 3600 * 5
    rng = np.random.default_rng(0)
    t = timelines(n * 5, motion=rng.uniform(0, 20, n), face_height_px=100 * (rng.uniform(size=n) < 0.97))
    tracemalloc.start()
    chosen = solve(t, ClipParams())
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(b - a for a, b in chosen.spans) > 0.9 * n * 5
    assert peak_bytes < 100 * 2**20


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"min_s": 3.0, "max_s": 2.0}, "0 < min_s <= max_s"),
        ({"face_ratio_min": 1.5}, "face_ratio_min is 1.5"),
        ({"motion_min": 9.0, "motion_max": 1.0}, "above motion_max"),
    ],
)
def test_impossible_parameters_are_refused(bad: dict[str, float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ClipParams(**bad)


def test_the_fingerprint_follows_the_parameters() -> None:
    assert ClipParams().fingerprint == ClipParams(min_s=2.0).fingerprint
    assert ClipParams().fingerprint != ClipParams(min_s=2.5).fingerprint
    assert len(ClipParams().fingerprint) == 16


def test_clip_id_is_a_hash_of_video_and_span() -> None:
    assert clip_id("v", 10, 60) == hashlib.sha256(b"v:10:60").hexdigest()[:16]
    assert clip_id("v", 10, 60) != clip_id("v", 10, 65)


def test_compare_tells_kept_moved_lost_and_added() -> None:
    old = [(0, 100), (100, 200), (300, 400), (500, 600)]
    new = [(0, 100), (105, 200), (250, 350), (530, 600), (700, 800)]
    told = compare(old, new)
    assert told.kept == ((0, 100),)
    assert told.moved == (((100, 200), (105, 200), 0.95), ((500, 600), (530, 600), 0.7))
    assert told.lost == ((300, 400),)
    assert told.added == ((250, 350), (700, 800))
    assert told.inherited == (((0, 100), (0, 100)), ((100, 200), (105, 200)))


def test_a_span_split_in_equal_halves_moves_to_one_of_them() -> None:
    told = compare([(0, 100)], [(0, 50), (50, 100)])
    assert told.moved == (((0, 100), (0, 50), 0.5),)
    assert told.added == ((50, 100),)
