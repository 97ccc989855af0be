"""What one client may take of the sessions that all share: so many at a time, and so many openings a minute, by its address."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

MOST_SESSIONS, MOST_OPENINGS = 4, 30
WINDOW_S = 60.0
HOUSE_BITS = 64
"""Of an IPv6 address: whoever has one has all that begin so."""


class TooManyError(Exception):
    """A client asks for more than its share; `again_s` says when it is worth another try."""

    def __init__(self, why: str, again_s: int) -> None:
        super().__init__(why)
        self.again_s = again_s


@dataclass(frozen=True)
class Share:
    """Sessions at a time and openings a minute of one address; 0 is no limit."""

    sessions: int = MOST_SESSIONS
    openings: int = MOST_OPENINGS


class Openings:
    """When each address opened its sessions of the last minute; those who opened none take no memory."""

    def __init__(self, share: Share) -> None:
        self.share = share
        self._of: dict[str, deque[float]] = {}

    def count(self, client: str, sessions: int) -> None:
        """One more, by who has so many sessions now. Raises TooManyError, and counts it not, for one too many."""
        now, share = time.monotonic(), self.share
        for other, opened in list(self._of.items()):
            while opened and now - opened[0] > WINDOW_S:
                opened.popleft()
            if not opened:
                del self._of[other]
        if share.sessions and sessions >= share.sessions:
            raise TooManyError(f"your address has {sessions} sessions, and may have no more at a time; end one", 5)
        opened = self._of.setdefault(client, deque())
        if share.openings and len(opened) >= share.openings:
            again_s = max(1, math.ceil(WINDOW_S - (now - opened[0])))
            why = f"your address opened {len(opened)} sessions within a minute, and may open no more"
            raise TooManyError(f"{why}; try again in {again_s} s", again_s)
        opened.append(now)


def client_of(address: str) -> str:
    """Whose address it is: an IPv4 address, the house of an IPv6 address, or whatever else a transport calls its other end."""
    try:
        told = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(told, IPv6Address):
        return str(told.ipv4_mapped or ip_network((told, HOUSE_BITS), strict=False))
    return str(told)
