"""Opus on a viewer's WebSocket: a packet (RFC 6716) a message, decoded as it comes.

Packets without a container, since that is what an encoder gives: WebCodecs' AudioEncoder, libopus, an RTP payload. Nothing has
to be found in a stream of bytes, each message can be said at once, and a packet that is broken is known as it arrives.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from serving.engine import SAMPLE_HZ

PCM, OPUS = "pcm", "opus"
"""What a viewer's messages may hold."""
MOST_PACKET_BYTES = 4000
"""What libopus recommends room for; a packet of 20 ms of speech has 40 to 160."""
CONTAINERS = {b"OggS": "Ogg", b"\x1a\x45\xdf\xa3": "WebM", b"Opus": "the head of an Ogg stream"}


class OpusError(ValueError):
    """What came is no Opus packet."""


class OpusPackets:
    """The decoder of one line, which remembers what came before."""

    def __init__(self) -> None:
        import av

        self._decoder: Any = av.CodecContext.create("libopus", "r")
        self._decoder.sample_rate, self._decoder.layout = 48_000, "mono"  # libopus mixes stereo down itself
        self._even = av.AudioResampler("s16", "mono", SAMPLE_HZ)

    def decoded(self, packet: bytes) -> np.ndarray:
        """Its sound, int16 at 16 kHz. Raises OpusError."""
        import av

        if packet[:4] in CONTAINERS:
            raise OpusError(f"this is {CONTAINERS[packet[:4]]}; send Opus packets alone, one a message")
        if not 0 < len(packet) <= MOST_PACKET_BYTES:
            raise OpusError(f"an Opus packet has 1 to {MOST_PACKET_BYTES} bytes, this message {len(packet)}")
        try:
            frames = self._decoder.decode(av.Packet(packet))
        except av.error.FFmpegError as error:
            raise OpusError(f"a message of {len(packet)} bytes is no Opus packet") from error
        even = [part.to_ndarray()[0] for frame in frames for part in self._even.resample(frame)]
        return np.concatenate([np.zeros(0, np.int16), *even])
