"""Fragmented MP4, box by box (ISO/IEC 14496-12, -14 and -15): a header, then one fragment for each video frame.

FFmpeg's own muxer holds frames back until it knows how long they last, and keeps a line for each fragment. Here a fragment
is whole as soon as its frame is, its times are those that it is given, and nothing is kept but a number.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

VIDEO, SOUND = 1, 2
"""Track numbers."""
_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_KEY, _NOT_KEY = 0x02000000, 0x01010000
_START = b"\x00\x00\x00\x01"


@dataclass(frozen=True)
class Sample:
    """One coded picture or run of sound, and how long it lasts."""

    data: bytes
    duration: int
    key: bool = True


def header(time_hz: int, side_px: tuple[int, int], video_config: bytes, sound_config: bytes) -> bytes:
    """`ftyp` and `moov`. `video_config` is an AVCDecoderConfigurationRecord (`avc_config`), `sound_config` an
    AudioSpecificConfig, `side_px` height and width; times of both tracks count 1 / `time_hz` seconds."""
    height, width = side_px
    moov = box(
        b"moov",
        full(b"mvhd", 0, 0, struct.pack(">4I", 0, 0, time_hz, 0), struct.pack(">IH10x", 0x10000, 0x100), _MATRIX, bytes(24),
             struct.pack(">I", SOUND + 1)),
        _track(VIDEO, time_hz, (height, width), b"vide", full(b"vmhd", 0, 1, bytes(8)), _avc1(height, width, video_config)),
        _track(SOUND, time_hz, (0, 0), b"soun", full(b"smhd", 0, 0, bytes(4)), _mp4a(time_hz, sound_config)),
        box(b"mvex", *(full(b"trex", 0, 0, struct.pack(">5I", track, 1, 0, 0, 0)) for track in (VIDEO, SOUND))),
    )  # fmt: skip
    return box(b"ftyp", b"iso5", struct.pack(">I", 512), b"iso5iso6mp41") + moov


def fragment(number: int, tracks: Sequence[tuple[int, int, Sequence[Sample]]]) -> bytes:
    """`moof` and `mdat` of (track, time of its first sample, samples), as many as there are."""
    there = [t for t in tracks if t[2]]
    sizes = [sum(len(s.data) for s in samples) for _, _, samples in there]

    def moof(first: int) -> bytes:
        offsets = [first + sum(sizes[:n]) for n in range(len(there))]
        parts = (_traf(*told, offset) for told, offset in zip(there, offsets, strict=True))
        return box(b"moof", full(b"mfhd", 0, 0, struct.pack(">I", number)), *parts)

    made = moof(len(moof(0)) + 8)
    return made + box(b"mdat", *(s.data for _, _, samples in there for s in samples))


def one_by_one(data: bytes) -> list[bytes]:
    """Fragments in a row, each by itself; a header that goes ahead of them stays with the first."""
    starts, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        starts += [at] if kind == b"moof" else []
        at += size
    begins = [0, *starts[1:]]
    return [data[begin:end] for begin, end in zip(begins, [*begins[1:], len(data)], strict=True)]


def avc_config(annex_b: bytes) -> bytes:
    """From parameter sets between start codes, as x264 gives them. Raises ValueError when one of the two is missing."""
    units = split_units(annex_b)
    sets = {kind: [u for u in units if u[0] & 31 == kind] for kind in (7, 8)}
    if not sets[7] or not sets[8]:
        raise ValueError("avc_config: the encoder gave no parameter sets; open it with a global header")
    sps, pps = sets[7][0], sets[8][0]
    return b"".join(
        [b"\x01", sps[1:4], b"\xff\xe1", struct.pack(">H", len(sps)), sps, b"\x01", struct.pack(">H", len(pps)), pps]
    )


def with_lengths(annex_b: bytes) -> bytes:
    """A coded picture with each unit's length before it instead of a start code."""
    return b"".join(struct.pack(">I", len(unit)) + unit for unit in split_units(annex_b))


def with_start_codes(coded: bytes) -> bytes:
    """What `with_lengths` made, as it was."""
    made, at = [], 0
    while at < len(coded):
        (size,) = struct.unpack_from(">I", coded, at)
        made.append(_START + coded[at + 4 : at + 4 + size])
        at += 4 + size
    return b"".join(made)


