"""What people type into forms, read strictly: each refusal names its entry, and nothing is rounded to fit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from dashboards.annotation.visit import MAX_ID
from tasks.annotation import money
from tasks.annotation.unfit import Unfit

_AMOUNT = re.compile(r"\d{1,9}(\.\d{0,12})?|\.\d{1,12}", re.ASCII)


def text(told: Mapping[str, Any], field: str) -> str:
    return str(told.get(field, "")).strip()


def whole(told: Mapping[str, Any], field: str) -> int:
    try:
        value = int(text(told, field))
        if not -MAX_ID < value < MAX_ID:
            raise ValueError
        return value
    except ValueError:
        raise Unfit(field, f"{_named(field)} {text(told, field)!r}: a whole number is needed") from None


def decimal(told: Mapping[str, Any], field: str) -> Decimal:
    """A number from 0 on, under a billion, as it was written; nothing is 0."""
    written = text(told, field) or "0"
    if not _AMOUNT.fullmatch(written):
        raise Unfit(field, f"{_named(field)} {written!r}: a number from 0 on is needed, as 12.50")
    return Decimal(written)


def minor(told: Mapping[str, Any], field: str, currency: str) -> int:
    """An amount in minor units of its currency. Raises Unfit for more decimals than that has."""
    try:
        return money.minor(decimal(told, field), currency)
    except Unfit:
        raise
    except ValueError as error:
        raise Unfit(field, str(error)) from None


def milli(told: Mapping[str, Any], field: str) -> int:
    """A price or budget, in the reference currency, as thousandths of its minor unit."""
    scaled = decimal(told, field).scaleb(money.REFERENCE_EXPONENT + 3)
    if scaled != scaled.to_integral_value():
        raise Unfit(field, f"{_named(field)} {text(told, field)}: five decimals at most are counted, as 0.00125")
    return int(scaled)


def _named(field: str) -> str:
    return field.replace("_", " ")
