"""Amounts of money: held in whole minor units of their currency, which for the yen are yen, and told as decimals."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from store.currencies import EXPONENTS, exponent

REFERENCE_EXPONENT = 2
"""Of the currency that prices of batches are in, whichever it is: a price of 1 is a hundred of its minor units."""


def checked(code: str) -> str:
    """The code in capitals. Raises ValueError for what is no currency of ISO 4217."""
    found = code.strip().upper()
    if found not in EXPONENTS:
        raise ValueError(f"currency {code!r}: write its alphabetic code of ISO 4217, as EUR, JPY or KWD")
    return found


def minor(amount: Decimal, currency: str) -> int:
    """An amount in minor units: 1.5 EUR is 150, 72 JPY is 72, 1.5 KWD is 1500.

    Raises ValueError for one with more decimals than the currency has: nobody can be paid half a yen, and what was meant is
    not guessed.
    """
    scaled = amount.scaleb(exponent(currency))
    if scaled != scaled.to_integral_value():
        below = int(scaled)
        has = {0: "no decimals"}.get(exponent(currency), f"{exponent(currency)} decimals")
        near = " or ".join(decimal(unit, currency) for unit in (below, below + 1))
        raise ValueError(f"{amount:f} {currency}: {currency} has {has} (ISO 4217); write {near}")
    return int(scaled)


def decimal(amount_minor: int, currency: str) -> str:
    """Minor units as an amount with the currency's decimals: 150 EUR is 1.50, 72 JPY is 72, 1500 KWD is 1.500."""
    return f"{Decimal(amount_minor).scaleb(-exponent(currency)):.{exponent(currency)}f}"


def price_milli(reference_milli: int, rate: float, currency: str) -> int:
    """A price in thousandths of a minor unit, from one in thousandths of the reference currency's; `rate` is the currency's
    units for one of the reference currency."""
    return whole((reference_milli * Decimal(str(rate))).scaleb(exponent(currency) - REFERENCE_EXPONENT))


def converted(amount_minor: int, currency: str, rate: float, to: str, to_rate: float) -> int:
    """An amount in minor units of another currency; the rates are units of each for one of the reference currency."""
    reference = Decimal(amount_minor).scaleb(-exponent(currency)) / Decimal(str(rate))
    return whole((reference * Decimal(str(to_rate))).scaleb(exponent(to)))


def price(milli: int, currency: str) -> str:
    """Thousandths of a minor unit as an amount: the currency's decimals, and more where there are more."""
    whole_part, _, part = f"{Decimal(milli).scaleb(-3 - exponent(currency)):f}".rstrip("0").partition(".")
    part = part.ljust(exponent(currency), "0")
    return f"{whole_part}.{part}" if part else whole_part


def reference(milli: int) -> str:
    """Thousandths of a minor unit of the reference currency as an amount, with no less than its two decimals."""
    return price(milli, "EUR")  # like each currency with two decimals


def whole(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))
