"""Which videos a run is computing now, so that another one that begins meanwhile leaves them to it.

A claim spares work and decides nothing: what is stale is told by the tables alone, and a claim that is lost costs the same
rows computed twice, of which the tables keep one. It ends with the run that made it, with its process, and when nothing was
heard of it for EXPIRES_S. Names are told as HMACs: those of a killed run are nobody's to erase.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Collection
from contextlib import suppress
from types import TracebackType

import psutil
import sqlalchemy as sa

from store.ledger import Ledger, claims, hmac_of, leases

EXPIRES_S = 600.0
"""Longer than a batch takes, and than a ledger that is away is waited for."""
RENEWED_S = 30.0
LOOK_S = 1.0
"""How often somebody who waits looks again."""
PREFIX = "run "
"""Of the names of leases that tell which runs are alive."""
_here: set[str] = set()
"""Runs of this process that have not ended. One whose ledger went away could not take back its claims."""


class Claims:
    """Of one run. Whoever waits holds none, so that no two runs wait for each other."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}:{secrets.token_hex(4)}"
        self.held: set[str] = set()
        self._renewed_at = 0.0

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _here.discard(self.holder)
        if kind is None:
            self.release()
        elif self._renewed_at:
            with suppress(
                sa.exc.DBAPIError, OSError, ValueError
            ):  # what went wrong may be the ledger: it is not waited for
                self._end()

    def take(self, names: Collection[str]) -> set[str]:
        """Claims those that no other run has; gives all that are held, these and earlier ones."""
        _here.add(self.holder)
        secret = self._ledger.secret()
        by_hmac = {hmac_of(secret, name): name for name in names}
        lease = {"name": f"{PREFIX}{self.holder}", "holder": self.holder, "token": 0, "taken_at": time.time()}

        def write() -> set[str]:
            with self._ledger.writing() as connection:
                for dead in [r.holder for r in connection.execute(_runs()) if not _is_alive(r.holder, r.taken_at)]:
                    _end(connection, dead)
                runs = sa.select(leases.c.holder).where(leases.c.name.startswith(PREFIX))
                connection.execute(claims.delete().where(claims.c.holder.not_in(runs)))
                self._ledger.put_in(connection, leases, [lease])
                self._ledger.put_new(connection, claims, [{"name": n, "holder": self.holder} for n in sorted(by_hmac)])
                mine = sa.select(claims.c.name).where(claims.c.holder == self.holder)
                return {str(name) for name in connection.execute(mine).scalars()}

        found = self._ledger.waited_for(write)
        self._renewed_at = time.monotonic()
        self.held |= {by_hmac[h] for h in found if h in by_hmac}
        return self.held

    def renew(self) -> None:
        """Tells other machines that the run is alive."""
        if self.held and time.monotonic() - self._renewed_at > RENEWED_S:
            lease = {"name": f"{PREFIX}{self.holder}", "holder": self.holder, "token": 0, "taken_at": time.time()}
            self._ledger.put(leases, [lease])
            self._renewed_at = time.monotonic()

    def release(self) -> None:
        """Lets others have all of it."""
        if self._renewed_at:
            self._ledger.waited_for(self._end)

    def _end(self) -> None:
        with self._ledger.writing() as connection:
            _end(connection, self.holder)
        self.held, self._renewed_at = set(), 0.0

    def wait_for(self, name: str, until: float | None = None) -> bool:
        """Waits until nobody who is alive has claimed the name; False when `until`, of time.monotonic(), comes first."""
        self.release()
        told = hmac_of(self._ledger.secret(), name)
        holder = sa.select(claims.c.holder).where(claims.c.name == told)
        while True:
            rows = self._ledger.rows(sa.select(leases.c.holder, leases.c.taken_at).where(leases.c.holder.in_(holder)))
            if not any(_is_alive(r["holder"], r["taken_at"]) for r in rows):
                return True
            if until is not None and time.monotonic() > until:
                return False
            time.sleep(LOOK_S)


def _runs() -> sa.Select[tuple[str, float]]:
    return sa.select(leases.c.holder, leases.c.taken_at).where(leases.c.name.startswith(PREFIX))


def _end(connection: sa.Connection, holder: str) -> None:
    connection.execute(claims.delete().where(claims.c.holder == holder))
    connection.execute(leases.delete().where(leases.c.name == f"{PREFIX}{holder}"))


def _is_alive(holder: str, taken_at: float) -> bool:
    host, pid, started, _ = holder.rsplit(":", 3)
    if time.time() - taken_at >= EXPIRES_S:
        return False
    if host != socket.gethostname():
        return True
    return holder in _here if int(pid) == os.getpid() else _started(int(pid)) == int(started)


def _started(pid: int) -> int:
    """When the process began, in Unix seconds; 0 when there is none. A number may be given to another one."""
    try:
        return int(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return 0
