"""What a checkpoint must show before anybody sees it, and on live probes before everybody does. Plain comparisons.

A gate compares one figure with a limit, which comes from the checkpoint that serves, from a baseline, or from what viewers
put up with. All gates are judged, not only the first that fails, so that a person reads the whole of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WORSE_RATIO = 0.05
"""A measure may be worse than that of the checkpoint that serves by so much, or by its interval, whichever is wider: with
few people held out an interval has no width to speak of."""
MEASURES = (("lip_distance", False), ("lip_velocity_distance", False), ("correlation", True))
"""Of motion, and whether more is better."""
QUIET_OPEN, QUIET_QUIVER = 0.5, 1.0
"""Without a voice: how far open a mouth may stand (standard deviations) and how fast it may move (those a second). A trained
network has 0.03 and 0.02 (modeling/LOG.md)."""

LEAST_FPS = 27.5
"""25 frames a second with a tenth to spare: less falls behind sooner or later."""
FPS_RATIO = 0.6
LEAST_FIRST_S, FIRST_RATIO = 0.5, 2.0
"""A first fragment may take so long, or so much longer than with the checkpoint that serves."""
UNDERRUN_MORE = 0.05
MOST_SKEW_MS = 40.0
LEAST_RANGE, RANGE_RATIO = 0.1, 0.4
"""Of the mouth's opening in speech, in standard deviations of a person: below it the mouth is as good as frozen."""
LEAST_LOUDNESS, LOUDNESS_LESS = 0.1, 0.25
LEAST_SHOWN, SHOWN_RATIO = 0.05, 0.3
"""Gray levels by which the mouth's pixels follow its opening: on a portrait and 6 s of speech a renderer that paints one mouth for
all has 0.00 to 0.02, the warp 0.57 to 0.69, and both the same `frame_change`, since the head sways."""
MOST_LAG_MS, LAG_APART_MS = 160.0, 80.0
"""Four frames between a mouth and its sound, either way; two where the checkpoint that serves is more than two away: mouths that
open ahead of a loud syllable, as people's may, are told from mouths that are late by what served before."""
SURELY = 1.5
"""Of a lag's clearness: what moves so clearly with the sound must not be followed by what can't be told."""
LEAST_CHANGE, CHANGE_RATIO = 0.05, 0.3
"""Gray levels by which the mouth's pixels change from frame to frame; a picture that is coded anew and stands still has 0."""


@dataclass(frozen=True)
class Gate:
    """`limit` is the least or the most that `value` may be; None of a value: it was not measured, which fails."""

    name: str
    value: float | None
    limit: float
    least: bool
    why: str
    """Where the limit comes from."""
    timing: bool = False
    """It measures the machine as well, which may have been busy: worth another look."""

    @property
    def passed(self) -> bool:
        if self.value is None:
            return False
        return self.value >= self.limit if self.least else self.value <= self.limit

    def told(self) -> str:
        value = "not measured" if self.value is None else f"{self.value:.3g}"
        return f"{self.name} is {value}, must be at {'least' if self.least else 'most'} {self.limit:.3g} ({self.why})"

    def to_dict(self) -> dict[str, Any]:
        return {"gate": self.name, "value": self.value, "limit": self.limit, "least": self.least, "why": self.why,
                "passed": self.passed}  # fmt: skip


def failures(gates: Sequence[Gate]) -> str:
    """Why it does not pass, in words; "" when it does."""
    return "; ".join(gate.told() for gate in gates if not gate.passed)


def part_of(metrics: Mapping[str, Any]) -> str:
    """What its evaluation rests on: people it never saw, or ends of the clips it learnt from where nobody was held out.

    Raises ValueError for metrics that lack it.
    """
    part = "held_time" if metrics.get("held_out") == "time" else "held_people"
    if part not in metrics:
        raise ValueError(f"its evaluation has no {part}; headroom evaluate judges it anew")
    return part


def compared_on(metrics: Mapping[str, Any]) -> str:
    """In words, what the gates compare. Raises ValueError as `part_of`."""
    part = part_of(metrics)
    if part == "held_people":
        return f"{metrics[part]['num_people']} people it never saw, {metrics[part]['seconds']:g} s"
    people = "a person" if metrics[part]["num_people"] == 1 else f"{metrics[part]['num_people']} people"
    return f"held-out time, {metrics[part]['seconds']:g} s of {people} it learnt from, and on nobody it never saw"


