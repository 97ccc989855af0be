"""Networks are loaded once, each thread its own where it must, and let go when their stage is over."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks import networks


class Network:
    """What can be watched going away."""


@pytest.fixture(autouse=True)
def _none_held() -> Iterator[None]:
    networks.release()
    yield
    networks.release()


@networks.per_process
def shared(name: str) -> Network:
    return Network()


@networks.per_thread
def own(name: str) -> Network:
    return Network()


def test_a_network_is_loaded_once_for_each_of_its_arguments() -> None:
    for get in (shared, own):
        assert get("a") is get("a")
        assert get("a") is not get("b")


def test_threads_share_one_or_have_one_each() -> None:
    with ThreadPoolExecutor(2) as pool:
        both = threading.Barrier(2)

        def load(_: int) -> tuple[Network, Network]:
            both.wait()
            return shared("a"), own("a")

        (first, first_own), (second, second_own) = pool.map(load, range(2))
    assert first is second
    assert first_own is not second_own


def test_a_threads_networks_go_with_it() -> None:
    seen: list[weakref.ref[Network]] = []
    thread = threading.Thread(target=lambda: seen.append(weakref.ref(own("a"))))
    thread.start()
    thread.join()
    gc.collect()
    assert seen[0]() is None


def test_a_new_stage_lets_the_networks_of_all_threads_go() -> None:
    with ThreadPoolExecutor(1) as pool:
        with networks.stage("timelines"):
            held = [weakref.ref(shared("a")), weakref.ref(own("a")), weakref.ref(pool.submit(own, "a").result())]
        with networks.stage("timelines"):
            assert all(ref() is not None for ref in held)
        with networks.stage("signals"):
            assert [ref() for ref in held] == [None, None, None]


def test_a_stage_at_work_keeps_its_networks() -> None:
    with networks.stage("timelines"):
        held = shared("a")
        with networks.stage("signals"):
            assert shared("a") is held
    with networks.stage("signals"):
        assert shared("a") is not held


def test_a_load_that_fails_is_tried_again() -> None:
    tries = []

    @networks.per_process
    def missing() -> Network:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("weights are not there")
        return Network()

    with pytest.raises(ValueError, match="not there"):
        missing()
    assert missing() is missing()
