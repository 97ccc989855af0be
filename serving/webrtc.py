"""WebRTC for whoever talks with an avatar: its pictures and sound go out as RTP, theirs comes in on the same connection.

Signalling is one POST: an offer of a session's own viewer, and its answer. The pictures are the H.264 that the worker coded,
so none is coded anew; sound is Opus. A data channel carries the words that a WebSocket would.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import av
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

from serving.engine import SAMPLE_HZ
from serving.ice import IceServers
from serving.offer import OfferError, checked
from serving.paced import Paced, Timed
from serving.publish import TIME_BASE
from serving.routing import Gateway, Talk
from serving.watching import GONE, Ended, heard, run, said, watched

log = logging.getLogger("headroom.serving")

ANSWER_S = 8.0
"""For the server's own addresses; a STUN server that does not answer takes 5 s of it."""
CONNECT_S = 15.0
JITTER_S = 0.08
"""For which aiortc holds a microphone's sound back, four packets, lest one that is late be missing."""
BEHIND_S, QUIET = 0.12, 250
"""A microphone never stops: what waits for longer than the first is caught up with in its pauses, by leaving out sound below
the second, -42 dB."""
MOST_WAITING_BYTES = 64_000
"""Of words for a viewer who takes none: more are left out."""
FLUSH_S = 0.5
FIT_S = 1.0
THIN_RATIO, WHOLE_RATIO = 0.10, 0.02
"""Of packets lost: above the first only whole pictures go out, below the second all of them again."""