def alike(metrics: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two evaluations on one snapshot judge the same: people, or the same ends of clips."""
    part = part_of(metrics)
    if part not in other or metrics.get("held_out") != other.get("held_out"):
        return False
    return part == "held_people" or all(metrics[part][k] == other[part][k] for k in ("num_clips", "seconds"))


def evaluation_gates(metrics: Mapping[str, Any], serving: Mapping[str, Any] | None) -> list[Gate]:
    """On what was held out. `serving` is the evaluation on the same snapshot of the checkpoint that serves; None when there
    is nothing to compare with. Raises ValueError as `part_of`."""
    part = part_of(metrics)
    ours, ahead = metrics[part]["measures"]["ours"], metrics[part]["ahead"]
    there = serving[part] if serving is not None and alike(metrics, serving) else {}
    theirs = there["measures"]["ours"] if there else {}
    gates = [
        Gate(f"{measure} ahead of {name}, upper end", float(of[measure]["high"]), 0.0, True,
             "the whole interval below 0 is clearly worse than that baseline")
        for name, of in ahead.items() for measure, _ in MEASURES
    ]  # fmt: skip
    for measure, least in MEASURES:
        if measure in theirs:
            beside = theirs[measure]
            slack = WORSE_RATIO * abs(beside["value"])
            limit = (
                min(beside["low"], beside["value"] - slack) if least else max(beside["high"], beside["value"] + slack)
            )
            why = f"the checkpoint that serves has {beside['value']:.3g}"
            gates.append(Gate(measure, float(ours[measure]["value"]), float(limit), least, why))
    quiet = metrics[part]["silence"]
    still = there["silence"] if there else {}
    for name, floor in (("open", QUIET_OPEN), ("quiver", QUIET_QUIVER)):
        for where in ("after_voice", "nothing_room"):
            key = f"{where}_{name}"
            if key in quiet:
                limit = max(floor, (1 + WORSE_RATIO) * _value(still[key])) if key in still else floor
                gates.append(Gate(key, _value(quiet[key]), limit, False, "a mouth must rest when nobody speaks"))
    return gates


def live_gates(canary: Mapping[str, Any], serving: Mapping[str, Any] | None) -> list[Gate]:
    """On probes with the same speech through the same server; figures of flows/deploy_probe.py."""
    told = serving or {}

    def least(name: str, floor: float, beside: float | None, timing: bool = False) -> Gate:
        limit = floor if beside is None else max(floor, beside)
        return Gate(name, canary.get(name), limit, True, _source(told.get(name)), timing)

    def most(name: str, limit: float, timing: bool = False) -> Gate:
        return Gate(name, canary.get(name), limit, False, _source(told.get(name)), timing)

    first, late = told.get("first_fragment_s"), told.get("underrun_ratio")
    return [
        *_lag_gates(canary, told),
        most("lost_frames", 0.0),
        least("fps", LEAST_FPS, _times(told.get("fps"), FPS_RATIO), timing=True),
        most("first_fragment_s", max(LEAST_FIRST_S, FIRST_RATIO * (first or 0.0)), timing=True),
        most("underrun_ratio", UNDERRUN_MORE + (late or 0.0), timing=True),
        most("skew_ms", MOST_SKEW_MS),
        least("frame_change", LEAST_CHANGE, _times(told.get("frame_change"), CHANGE_RATIO)),
        least("mouth_range", LEAST_RANGE, _times(told.get("mouth_range"), RANGE_RATIO)),
        least("mouth_loudness", LEAST_LOUDNESS, _less(told.get("mouth_loudness"), LOUDNESS_LESS)),
        least("mouth_shown", LEAST_SHOWN, _times(told.get("mouth_shown"), SHOWN_RATIO)),
    ]


def _lag_gates(canary: Mapping[str, Any], told: Mapping[str, Any]) -> list[Gate]:
    """None where neither's mouth moves clearly enough with the sound to tell when it does."""
    lag, beside = canary.get("mouth_lag_ms"), told.get("mouth_lag_ms")
    if lag is None and (beside is None or told["mouth_lag_clearness"] < SURELY):
        return []
    apart = lag is not None and beside is not None and abs(lag - beside) > LAG_APART_MS
    value = None if lag is None else abs(lag)
    return [Gate("mouth_lag_ms", value, LAG_APART_MS if apart else MOST_LAG_MS, False, _source(beside))]


def table(gates: Sequence[Gate]) -> str:
    """For an artifact."""
    lines = ["| gate | value | limit | | |", "|---|---|---|---|---|"]
    for gate in gates:
        value = "not measured" if gate.value is None else f"{gate.value:.3g}"
        sign = "at least" if gate.least else "at most"
        lines.append(
            f"| {gate.name} | {value} | {sign} {gate.limit:.3g} | {'passed' if gate.passed else '**failed**'} | {gate.why} |"
        )
    return "\n".join(lines)


def _source(beside: float | None) -> str:
    return "nothing serves yet" if beside is None else f"the checkpoint that serves has {beside:.3g}"


def _times(value: float | None, ratio: float) -> float | None:
    return None if value is None else ratio * value


def _less(value: float | None, by: float) -> float | None:
    return None if value is None else value - by


def _value(told: Any) -> float:
    return float(told["value"] if isinstance(told, Mapping) else told)
