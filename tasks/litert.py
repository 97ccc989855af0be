"""LiteRT networks, made without the line of chatter that the library writes from C++ where no setting reaches it."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CHATTER = b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU."

_one_at_a_time = threading.Lock()


def interpreter(model: bytes) -> Any:
    """An interpreter on one thread, its tensors allocated. It keeps them while it runs, so each thread has its own."""
    from ai_edge_litert.interpreter import Interpreter

    with _one_at_a_time, _without_chatter():
        made = Interpreter(model_content=model, num_threads=1)
        made.allocate_tensors()
    return made


@contextmanager
def _without_chatter() -> Iterator[None]:
    """What is written to standard error meanwhile, by whomever, is passed on afterwards, but for that line."""
    sys.stderr.flush()
    real = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            held.seek(0)
            for line in held.read().splitlines(keepends=True):
                if line.strip() != CHATTER:
                    os.write(real, line)
            os.close(real)
