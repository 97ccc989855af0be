"""Machines on one machine: network namespaces on a bridge, each of which can be cut off and joined again (Linux, root)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

SUBNET = "10.213.77"


def can_make_networks() -> str:
    """Why not; empty when it can."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "making network namespaces needs root and ip"
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode:
        return "this kernel or container allows no network namespaces"
    return ""


@dataclass(frozen=True)
class Network:
    """`host` is this machine's own address on the bridge; machines are numbered from 0."""

    name: str
    host: str = f"{SUBNET}.1"

    def address(self, machine: int) -> str:
        return f"{SUBNET}.{10 + machine}"

    def on(self, machine: int) -> list[str]:
        """What goes before a command that is to run there."""
        return ["ip", "netns", "exec", f"{self.name}-{machine}"]

    def cut(self, machine: int) -> None:
        """Nothing reaches it, and nothing that it sends arrives, as when a cable is pulled."""
        _ip("link", "set", f"{self.name}v{machine}", "down")

    def join(self, machine: int) -> None:
        _ip("link", "set", f"{self.name}v{machine}", "up")


@contextmanager
def network(num_machines: int) -> Iterator[Network]:
    made = Network(f"hr{os.getpid()}"[:9])
    try:
        _ip("link", "add", made.name, "type", "bridge")
        _ip("addr", "add", f"{made.host}/24", "dev", made.name)
        _ip("link", "set", made.name, "up")
        for i in range(num_machines):
            space, outer = f"{made.name}-{i}", f"{made.name}v{i}"
            _ip("netns", "add", space)
            _ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("link", "set", outer, "master", made.name, "up")
            for told in (("addr", "add", f"{made.address(i)}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
                _ip("-n", space, *told)
            _ip("-n", space, "link", "set", "lo", "up")
        yield made
    finally:
        for i in range(num_machines):
            for gone in (["link", "del", f"{made.name}v{i}"], ["netns", "del", f"{made.name}-{i}"]):
                subprocess.run(["ip", *gone], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", made.name], capture_output=True, check=False)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
