"""What live sessions by WebRTC bear: latency, what a frame costs, viewers who come and go.

    python -m benchmarks.serving_webrtc [--avatar PORTRAIT] [--tries 10] [--seconds 20] [--cycles 100] [--json]

A server is started as in benchmarks/serving_workers.py, and an aiortc client in this process is its viewer. Latency is from
sound that was sent, by the data channel or spoken into the microphone, to the frame of the same moment received; which frame
that is, the sender's reports say. This client holds sound back for 80 ms, and pictures not at all; so does the server with a
microphone's. Ends with 1 when a frame is left out, though the line loses nothing, or when viewers who came and went leave
threads, files, processes or over 5 MiB behind.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
from aiortc.codecs import get_encoder
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from benchmarks.machine import machine
from benchmarks.serving_workers import (
    MOST_GROWTH_MIB,
    WARM_CYCLES,
    Served,
    cpu_s,
    held_by,
    published,
    started,
    voice,
    waited,
)
from benchmarks.webrtc_viewer import SAMPLE_HZ, Came, Peer
from serving.fragments import parameter_sets, pieces
from serving.publish import TIME_BASE, Fragments
from store.workspace import open_workspace
from tasks.samples.carriers import PORTRAIT

BURST = 4 * 640
LOUD = 1500
FRAME_TICKS = 3600


async def opened(served: Served) -> dict[str, str]:
    """A session, once there is room."""
    async with httpx.AsyncClient(base_url=served.server.url, timeout=60) as client:
        key = (await client.get("/api/avatars")).json()["avatars"][0]["key"]
        while (answer := await client.post("/api/sessions", json={"avatar": key})).status_code != httpx.codes.CREATED:
            await asyncio.sleep(0.05)
        return dict(answer.json())


async def connected(served: Served, made: dict[str, str], *, speaks: bool = False) -> Peer:
    async def post(path: str, told: dict[str, str]) -> dict[str, Any]:
        async with httpx.AsyncClient(base_url=served.server.url, timeout=60) as client:
            answer = await client.post(path, json=told)
            assert answer.status_code == httpx.codes.OK, answer.text
            return dict(answer.json())

    peer = Peer(speaks=speaks)
    await peer.connect(made, post)
    await peer.until(lambda: peer.streams["video"].num >= 2 and peer.streams["audio"].num >= 2)
    return peer


async def leave(peer: Peer) -> None:
    peer.channel.send("end")
    await peer.until(lambda: peer.words[-1]["type"] == "over")
    await peer.close()


def burst() -> np.ndarray:
    return (8000 * np.sin(np.arange(BURST) * 0.3)).astype(np.int16)


async def latency(served: Served, tries: int, *, speaks: bool) -> dict[str, Any]:
    """Milliseconds from sound sent to its frame and to itself received, and what the server says of its own part."""
    peer = await connected(served, await opened(served), speaks=speaks)
    seen, said = peer.streams["video"], peer.streams["audio"]
    await peer.until(lambda: seen.report and said.report and seen.num > 50)
    found = []
    for _ in range(tries):
        await asyncio.sleep(0.7)  # silence, of another length each time
        await asyncio.sleep(0.08 * np.random.default_rng(len(found)).random())
        began = time.monotonic()
        if peer.voice is not None:
            peer.voice.say(burst())
        else:
            peer.channel.send(burst().astype("<i2").tobytes())
        heard = await loud(peer, began)
        at_s = said.moment_s(heard.pts)
        while seen.moment_s(seen.came[-1].pts) < at_s - 0.02:
            await asyncio.sleep(0.005)
        shown = next(c for c in seen.came if seen.moment_s(c.pts) > at_s - 0.02)
        found.append((shown.at - began, heard.at - began))
    steps = [b.pts - a.pts for a, b in pairwise(seen.came)]
    await leave(peer)
    frame, sound = (1000 * np.array(part) for part in zip(*found, strict=True))
    return {"tries": tries, "frame_ms": {"median": float(np.median(frame)), "worst": float(frame.max())},
            "sound_ms": {"median": float(np.median(sound)), "worst": float(sound.max())},
            "left_out": sum(step != FRAME_TICKS for step in steps)}  # fmt: skip


async def loud(peer: Peer, since: float) -> Came:
    """The first loud sound that comes from then on."""
    until, said = since + 30, peer.streams["audio"]
    while time.monotonic() < until:
        for came in said.came:
            if came.at > since and np.abs(came.data).max() > LOUD:
                return came
        await asyncio.sleep(0.005)
    raise TimeoutError("what was said was not heard in 30 s")


async def load(served: Served, seconds: float) -> dict[str, Any]:
    """Two sessions that are spoken to: frames a second, processor time a frame, and frames left out."""
    peers = [await connected(served, await opened(served), speaks=True) for _ in range(2)]
    for peer in peers:
        assert peer.voice is not None
        peer.voice.say(voice(round(seconds * SAMPLE_HZ)))
    waiting, before, began = os.getloadavg()[0], cpu_s(served), time.monotonic()
    frames = sum(peer.streams["video"].num for peer in peers)
    await asyncio.sleep(seconds)
    spent, took = cpu_s(served) - before, time.monotonic() - began
    frames = sum(peer.streams["video"].num for peer in peers) - frames
    steps = [b.pts - a.pts for peer in peers for a, b in pairwise(peer.streams["video"].came)]
    for peer in peers:
        await leave(peer)
    return {"seconds": seconds, "fps": round(frames / took / len(peers), 2), "cpu_ms_a_frame": round(1000 * spent / frames, 1),
            "left_out": sum(step != FRAME_TICKS for step in steps), "load": round(waiting, 1)}  # fmt: skip


async def cycles(served: Served, times: int, warm: int = WARM_CYCLES) -> dict[str, Any]:
    """Viewers who come, get some frames, and go, half of them without leaving: another one comes back to the session and
    ends it. What that leaves in the server's processes."""
    for number in range(warm):
        await come_and_go(served, number)
    before = await asyncio.to_thread(held_by, served)
    for number in range(times):
        await come_and_go(served, number)
    after = await asyncio.to_thread(held_by, served)
    return {"cycles": times, **{name: round(after[name] - before[name], 1) for name in before}}


