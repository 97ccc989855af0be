"""Proxies whose word on a visitor's address is believed."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network


def checked_proxies(proxies: Sequence[str]) -> tuple[str, ...]:
    """As networks; uvicorn would take one that it can't read for a name that nobody has, without a word."""
    try:
        return tuple(str(ip_network(proxy, strict=False)) for proxy in proxies)
    except ValueError as error:
        raise ValueError(f"--trusted-proxy: {error}; give an IP address or a network, as 10.0.0.0/8") from None
