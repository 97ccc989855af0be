"""Pay of one person for one period: base, floor and bonus, in whole minor units of the region's currency, explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from tasks.annotation import money
from tasks.annotation.agreement import wilson

BONUS_SHARE = 0.30
BONUS_FROM, BONUS_SPAN = 0.85, 0.10
MIN_AUDITED = 40
CORRECTION = "correction"
"""Kind of a line that corrects a week that was closed before."""


@dataclass(frozen=True)
class Work:
    """What one batch contributes: answers that were accepted, at a price each in thousandths of a minor unit."""

    batch: str
    num_accepted: int
    price_milli: int


@dataclass(frozen=True)
class Line:
    kind: str
    amount_minor: int
    why: str


@dataclass(frozen=True)
class Statement:
    currency: str
    lines: list[Line]

    @property
    def total_minor(self) -> int:
        return sum(line.amount_minor for line in self.lines)


def quality(audit_scores: Sequence[float]) -> float | None:
    """L: the Wilson lower bound of agreement with audits; None under 40 audited answers."""
    if len(audit_scores) < MIN_AUDITED:
        return None
    return wilson(sum(audit_scores), len(audit_scores))[0]


def bonus_rate(lower: float | None) -> float:
    """0.30 x clamp((L - 0.85) / 0.10, 0, 1)."""
    return 0.0 if lower is None else BONUS_SHARE * min(1.0, max(0.0, (lower - BONUS_FROM) / BONUS_SPAN))


def base_minor(work: Work) -> int:
    return money.whole(Decimal(work.num_accepted) * work.price_milli / 1000)


def floor_minor(active_s: float, hourly_floor_minor: int) -> int:
    return money.whole(_hours(active_s) * hourly_floor_minor)


def _hours(active_s: float) -> Decimal:
    return Decimal(str(round(active_s, 3))) / 3600


def statement(
    work: Sequence[Work],
    active_s: float,
    hourly_floor_minor: int,
    currency: str,
    lower: float | None,
    num_audited: int,
    corrections: Sequence[Line] = (),
) -> Statement:
    """Base for accepted answers and corrections of earlier weeks, topped up to the floor for the active time, and the bonus on
    the base. So a correction never takes a week under its floor: what the floor does not leave room for is let go."""
    lines = [
        Line("base", base_minor(w), f"{w.num_accepted} accepted in {w.batch} x {money.price(w.price_milli, currency)} {currency}")
        for w in work if w.num_accepted
    ]  # fmt: skip
    base = sum(line.amount_minor for line in lines)
    lines += corrections
    earned, floor = base + sum(line.amount_minor for line in corrections), floor_minor(active_s, hourly_floor_minor)
    if floor > earned:
        hourly, for_all, less = (money.decimal(minor, currency) for minor in (hourly_floor_minor, floor, earned))
        of = "base and corrections" if corrections else "base"
        told = f"{_hours(active_s):.2f} active hours x {hourly} {currency} = {for_all}, less the {of} of {less}"
        lines.append(Line("floor", floor - earned, told))
    lines.append(_bonus(base, lower, num_audited))
    return Statement(currency, lines)


def _bonus(base: int, lower: float | None, num_audited: int) -> Line:
    if lower is None:
        return Line(
            "bonus",
            0,
            f"{num_audited} audited answer{'s' if num_audited != 1 else ''}; the bonus begins with {MIN_AUDITED}",
        )
    rate = bonus_rate(lower)
    why = f"audits: at least {lower:.3f} agreement (95 %, {num_audited} answers) gives {100 * rate:.1f} % of the base"
    return Line("bonus", money.whole(Decimal(base) * Decimal(str(round(rate, 6)))), why)