async def come_and_go(served: Served, number: int) -> None:
    made = await opened(served)
    if number % 2:
        peer = await connected(served, made, speaks=True)
        await peer.close()
    await leave(await connected(served, made, speaks=bool(number % 3)))


def codecs(num: int = 250, side: int = 256) -> dict[str, float]:
    """Milliseconds of processor time that one frame takes on its way into RTP: the worker's H.264 as it is, or coded anew."""
    from tasks.samples.carriers import PORTRAIT as SHOWN

    with av.open(str(SHOWN.path())) as container:
        still = next(container.decode(video=0)).reformat(side, side, "rgb24").to_ndarray()
    shown = [np.roll(still, n % 5, axis=0) for n in range(num)]
    stream = Fragments((side, side))
    sets, silence = parameter_sets(stream.header), np.zeros(640, np.int16)
    coded = [next(iter(pieces(stream.write(n, p, silence)))) for n, p in enumerate(shown)]
    packets = [av.Packet((sets if c.is_key else b"") + c.picture) for c in coded]
    frames = [av.VideoFrame.from_ndarray(p, format="rgb24").reformat(format="yuv420p") for p in shown]
    for n, made in enumerate([*packets, *frames]):
        made.pts, made.time_base = 640 * (n % num), TIME_BASE
    told = {}
    for name, mime, given in (
        ("passed_h264_ms", "H264", packets),
        ("vp8_ms", "VP8", frames),
        ("h264_ms", "H264", frames),
    ):
        encoder = get_encoder(RTCRtpCodecParameters(mimeType=f"video/{mime}", clockRate=90_000, payloadType=97))
        began = time.process_time()
        for one in given:
            _ = encoder.pack(one) if given is packets else encoder.encode(one)
        told[name] = 1000 * (time.process_time() - began) / num
    decoder, began = av.CodecContext.create("h264", "r"), time.process_time()
    for packet in packets:
        decoder.decode(packet)
    return {**told, "decoding_ms": 1000 * (time.process_time() - began) / num}


def faults(found: dict[str, Any]) -> list[str]:
    """What is not as it must be."""
    made = [f"{n}: {found[n]['left_out']} frames left out" for n in ("sent", "spoken", "load") if found[n]["left_out"]]
    left = found["cycles"]
    if any(left[name] > 0 for name in ("threads", "files", "processes")) or left["resident_mib"] > MOST_GROWTH_MIB:
        made.append(f"left behind: {left}")
    return made


async def measured(served: Served, tries: int, seconds: float, times: int) -> dict[str, Any]:
    return {
        "sent": await latency(served, tries, speaks=False), "spoken": await latency(served, tries, speaks=True),
        "load": await load(served, seconds), "cycles": await cycles(served, times),
    }  # fmt: skip


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving_webrtc")
    parser.add_argument("--avatar", type=Path)
    parser.add_argument("--tries", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        place = open_workspace(Path(folder) / "ws")
        published(place)
        with started(place, given.avatar or PORTRAIT.path(), 2, 2) as served:
            waited(served.free)
            found = asyncio.run(measured(served, given.tries, given.seconds, given.cycles))
    found = {"machine": machine(), "codecs": codecs(), **found}
    wrong = faults(found)
    if given.json:
        print(json.dumps({**found, "faults": wrong}))
        return len(wrong) > 0
    print(f"| {found['machine']}, load {found['load']['load']} | |\n|---|---|")
    for name, what in (("sent", "sound sent as PCM"), ("spoken", "sound spoken into the microphone (Opus)")):
        told = found[name]
        print(
            f"| {what}, to its frame received | {told['frame_ms']['median']:.0f} ms, at worst {told['frame_ms']['worst']:.0f}; "
            f"to itself {told['sound_ms']['median']:.0f} |"
        )
    two, cost = found["load"], found["codecs"]
    print(
        f"| two sessions that are spoken to, {two['seconds']:.0f} s | {two['fps']} frames a second each, {two['left_out']} left out |"
    )
    print(f"| processor time of gateway and workers together | {two['cpu_ms_a_frame']} ms a frame |")
    print(
        f"| a frame into RTP, 256 px | {cost['passed_h264_ms']:.3f} ms as it was coded; decoded ({cost['decoding_ms']:.2f}) and "
        f"coded anew: VP8 {cost['vp8_ms']:.2f}, H.264 {cost['h264_ms']:.2f} |"
    )
    left = found["cycles"]
    print(
        f"| {left['cycles']} viewers came and went | {left['threads']:+.0f} threads, {left['files']:+.0f} files, "
        f"{left['processes']:+.0f} processes, {left['resident_mib']:+.1f} MiB |"
    )
    for fault in wrong:
        print(f"not as it must be: {fault}", file=sys.stderr)
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
