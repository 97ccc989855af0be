"""A live session in a file: what a real server said to a viewer."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from flows import live_session
from flows.deploy_probe import ProbeError, speech
from flows.live_session import record
from store.deployments import Server
from store.workspace import open_workspace
from tests.unit.flows.test_deploy import lively, published, served


def test_a_session_is_a_file_with_all_that_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_session, "BEFORE_S", 0.4)
    monkeypatch.setattr(live_session, "AFTER_S", 0.8)
    place = open_workspace(tmp_path / "ws")
    name = published(place, lively(0))
    out = tmp_path / "live" / "said.mp4"
    with served(place) as (sessions, server):
        told = record(server, speech(1.6, 3.0), out, "somebody who is not offered")
        assert (told["checkpoint"], told["avatar"], told["lost_frames"]) == (name, next(iter(sessions.avatars)), 0)
    assert [p.name for p in out.parent.iterdir()] == ["said.mp4"]
    with av.open(str(out)) as container:
        assert [s.type for s in container.streams] == ["video", "audio"]
        assert container.duration is not None
        assert container.duration / 1e6 >= 2.6
        sound = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    loud = [float(np.abs(part).mean()) for part in np.array_split(sound, 8)]
    assert max(loud) > 20 * loud[-1], "after the speech there is silence"
    with pytest.raises(ProbeError, match="the server does not tell its avatars"):
        record(Server("s", "http://127.0.0.1:9", "", 0, 0.0), speech(0.1), out)
