"""A worker's end of its line: it does what the gateway asks for, and says once a second that it is there and how it does.

A session lives here for as long as the line does: when that is cut, the gateway has given its sessions to others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import numpy as np

from serving.checkpoints import Split
from serving.lines import Line, LostError, Message, avatar_from
from serving.live import Past
from serving.publish import Sent
from serving.sessions import Sessions

log = logging.getLogger("headroom.serving")

STATE_S = 1.0
MOST_ASKED = 64
"""Requests under way at once; the gateway has one for each session."""


async def work(sessions: Sessions, line: Line, name: str) -> None:
    """Until the line is lost, or it is cancelled."""
    await line.send({"hello": name, "capacity": sessions.capacity, "state": sessions.state()})
    told: dict[str, asyncio.Task[None]] = {"beat": asyncio.create_task(_beat(sessions, line))}
    asked: set[asyncio.Task[None]] = set()
    try:
        while True:
            words, body = await line.receive()
            if words["do"] == "follow":
                # One at a time, in their order: what is loaded for the one before is there for the next.
                told["follow"] = asyncio.create_task(
                    _follow(sessions, line, Split(**words["split"]), told.get("follow"))
                )
                continue
            if len(asked) >= MOST_ASKED:
                raise LostError(f"the gateway asks for {len(asked)} things at once, more than {MOST_ASKED}")
            task = asyncio.create_task(_answer(sessions, line, words, body))
            asked.add(task)
            task.add_done_callback(asked.discard)
    except LostError as error:
        log.info("the line to the gateway is lost: %s", error)
    finally:
        parts = [*told.values(), *asked]
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
        sessions.end()


async def _beat(sessions: Sessions, line: Line) -> None:
    with suppress(LostError):
        while True:
            await asyncio.sleep(STATE_S)
            await line.send({"state": sessions.state()})


async def _follow(sessions: Sessions, line: Line, wanted: Split, before: asyncio.Task[None] | None) -> None:
    if before is not None:
        await before
    await sessions.follow(wanted)
    with suppress(LostError):
        await line.send({"state": sessions.state()})


async def _answer(sessions: Sessions, line: Line, words: Mapping[str, Any], body: bytes) -> None:
    try:
        told, made = await _done(sessions, words, body)
    except KeyError as error:
        told, made = {"refused": f"{words['do']}: there is no {error} here"}, b""
    except Exception as error:
        # Whatever a model raises ends the session that met it, and not the others.
        log.exception("%s failed", words["do"])
        told, made = {"refused": f"{words['do']}: {type(error).__name__}: {error}"}, b""
    with suppress(LostError):
        await line.send({"n": words["n"], **told}, made)


async def _done(sessions: Sessions, words: Mapping[str, Any], body: bytes) -> Message:
    """Raises KeyError for a session, an avatar or a checkpoint that is not here."""
    match words["do"]:
        case "avatar":
            sessions.avatars[words["key"]] = avatar_from(words["key"], words["name"], body)
            return {}, b""
        case "state":
            return {"state": sessions.state()}, b""
        case "open":
            past = _past(words["past"], body) if words.get("past") else None
            live = await sessions.open(words["id"], words["avatar"], words["seed"], words["checkpoint"], past)
            header = live.stream.header if past and past.sent else b""
            return {"checkpoint": live.checkpoint}, header
        case "watch":
            live = sessions.lives[words["id"]]
            mime, header = await sessions.draw(live.watch)
            return {"mime": mime, "sent": asdict(live.stream.sent)}, header
        case "tick":
            live = sessions.lives[words["id"]]
            live.late(words["late_s"], words["first_s"])
            made, sent = await sessions.draw(live.tick, np.frombuffer(body, "<i2").astype(np.int16))
            told = {"sent": asdict(sent), "checkpoint": live.checkpoint}
            return {**told, "told": live.told()} if words["tell"] else told, made
        case "close":
            sessions.close(words["id"])
            return {}, b""
        case other:
            raise KeyError(other)


def _past(told: Mapping[str, Any], body: bytes) -> Past:
    sent = Sent(**told["sent"]) if told["sent"] else None
    return Past(told["first_frame"], np.frombuffer(body, "<i2").astype(np.int16), told["next_frame"], sent)
