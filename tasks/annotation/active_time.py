"""Time at work that counts for a region's floor: what the browser saw, held against our own clock."""

from __future__ import annotations

from typing import Any

CAP_MEDIANS = 10
CAP_S = (120.0, 1800.0)
"""One answer counts for ten median answers at most, and never for less than two minutes; half an hour while too few
answers tell the median. A thoughtful answer passes, a page left open does not."""


def cap_s(usual_s: float | None) -> float:
    """The most that one answer counts for; `usual_s` is the median of its schema, None while there are too few answers."""
    return CAP_S[1] if usual_s is None else max(CAP_S[0], CAP_MEDIANS * usual_s)


def counted_s(told: Any, leased_at: float, ended_at: float, spent_s: float, last_at: float, cap: float) -> float:
    """Seconds that an answer counts for, from 0 to `cap`.

    `told` is what the browser says: no number counts 0. The lease ran from `leased_at` to `ended_at` (Unix seconds), and
    two leases may run at once, the item at hand and the next one. `spent_s` is what other answers that the same person
    sent since `leased_at` counted for, `last_at` when the latest was sent. What a person is credited with is then never
    more than the clock showed while at least one lease ran: either bound alone ensures it, so the kinder one holds.
    """
    if not isinstance(told, int | float) or isinstance(told, bool) or told != told:
        return 0.0
    left = max(ended_at - leased_at - spent_s, ended_at - max(leased_at, last_at))
    return round(max(0.0, min(float(told), left, cap)), 3)
