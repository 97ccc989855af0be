"""The gateway: sessions by id, and the workers that draw them. It keeps each session's clock and sound, and moves a session to
another worker when its own dies.

Sound and video pass through the gateway: a tick's sound goes to the worker, its fragments come back, and only then is the
tick done. Nothing here knows of the web.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from serving.avatar import Avatar
from serving.checkpoints import Split
from serving.clients import Openings, Share
from serving.engine import SAMPLE_HZ
from serving.hls import Hls
from serving.inbox import TICK_FRAMES, Inbox
from serving.lines import Line, LostError, avatar_bytes
from serving.paced import Paced
from serving.publish import PRIMING, Sent
from serving.remote import LOST_S, RefusedError, Worker
from serving.rtmp import Rtmp
from serving.vitals import Vitals
from store.media import GRID_FPS

log = logging.getLogger("headroom.serving")

Result = TypeVar("Result")

KEPT_S = 30.0
"""A session that nobody watches is held so long, for whoever comes back."""
LONGEST_S = 3600.0
PATIENCE_S = 30.0
"""A session whose worker died waits so long for another."""
CROWDED = 2
"""Sessions whose worker died may fill another up to so many times its capacity: slow is better than gone."""
POLL_S = 0.1
MOST_PROBES = 2
"""At once: a canary and what serves, side by side."""
MOST_MOVES = 3
"""A session under whose sound so many workers died one after the other is given up: it may be what kills them."""


class NoWorkerError(Exception):
    """There is no worker to draw a session."""


@dataclass
class Talk:
    """A session as the gateway holds it."""

    id: str
    token: str
    avatar: str
    seed: int
    probe: bool
    worker: Worker
    checkpoint: str
    client: str = ""
    """The address that opened it."""
    made_at: float = field(default_factory=time.monotonic)
    seen_at: float = field(default_factory=time.monotonic)
    inbox: Inbox = field(default_factory=Inbox)
    asked: int = 0
    """Files and texts that are being made into sound, one at a time (`asking`)."""
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    next_frame: int = 0
    """The one to be put out next: those before it were acknowledged."""
    sent: Sent | None = None
    header: bytes = b""
    changed_header: bytes = b""
    """Of a worker that codes otherwise than the one before: it goes out before the next fragment."""
    told_first: bool = False
    watch_token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """Of those who only watch."""
    hls: Hls = field(default_factory=Hls)
    rtmp: Rtmp | None = None
    paced: Paced | None = None
    """For a viewer by WebRTC."""
    late_ticks: int = 0
    viewer: asyncio.Event | None = None
    """Of whoever watches now; set when another one comes."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    under_way: asyncio.Task[Any] | None = None

    @property
    def outputs(self) -> list[Hls | Rtmp | Paced]:
        """Where the stream goes besides a viewer's WebSocket."""
        return [self.hls, *(output for output in (self.rtmp, self.paced) if output is not None)]


