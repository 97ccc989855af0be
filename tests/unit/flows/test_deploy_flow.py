"""The deploy flow with Prefect, and a server of its own: no other one runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows import deploy as steps
from flows import deploy_gates
from store import deployments
from store.workspace import open_workspace
from tests.unit.flows.test_deploy import SPEECH_S, lively, published, quick  # noqa: F401 - for the test here
from tests.unit.flows.test_pipeline import artifacts
from tests.unit.flows.test_renderer import good
from tests.unit.serving.faces import net, publish
from tests.unit.serving.test_render import portrait


@pytest.mark.slow
def test_the_flow_probes_on_a_server_of_its_own_and_each_step_is_a_page(
    prefect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import deploy_flow

    monkeypatch.setattr(deploy_gates, "LEAST_FPS", 5.0)  # the machine may be busy
    monkeypatch.setattr(steps, "SEEDS", (0, 1, 2))
    place = open_workspace(tmp_path / "ws")
    name = published(place, lively(0))
    said: list[str] = []
    with deploy_flow.watched(said.append):
        told = deploy_flow.deploy(str(place.settings.workspace), name, 0.2, str(portrait(tmp_path)))
    assert told["state"] == "serving", told
    assert [s.partition(":")[0] for s in said] == ["gates", "canary", "load", "compare", "promote", "switch"]
    assert deployments.serving(place).stable == name
    for key, what in {
        "deploy-gates": "All passed.", "deploy-canary": "20% of the new sessions", "deploy-comparison": "| mouth_loudness |",
        "deploy-result": "100% of the new sessions",
    }.items():  # fmt: skip
        assert what in artifacts(prefect, key)[0]["data"]
    assert steps.shown(place)["servers"] == [], "the server ended with the flow"

    drawn = publish(place, net(painted=0.02), metrics=good())
    told = deploy_flow.deploy(str(place.settings.workspace), drawn, 0.3, str(portrait(tmp_path)))
    assert told["state"] == "serving", told
    assert deployments.wanted(place).stable == f"{name}+{drawn}"
    for key, what in {
        "deploy-gates": "| avatar: sharpness |", "deploy-canary": "30% of the new sessions", "deploy-comparison": "| mouth_shown |",
    }.items():  # fmt: skip
        assert any(what in page["data"] for page in artifacts(prefect, key))
