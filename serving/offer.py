"""What a browser offers for WebRTC (SDP, RFC 8866), checked before anything is made of it. Nothing that it names is looked up.

A candidate is an address to which the server would send. Without STUN and TURN servers of the operator's there is no need of
them: the server answers whoever asks with the right password, from wherever that comes.
"""

from __future__ import annotations

import ipaddress

MOST_OFFER_BYTES = 64_000
MOST_CANDIDATES = 16
KINDS = ("audio", "video", "application")


class OfferError(Exception):
    """Why an offer is refused, and the HTTP status that says so."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def checked(sdp: str, *, is_reached: bool) -> str:
    """The offer with the candidates that may be tried: none where the server is reached directly (`is_reached`), else up to 16,
    by UDP and by address; a name is not resolved. The end of candidates is never told, so that others may turn up.

    Raises OfferError for what is no offer of one audio, one video and at most one data section, or has no Opus or no H.264.
    """
    lines = sdp.splitlines()
    kinds = [line[2:].split(" ", 1)[0] for line in lines if line.startswith("m=")]
    if not sdp.startswith("v=0") or not {"audio", "video"} <= set(kinds) or len(set(kinds)) != len(kinds):
        raise OfferError(400, "an offer must be SDP with one audio, one video and at most one data section")
    if not set(kinds) <= set(KINDS):
        raise OfferError(400, f"an offer has sections {', '.join(KINDS)}; it may have no others")
    codecs = {line.split(" ", 1)[-1].lower() for line in lines if line.startswith("a=rtpmap:")}
    if "h264/90000" not in codecs:
        raise OfferError(406, "this browser takes no H.264 by WebRTC; choose the stream instead")
    if "opus/48000/2" not in codecs:
        raise OfferError(406, "this browser takes no Opus by WebRTC; choose the stream instead")
    kept, num = [], 0
    for line in lines:
        if line.startswith("a=end-of-candidates"):
            continue
        if line.startswith("a=candidate:"):
            if is_reached or num == MOST_CANDIDATES or not _is_address(line):
                continue
            num += 1
        kept.append(line)
    return "\r\n".join([*kept, ""])


def _is_address(candidate: str) -> bool:
    """By UDP, and no name."""
    told = candidate.split()
    if len(told) < 8 or told[2].lower() != "udp":
        return False
    try:
        return not ipaddress.ip_address(told[4]).is_multicast
    except ValueError:
        return False