class Gateway:
    """Sessions by id, as many as the workers have room for, and MOST_PROBES more for probes."""

    def __init__(
        self, avatars: Sequence[Avatar], probe_key: str = "", publish: Callable[[str], Rtmp] | None = None,
        share: Share | None = None,
    ) -> None:  # fmt: skip
        """`publish` gives what hands a session on to a media server, by the session's id; `share` is what one client may
        take (by default all there is).

        Whoever tells `probe_key` may open probes, beside the others, on a checkpoint and with a seed of its choice; and be a
        worker."""
        if not avatars:
            raise ValueError("serve: there is no avatar to show; give --avatar PICTURE")
        self.avatars, self.probe_key = {a.key: a for a in avatars}, probe_key
        self._publish = publish
        self.split: Split | None = None
        """What workers are to follow; None: whatever they hold."""
        self.workers: dict[str, Worker] = {}
        self.came = asyncio.Event()
        """A worker has come, ever."""
        self.ending = False
        """The server ends: nobody who goes now is lost."""
        self.talks: dict[str, Talk] = {}
        self.ended: dict[str, Vitals] = {}
        """Of workers that are gone, as they told it last: by checkpoint."""
        self.lost_workers, self.moves, self.moved_s, self.slowest_move_s = 0, 0, 0.0, 0.0
        self.switches, self.switched_s = 0, 0.0
        self._opening, self._probing = Counter[str](), 0
        """By client; probes."""
        self._openings = Openings(share or Share(0, 0))
        self._later: set[asyncio.Task[Any]] = set()

    @property
    def capacity(self) -> int:
        return sum(worker.capacity for worker in self.workers.values())

    @property
    def free(self) -> int:
        taken = sum(not talk.probe for talk in self.talks.values()) + self._opening.total()
        return max(0, self.capacity - taken)

    def on(self, worker: Worker) -> int:
        """Sessions that a worker has."""
        return sum(talk.worker is worker for talk in self.talks.values())

    # Workers

    async def attach(self, line: Line) -> None:
        """Takes a worker in, for as long as its line lasts."""
        told, _ = await asyncio.wait_for(line.receive(), LOST_S)
        worker = Worker(line, told)
        if worker.name in self.workers:
            raise LostError(f"a worker named {worker.name} is here already")
        listening = asyncio.create_task(worker.listen())
        try:
            for shown in self.avatars.values():
                await worker.ask({"do": "avatar", "key": shown.key, "name": shown.name}, avatar_bytes(shown))
            if self.split is not None:
                await worker.follow(self.split)
            self.workers[worker.name] = worker
            self.came.set()
            why = await listening
            if not self.ending:
                log.warning("worker %s is lost: %s", worker.name, why)
        except LostError:
            log.warning("worker %s died before it was ready", worker.name)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            if self.workers.pop(worker.name, None) is not None:
                self._count(worker)

    def _count(self, worker: Worker) -> None:
        self.lost_workers += 1
        self.switches, self.switched_s = (
            self.switches + worker.state["switches"],
            self.switched_s + worker.state["switched_s"],
        )
        for name, told in worker.state["vitals"].items():
            made = self.ended.setdefault(name, Vitals())
            made += Vitals(**told)

    async def refresh(self) -> None:
        """Has the workers tell how they do now; one that is busy stays as it told it last."""
        asked = [asyncio.create_task(self._state_of(worker)) for worker in self.workers.values()]
        if asked:
            _, late = await asyncio.wait(asked, timeout=1.0)
            for task in late:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        for talk in self.talks.values():
            talk.checkpoint = talk.worker.state["on"].get(talk.id, talk.checkpoint)

    async def _state_of(self, worker: Worker) -> None:
        await worker.ask({"do": "state"})

    async def follow(self, wanted: Split) -> None:
        """Tells the workers what is wanted; they say when they have it."""
        if wanted == self.split:
            return
        self.split = wanted
        for worker in list(self.workers.values()):
            try:
                await worker.follow(wanted)
            except LostError:
                log.warning("worker %s is gone before it heard what is to serve", worker.name)

    def vitals(self) -> dict[str, Vitals]:
        """By checkpoint, of all workers that are and were."""
        found: dict[str, Vitals] = {}
        for worker in self.workers.values():
            for name, told in worker.state["vitals"].items():
                made = found.setdefault(name, Vitals())
                made += Vitals(**told)
        for name, before in self.ended.items():
            made = found.setdefault(name, Vitals())
            made += before
        return found

    # Sessions

    async def open(
        self, key: str, checkpoint: str | None = None, *, probe: bool = False, client: str = "", seed: int | None = None
    ) -> Talk | None:
        """A new session, on the worker with most room, on a checkpoint that is held or on the one that its id is routed to;
        None when there is no room. Raises KeyError for an avatar that is not offered, RefusedError for a checkpoint that is
        not held, and TooManyError for a client that has its share."""
        shown = self.avatars[key]
        self.sweep()
        probes = self._probing + sum(talk.probe for talk in self.talks.values())
        if probes >= MOST_PROBES if probe else not self.free:
            return None
        if not probe:
            had = sum(talk.client == client and not talk.probe for talk in self.talks.values())
            self._openings.count(client, had + self._opening[client])
        name = secrets.token_urlsafe(9)
        seed = secrets.randbelow(2**31) if seed is None else seed
        self._opening[client] += not probe
        self._probing += probe
        # To its end even if whoever asked goes away: a worker must have no session that nobody here knows.
        return await asyncio.shield(self._held(self._opened(name, shown, seed, checkpoint, probe, client)))

    async def _opened(
        self, name: str, shown: Avatar, seed: int, checkpoint: str | None, probe: bool, client: str
    ) -> Talk | None:
        try:
            for worker in self._by_room(probe=probe):
                try:
                    told, _ = await worker.open(name, shown.key, seed, checkpoint)
                except LostError:
                    continue
                made = Talk(name, secrets.token_urlsafe(24), shown.key, seed, probe, worker, told["checkpoint"], client)
                made.rtmp = self._publish(name) if self._publish and not probe else None
                self.talks[made.id] = made
                return made
            return None
        finally:
            self._opening[client] -= not probe
            self._opening += Counter()  # forgets who opens none
            self._probing -= probe

    async def watch(self, talk: Talk) -> tuple[str, bytes]:
        """Begins a stream for a viewer who comes, or comes back: its MIME type and its header. The session goes on.
        Raises NoWorkerError when its worker died and there is no other."""
        words, header = await self._whole(talk, lambda: self._watched(talk))
        talk.sent, talk.header = Sent(**words["sent"]), header
        for output in talk.outputs:
            output.begin(header)
        return str(words["mime"]), header

    async def tick(self, talk: Talk, late_s: float = 0.0, *, tell: bool = False) -> tuple[bytes, dict[str, Any]]:
        """Goes on by one tick: fragments that are ready, and what a viewer is told: `taken`, samples of the viewer's sound
        that were said so far, or dropped, and `at_s`, when in the stream they will have been; with `tell`, `state` too.

        `late_s` is how late the tick before came. Raises NoWorkerError when the worker died and there is no other."""
        return await self._whole(talk, lambda: self._ticked(talk, late_s, tell))

    def sweep(self) -> None:
        """Lets go of sessions that nobody has watched for a while, and of those that went on for too long."""
        now = time.monotonic()
        for talk in list(self.talks.values()):
            unwatched = talk.viewer is None and now - talk.seen_at > KEPT_S
            if unwatched or now - talk.made_at > LONGEST_S:
                self.close(talk)

    def close(self, talk: Talk) -> None:
        if self.talks.pop(talk.id, None) is not None:
            self._held(self._closed(talk))

    def _held(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """A task that nobody holds may vanish."""
        task = asyncio.ensure_future(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)
        return task

    async def _closed(self, talk: Talk) -> None:
        for output in talk.outputs:
            output.end()
        with suppress(LostError, RefusedError):
            await talk.worker.ask({"do": "close", "id": talk.id})

    def _by_room(self, *, probe: bool = False, crowded: bool = False) -> list[Worker]:
        """Workers that have room, those with most of it first. A probe needs none."""
        room = {
            w.name: w.capacity * (CROWDED if crowded else 1) - self.on(w) - w.opening for w in self.workers.values()
        }
        there = sorted(self.workers.values(), key=lambda w: (-room[w.name], w.name))
        return [w for w in there if probe or room[w.name] > 0]

    async def _whole(self, talk: Talk, work: Callable[[], Awaitable[Result]]) -> Result:
        """Does it to its end even if whoever asked goes away: the clock here and the session there must not part."""
        if talk.under_way is not None and not talk.under_way.done():
            await asyncio.wait({talk.under_way})
        made = talk.under_way = asyncio.ensure_future(work())
        made.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(made)

    async def _watched(self, talk: Talk) -> tuple[dict[str, Any], bytes]:
        talk.sent, talk.changed_header = None, b""
        return await self._asked(talk, {"do": "watch", "id": talk.id})

    async def _ticked(self, talk: Talk, late_s: float, tell: bool) -> tuple[bytes, dict[str, Any]]:
        inbox = talk.inbox
        first_s = None if talk.told_first else inbox.first_s
        asked = {"do": "tick", "id": talk.id, "late_s": late_s, "first_s": first_s, "tell": tell}
        words, made = await self._asked(talk, asked, inbox.due().astype("<i2").tobytes())
        said = inbox.said()
        talk.told_first = talk.told_first or first_s is not None
        talk.sent = Sent(**words["sent"])
        talk.next_frame, talk.checkpoint = talk.sent.next_frame, words["checkpoint"]
        at_s = (inbox.place - talk.sent.first_frame) / GRID_FPS + PRIMING / SAMPLE_HZ
        told = {"taken": float(inbox.taken + inbox.dropped), "at_s": at_s}
        if talk.paced is not None:
            talk.paced.say(inbox.place - TICK_FRAMES - talk.sent.first_frame, said.sound, said.heard_at)
        for output in talk.outputs:
            if talk.changed_header:
                output.begin(talk.changed_header)
            output.put(made)
        made, talk.changed_header = talk.changed_header + made, b""
        return made, {**told, "state": words["told"]} if tell else told

    async def _asked(self, talk: Talk, words: dict[str, Any], body: bytes = b"") -> tuple[dict[str, Any], bytes]:
        """Of the session's worker; of another one, to which it is moved, when that dies."""
        for _ in range(MOST_MOVES):
            try:
                return await talk.worker.ask(words, body)
            except LostError:
                await self._move(talk)
        raise NoWorkerError(f"{MOST_MOVES} workers died under this session; open another one")

    async def _move(self, talk: Talk) -> None:
        """Another worker hears the ring, and goes on after what was acknowledged. Raises NoWorkerError when there is none."""
        began, before = time.monotonic(), talk.worker
        first_frame, sound = talk.inbox.past()
        sent = asdict(talk.sent) if talk.sent else None
        past = {"first_frame": first_frame, "next_frame": talk.next_frame, "sent": sent}
        while talk.id in self.talks:
            for worker in self._by_room(probe=talk.probe, crowded=True):
                held = talk.checkpoint if talk.checkpoint in worker.state["held"] else None
                with suppress(
                    LostError, RefusedError
                ):  # then the next one, or the same again once it has told what it holds
                    words, header = await worker.open(
                        talk.id, talk.avatar, talk.seed, held, past, sound.astype("<i2").tobytes()
                    )
                    talk.worker, talk.checkpoint = worker, words["checkpoint"]
                    talk.changed_header = header if talk.sent and header != talk.header else b""
                    spent_s = time.monotonic() - began
                    self.moves, self.moved_s = self.moves + 1, self.moved_s + spent_s
                    self.slowest_move_s = max(self.slowest_move_s, spent_s)
                    log.warning("a session went from worker %s to %s in %.2f s", before.name, worker.name, spent_s)
                    return
            if time.monotonic() - began > PATIENCE_S:
                break
            await asyncio.sleep(POLL_S)
        raise NoWorkerError("its worker died, and there is no other; come again")
