"""STUN and TURN servers of the operator's, by which viewers behind NAT reach this machine: for this end and for the page.

HEADROOM_ICE_SERVERS="stun:HOST:PORT turn:HOST:PORT" names them, one of each, and HEADROOM_TURN_USER with HEADROOM_TURN_PASSWORD lets
both ends in; or HEADROOM_TURN_SECRET, which the TURN server knows too (coturn's `use-auth-secret`), gives each session credentials of
its own that end with it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass, field

from aiortc import RTCIceServer
from aiortc.rtcicetransport import parse_stun_turn_uri

from infra.settings import Settings
from serving.routing import LONGEST_S

NAME = "HEADROOM_ICE_SERVERS"


@dataclass(frozen=True)
class IceServers:
    """None by default: the machine's own addresses are enough where viewers reach them by UDP."""

    urls: tuple[str, ...] = ()
    user: str = ""
    password: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)

    def of(self, session_id: str) -> list[dict[str, str]]:
        """For a session's viewer, as a browser's RTCPeerConnection takes them."""
        user, password = self._credentials(session_id)
        return [
            {"urls": url, "username": user, "credential": password} if url.startswith("turn") else {"urls": url}
            for url in self.urls
        ]

    def ours(self, session_id: str) -> list[RTCIceServer]:
        """For this end of a session's connection. An empty list: none at all would be a public server of others."""
        return [RTCIceServer(**told) for told in self.of(session_id)]

    def _credentials(self, session_id: str) -> tuple[str, str]:
        if not self.secret:
            return self.user, self.password
        # A REST API For Access To TURN Services, draft-uberti-behave-turn-rest-00
        user = f"{int(time.time() + LONGEST_S)}:{session_id}"
        return user, base64.b64encode(hmac.digest(self.secret.encode(), user.encode(), hashlib.sha1)).decode()


def ice_of(settings: Settings) -> IceServers:
    """Raises ValueError for an address that is no STUN or TURN server's, two of a kind, and TURN without credentials."""
    urls = tuple(settings.ice_servers.split())
    kinds: list[str] = []
    for url in urls:
        try:
            kinds.append(parse_stun_turn_uri(url)["scheme"].removesuffix("s"))
        except ValueError as error:
            raise ValueError(f"{NAME}: {url!r} must be stun:HOST:PORT or turn:HOST:PORT ({error})") from error
        if kinds.count(kinds[-1]) > 1:
            raise ValueError(f"{NAME}: names two {kinds[-1]} servers; one is used")
    made = IceServers(urls, settings.turn_user, settings.turn_password, settings.turn_secret)
    if "turn" in kinds and not made.secret and not (made.user and made.password):
        named = urls[kinds.index("turn")]
        raise ValueError(
            f"{NAME}: {named} needs HEADROOM_TURN_USER and HEADROOM_TURN_PASSWORD, or HEADROOM_TURN_SECRET"
        )
    return made