def parameter_sets(header: bytes) -> bytes:
    """Those that a `header` tells of its pictures, between start codes: what a whole picture needs before it wherever no header
    goes ahead of the stream."""
    at = header.index(b"avcC") + 4 + 6
    (size,) = struct.unpack_from(">H", header, at)
    sps, at = header[at + 2 : at + 2 + size], at + 2 + size + 1
    (size,) = struct.unpack_from(">H", header, at)
    return _START + sps + _START + header[at + 2 : at + 2 + size]


def split_units(annex_b: bytes) -> list[bytes]:
    units = annex_b.replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").split(b"\x00\x00\x01")
    return [unit for unit in units if unit]


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def full(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def _traf(track: int, time: int, samples: Sequence[Sample], offset: int) -> bytes:
    rows = b"".join(struct.pack(">3I", s.duration, len(s.data), _KEY if s.key else _NOT_KEY) for s in samples)
    return box(
        b"traf",
        full(b"tfhd", 0, 0x020000, struct.pack(">I", track)),
        full(b"tfdt", 1, 0, struct.pack(">Q", time)),
        full(b"trun", 0, 0x000701, struct.pack(">Ii", len(samples), offset), rows),
    )


def _track(number: int, time_hz: int, side_px: tuple[int, int], kind: bytes, media: bytes, entry: bytes) -> bytes:
    height, width = side_px
    volume = 0x100 if kind == b"soun" else 0
    empty = [full(n, 0, 0, struct.pack(">I", 0)) for n in (b"stts", b"stsc")]
    tables = box(
        b"stbl", full(b"stsd", 0, 0, struct.pack(">I", 1), entry), *empty,
        full(b"stsz", 0, 0, bytes(8)), full(b"stco", 0, 0, bytes(4)),
    )  # fmt: skip
    where = box(b"dinf", full(b"dref", 0, 0, struct.pack(">I", 1), full(b"url ", 0, 1)))
    return box(
        b"trak",
        full(b"tkhd", 0, 3, struct.pack(">5I", 0, 0, number, 0, 0), struct.pack(">8x4H", 0, 0, volume, 0), _MATRIX,
             struct.pack(">2I", width << 16, height << 16)),
        box(
            b"mdia",
            full(b"mdhd", 0, 0, struct.pack(">4I2H", 0, 0, time_hz, 0, 0x55C4, 0)),
            full(b"hdlr", 0, 0, bytes(4), kind, bytes(12), b"headroom\x00"),
            box(b"minf", media, where, tables),
        ),
    )  # fmt: skip


def _avc1(height: int, width: int, config: bytes) -> bytes:
    return box(
        b"avc1", bytes(6), struct.pack(">H", 1), bytes(16), struct.pack(">2H", width, height),
        struct.pack(">3IH", 0x480000, 0x480000, 0, 1), bytes(32), struct.pack(">Hh", 24, -1), box(b"avcC", config),
    )  # fmt: skip


def _mp4a(sample_hz: int, config: bytes) -> bytes:
    def descriptor(tag: int, body: bytes) -> bytes:
        return bytes([tag, len(body)]) + body

    decoder = descriptor(4, bytes([0x40, 0x15]) + bytes(11) + descriptor(5, config))
    stream = descriptor(3, struct.pack(">HB", SOUND, 0) + decoder + descriptor(6, b"\x02"))
    return box(
        b"mp4a", bytes(6), struct.pack(">H", 1), bytes(8), struct.pack(">4HI", 1, 16, 0, 0, sample_hz << 16),
        full(b"esds", 0, 0, stream),
    )  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """A fragment with a picture: its bytes, the picture's time and duration, whether it stands for itself, and where in the
    fragment it lies."""

    data: bytes
    time: int
    duration: int
    is_key: bool
    picture_at: slice

    @property
    def picture(self) -> bytes:
        """As it was coded, between start codes."""
        return with_start_codes(self.data[self.picture_at])


def pieces(data: bytes) -> Iterator[Piece]:
    """The fragments in a row of them, as `fragment` makes them with a picture in each."""
    at = 0
    while at < len(data):
        moof, _ = struct.unpack_from(">I4s", data, at)
        (mdat,) = struct.unpack_from(">I", data, at + moof)
        traf = at + 8 + 16 + 8  # after moof's own head, mfhd, and traf's head
        (time,) = struct.unpack_from(">Q", data, traf + 16 + 12)
        duration, size, flags = struct.unpack_from(">3I", data, traf + 16 + 20 + 20)
        picture = slice(moof + 8, moof + 8 + size)  # first in mdat
        yield Piece(data[at : at + moof + mdat], time, duration, flags == _KEY, picture)
        at += moof + mdat
