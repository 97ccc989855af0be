"""One thread for torch: a network this small only waits for the others. And a gateway whose avatar shows what it hears."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from serving.routing import Gateway


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def flashed(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Gateway, TestClient]]:
    """A gateway with two places, and a client of it."""
    from starlette.testclient import TestClient

    from serving import remote
    from tests.unit.serving.flashing import flashing
    from tests.unit.serving.talker import head, served
    from tests.unit.serving.test_gateway import ready

    monkeypatch.setattr(remote, "LOST_S", 30.0)  # a machine that is busy for seconds is no dead worker
    gateway, _, app = served(flashing(), [head("anna")], 2)
    with TestClient(app) as client:
        yield gateway, ready(client)
