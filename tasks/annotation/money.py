"""Currencies of ISO 4217 and how many decimals each has: amounts are held in whole minor units, which for the yen are yen."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

_NO_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THREE_DECIMALS = "BHD IQD JOD KWD LYD OMR TND"
_TWO_DECIMALS = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC CUP CVE CZK
DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD
KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP
PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH
USD UYU UZS VES WST XCD XCG YER ZAR ZMW ZWG
"""
EXPONENTS = {
    code: decimals
    for decimals, codes in ((0, _NO_DECIMALS), (2, _TWO_DECIMALS), (3, _THREE_DECIMALS))
    for code in codes.split()
}
"""By alphabetic code, the decimals of a currency that people are paid in; codes of funds, metals and tests are none."""
REFERENCE_EXPONENT = 2
"""Of the currency that prices of batches are in, whichever it is: a price of 1 is a hundred of its minor units."""


def checked(code: str) -> str:
    """The code in capitals. Raises ValueError for what is no currency of ISO 4217."""
    found = code.strip().upper()
    if found not in EXPONENTS:
        raise ValueError(f"currency {code!r}: write its alphabetic code of ISO 4217, as EUR, JPY or KWD")
    return found


def exponent(currency: str) -> int:
    """Decimals of a currency; two for a code that an earlier version took without looking."""
    return EXPONENTS.get(currency, 2)


def minor(amount: Decimal, currency: str) -> int:
    """An amount in minor units, halves up: 1.5 EUR is 150, 72 JPY is 72, 1.5 KWD is 1500."""
    return whole(amount.scaleb(exponent(currency)))


def decimal(amount_minor: int, currency: str) -> str:
    """Minor units as an amount with the currency's decimals: 150 EUR is 1.50, 72 JPY is 72, 1500 KWD is 1.500."""
    return f"{Decimal(amount_minor).scaleb(-exponent(currency)):.{exponent(currency)}f}"


def price_milli(reference_milli: int, rate: float, currency: str) -> int:
    """A price in thousandths of a minor unit, from one in thousandths of the reference currency's; `rate` is the currency's
    units for one of the reference currency."""
    return whole((reference_milli * Decimal(str(rate))).scaleb(exponent(currency) - REFERENCE_EXPONENT))


def price(milli: int, currency: str) -> str:
    """Thousandths of a minor unit as an amount: the currency's decimals, and more where there are more."""
    whole_part, _, part = f"{Decimal(milli).scaleb(-3 - exponent(currency)):f}".rstrip("0").partition(".")
    part = part.ljust(exponent(currency), "0")
    return f"{whole_part}.{part}" if part else whole_part


def whole(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))
