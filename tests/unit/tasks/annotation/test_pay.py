from __future__ import annotations

import pytest

from tasks.annotation import answers, calibration, pay


def paid(lower: float | None, num_accepted: int = 100, active_s: float = 0.0) -> pay.Statement:
    return pay.statement([pay.Work("b", num_accepted, 6500)], active_s, 1300, "EUR", lower, 50)


def test_base_is_accepted_answers_times_price() -> None:
    (base, bonus) = paid(None).lines
    assert (base.amount_minor, base.why) == (650, "100 accepted in b x 0.065 EUR")
    assert (bonus.amount_minor, bonus.why) == (0, "50 audited answers; the bonus begins with 40")
    for num, told in ((0, "0 audited answers;"), (1, "1 audited answer;"), (2, "2 audited answers;")):
        assert pay.statement([], 0.0, 0, "EUR", None, num).lines[-1].why.startswith(told)


def test_no_hour_is_paid_under_the_floor() -> None:
    told = paid(None, active_s=3600)
    assert told.total_minor == 1300
    floor = next(line for line in told.lines if line.kind == "floor")
    assert floor.amount_minor == 650
    assert "1.00 active hours x 13.00 EUR = 13.00, less the base of 6.50" in floor.why
    assert paid(None, active_s=1800).total_minor == 650


@pytest.mark.parametrize(("lower", "share"), [(0.85, 0.0), (0.84, 0.0), (0.90, 0.15), (0.95, 0.30), (0.99, 0.30)])
def test_the_bonus_grows_with_the_lower_bound(lower: float, share: float) -> None:
    assert pay.bonus_rate(lower) == pytest.approx(share)
    assert paid(lower, 1000).total_minor == round(6500 * (1 + share))


def test_the_bonus_is_on_the_base_and_not_on_the_floor() -> None:
    told = {line.kind: line.amount_minor for line in paid(0.95, active_s=3600).lines}
    assert told == {"base": 650, "floor": 650, "bonus": 195}


def test_quality_is_told_from_forty_audits_on() -> None:
    assert pay.quality([1.0] * 39) is None
    assert pay.quality([1.0] * 40) == pytest.approx(0.912, abs=0.001)


def test_the_exam_asks_for_the_mean_and_for_every_question() -> None:
    assert calibration.examined([{"a": 0.9, "b": 0.8}]).passed
    low = calibration.examined([{"a": 1.0, "b": 0.74}])
    assert (low.passed, low.why) == (False, "under 0.75 on b 0.74")
    assert calibration.examined([{"a": 0.8, "b": 0.8}]).why == "mean 0.80 is under 0.85"


def checks(num: int, *scores: float) -> list[dict[str, float]]:
    return [{str(i): score for i, score in enumerate(scores)}] * num


def test_few_checks_pause_nobody_and_surely_low_ones_do() -> None:
    assert not calibration.must_pause([])
    assert not calibration.must_pause(checks(4, 0.0))
    assert calibration.must_pause(checks(5, 0.0))
    assert not calibration.must_pause(checks(60, 0.8))
    assert calibration.must_pause(checks(60, 0.7))
    assert not calibration.must_pause(checks(100, 0.0) + checks(60, 1.0))  # only the last sixty count


def test_every_question_of_a_check_is_a_trial() -> None:
    assert not calibration.must_pause(checks(15, 0.7)), "one question each: too few to tell"
    assert calibration.must_pause(checks(15, 1.0, 0.5, 0.8, 0.5)), "the same mean, of four questions each"
    assert not calibration.must_pause(checks(60, 1.0, 0.5, 1.0, 1.0))


def test_the_third_failure_is_the_last() -> None:
    assert [calibration.after_failure(n) for n in (1, 2, 3)] == ["training", "training", "banned"]


def test_flags_weigh_by_how_many_were_raised() -> None:
    """Three flags found and one too many on a clean clip: 6 of 7 raised ones are confirmed, not half."""
    teeth, blink, drift = ({"kind": k} for k in ("teeth", "asymmetric_blink", "identity_drift"))
    three, one, none = {"flags": [teeth, blink, drift]}, {"flags": [teeth]}, {"flags": []}
    pairs = [(three, three), (one, none)]
    scores = [answers.alike("flags", answers.DEFAULTS["flags"], a, b) for a, b in pairs]
    weights = [answers.weight("flags", a, b) for a, b in pairs]
    assert weights == [3.0, 0.5]
    verdict = calibration.examined(scores, weights)
    assert (verdict.passed, verdict.mean) == (True, pytest.approx(6 / 7))
    assert not calibration.examined(scores).passed
    assert answers.weight("likert", {"a": 1}, {"a": 5}) == 1.0
    many = [{"flags": 0.0}] * 5
    assert calibration.must_pause(many, [1.0] * 5)
    assert not calibration.must_pause([*many, {"flags": 1.0}], [0.1] * 5 + [9.0])