class Peers:
    """Viewers by WebRTC, one of a session at a time."""

    def __init__(self, gateway: Gateway, servers: IceServers) -> None:
        self._gateway, self._servers = gateway, servers
        self._answering: set[str] = set()
        self.tasks: set[asyncio.Task[None]] = set()

    async def answer(self, talk: Talk, sdp: str) -> str:
        """The answer to a viewer's offer; from then on the session waits for it to connect, and runs. Raises OfferError."""
        offer = checked(sdp, is_reached=not self._servers.urls)
        if talk.id in self._answering:
            raise OfferError(409, "another offer for this session is being answered")
        peer = Peer(talk, self._servers.ours(talk.id))
        self._answering.add(talk.id)
        try:
            told = await asyncio.wait_for(peer.answer(offer), ANSWER_S)
        except OfferError:
            await peer.close()
            raise
        except Exception as error:
            # A browser's words, or those of somebody who means harm: whatever they break ends this offer and nothing else.
            log.info("an offer could not be answered", exc_info=True)
            await peer.close()
            raise OfferError(400, "the offer can't be answered; it must be SDP as browsers make it") from error
        finally:
            self._answering.discard(talk.id)
        task = asyncio.create_task(self._watched(talk, peer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return told

    async def end(self) -> None:
        """Lets all of them go."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _watched(self, talk: Talk, peer: Peer) -> None:
        try:
            code, reason = await watched(
                self._gateway, talk, (partial(peer.run, self._gateway), peer.listen, peer.fit, peer.ended)
            )
            await peer.tell_end(code, reason)
        finally:
            await peer.close()


class Peer:
    """One viewer's connection."""

    def __init__(self, talk: Talk, servers: Sequence[RTCIceServer]) -> None:
        self._talk, self._paced = talk, Paced()
        self._connection = RTCPeerConnection(RTCConfiguration(list(servers), bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self._channel: RTCDataChannel | None = None
        self._connected = asyncio.Event()
        self._ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._sound = self._connection.addTransceiver(_Track("audio", self._paced.sound), "sendrecv")
        pictures = self._connection.addTransceiver(_Track("video", self._paced.picture), "sendonly")
        for transceiver, name in ((self._sound, "audio/opus"), (pictures, "video/H264")):
            offered = RTCRtpSender.getCapabilities(transceiver.kind).codecs
            transceiver.setCodecPreferences([c for c in offered if c.mimeType in (name, "video/rtx")])
        self._pictures = pictures.sender
        self._connection.on("connectionstatechange", self._changed)
        self._connection.on("datachannel", self._opened)

    async def answer(self, offer: str) -> str:
        """Raises whatever a broken offer breaks, and OfferError when this machine has no address."""
        await self._connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        told = str(self._connection.localDescription.sdp)
        if "a=candidate:" not in told:
            raise OfferError(503, "this server has no network address for WebRTC; choose the stream instead")
        return told

    async def run(self, gateway: Gateway) -> Ended:
        """The session, once the viewer is connected."""
        try:
            await asyncio.wait_for(self._connected.wait(), CONNECT_S)
        except TimeoutError:
            return GONE
        self._talk.paced = self._paced
        try:
            return await run(gateway, self._talk, self._put)
        finally:
            self._talk.paced = None

    async def listen(self) -> Ended:
        """Takes in the viewer's sound."""
        track, resampler = self._sound.receiver.track, av.AudioResampler("s16", "mono", SAMPLE_HZ)
        with suppress(MediaStreamError):
            while track is not None:
                frame = await track.recv()
                assert isinstance(frame, av.AudioFrame)
                for part in resampler.resample(frame):
                    sound = part.to_ndarray()[0].copy()
                    if self._talk.inbox.ahead_s > BEHIND_S and max(sound.max(), -int(sound.min())) < QUIET:
                        continue
                    if (ended := said(self._talk, sound, JITTER_S)) is not None:
                        return ended
        return await self.ended()  # who sends none may still watch

    async def fit(self) -> Ended:
        """Sends fewer pictures while too much is lost on the way, and never less sound."""
        while True:
            await asyncio.sleep(FIT_S)
            for told in (await self._pictures.getStats()).values():
                if told.type == "remote-inbound-rtp":
                    lost = told.fractionLost / 256
                    self._paced.thin = lost > (WHOLE_RATIO if self._paced.thin else THIN_RATIO)

    async def ended(self) -> Ended:
        return await asyncio.shield(self._ended)

    async def tell_end(self, code: int, reason: str) -> None:
        """Why it ends, for a viewer who is still there."""
        self._say(json.dumps({"type": "over", "code": code, "reason": reason}))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._flushed(), FLUSH_S)

    async def close(self) -> None:
        self._paced.end()
        await self._connection.close()

    def _put(self, message: bytes | str) -> None:
        """Words; the fragments come by the gateway. Raises asyncio.QueueFull when the viewer is too slow even for sound."""
        if self._paced.is_full:
            raise asyncio.QueueFull
        if isinstance(message, str):
            self._say(message)

    def _say(self, words: str) -> None:
        channel = self._channel
        if channel is not None and channel.readyState == "open" and channel.bufferedAmount < MOST_WAITING_BYTES:
            channel.send(words)

    async def _flushed(self) -> None:
        while self._channel is not None and self._channel.readyState == "open" and self._channel.bufferedAmount:
            await asyncio.sleep(0.02)

    def _changed(self) -> None:
        state = self._connection.connectionState
        if state == "connected":
            self._connected.set()
        elif state in ("failed", "closed"):
            self._end(GONE)

    def _opened(self, channel: RTCDataChannel) -> None:
        if self._channel is None:  # one is enough
            self._channel = channel
            channel.on("message", self._heard)

    def _heard(self, message: bytes | str) -> None:
        if (ended := heard(self._talk, message)) is not None:
            self._end(ended)

    def _end(self, ended: Ended) -> None:
        if not self._ended.done():
            self._ended.set_result(ended)


class _Track(MediaStreamTrack):
    """Coded pictures or sound, each when it is due, as aiortc takes them."""

    def __init__(self, kind: str, due: Callable[[], Awaitable[Timed]]) -> None:
        super().__init__()
        self.kind, self._due = kind, due

    async def recv(self) -> av.Packet[Any]:
        told = await self._due()
        made = av.Packet(told.data)
        made.pts, made.time_base = told.time, TIME_BASE
        return made
