"""LiteRT networks, made without the line of chatter that the library writes from C++ where no setting reaches it."""

from __future__ import annotations

import os
import struct
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

CHATTER = b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU."
_OUTPUTS, _OPERATORS = 8, 10
"""Fields of a SubGraph in TFLite's schema, as offsets in its table."""

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


def ending_at(model: bytes, outputs: Sequence[int]) -> bytes:
    """The network cut down to what some of its tensors take: LiteRT runs every operator, also for outputs unread.

    `outputs` are positions in the network's list of outputs, which become the only ones, in this order.
    """
    from ai_edge_litert import schema_py_generated as schema

    made = bytearray(model)
    graph = schema.Model.GetRootAsModel(made, 0).Subgraphs(0)
    wanted = [int(graph.Outputs(i)) for i in outputs]
    maker = {int(t): i for i in range(graph.OperatorsLength()) for t in graph.Operators(i).OutputsAsNumpy()}
    needed: set[int] = set()
    todo = list(wanted)
    while todo:
        operator = maker.get(todo.pop())
        if operator is not None and operator not in needed:
            needed.add(operator)
            todo += [int(t) for t in graph.Operators(operator).InputsAsNumpy()]
    # A vector of the flat buffer is its length, then offsets from where each stands; both are shortened in place.
    first = graph._tab.Vector(graph._tab.Offset(_OPERATORS))
    targets = [first + 4 * i + struct.unpack_from("<I", made, first + 4 * i)[0] for i in sorted(needed)]
    struct.pack_into("<I", made, first - 4, len(targets))
    for i, target in enumerate(targets):
        struct.pack_into("<I", made, first + 4 * i, target - (first + 4 * i))
    first = graph._tab.Vector(graph._tab.Offset(_OUTPUTS))
    struct.pack_into(f"<I{len(wanted)}i", made, first - 4, len(wanted), *wanted)
    return bytes(made)
