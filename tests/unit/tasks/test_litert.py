"""Networks are made in silence; what others say meanwhile is heard."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from infra import weights
from tasks.litert import interpreter


def test_making_a_network_prints_nothing() -> None:
    code = """
from infra import weights
from tasks.litert import interpreter
made = interpreter(weights.path("face_mesh").read_bytes())
made.invoke()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_what_is_said_meanwhile_is_passed_on(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import ai_edge_litert.interpreter as litert

    class Talking(litert.Interpreter):  # type: ignore[misc]
        def allocate_tensors(self) -> None:
            os.write(2, b"something else\nINFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n")
            super().allocate_tensors()

    monkeypatch.setattr(litert, "Interpreter", Talking)
    interpreter(weights.path("face_blendshapes").read_bytes())
    assert capfd.readouterr().err == "something else\n"
