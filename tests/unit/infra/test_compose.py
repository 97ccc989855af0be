"""The compose file, valid by the compose specification and true to the code that it starts; and what scrapes it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from tests.unit.infra.commands import accepted
from tests.unit.infra.deployed import (
    INFRA,
    SECRETS,
    compose,
    compose_text,
    interpolated,
    is_ours,
    is_read,
    kustomized,
    of_kind,
)

SERVICES = compose()["services"]
OURS = {name: s for name, s in SERVICES.items() if is_ours(s["image"])}


def refused(text: str) -> str:
    try:
        PyCompose.from_yaml(yaml.safe_dump(yaml.safe_load(text))).validate()
    except ValueError as error:
        return str(error)
    return ""


def test_it_is_valid_by_the_specification() -> None:
    assert refused(compose_text()) == ""
    assert "helthcheck" in refused(compose_text().replace("healthcheck:", "helthcheck:", 1))


def test_volumes_and_configs_that_services_use_are_declared() -> None:
    for name, service in SERVICES.items():
        for mount in service.get("volumes", []):
            source = mount.partition(":")[0]
            declared = source in compose()["volumes"] or mount == "/workspace" or (INFRA / "compose" / source).exists()
            assert declared, f"{name} mounts {mount}"
        assert {c["source"] for c in service.get("configs", [])} <= set(compose()["configs"])


def test_it_does_not_start_without_passwords() -> None:
    text = (INFRA / "compose" / "compose.yaml").read_text()
    for name in SECRETS:
        others = dict.fromkeys((s for s in SECRETS if s != name), "told")
        with pytest.raises(AssertionError, match=f"{name} has no value"):
            interpolated(text, others)
    example = (INFRA / "compose" / "env.example").read_text()
    named = set(re.findall(r"^#? ?([A-Z_]+)=", example, re.MULTILINE))
    assert named == set(re.findall(r"\$\{(\w+)", text)), "env.example names what the file reads"


@pytest.mark.parametrize("name", sorted(OURS))
def test_its_command_is_taken_and_its_variables_are_read(name: str) -> None:
    service = OURS[name]
    assert accepted([str(w) for w in service["command"]])
    told = service.get("environment") or {}
    assert {t for t in told if not is_read(t)} == set()
    assert all(isinstance(v, str) for v in told.values()), "YAML's true and 1 reach a program as other text"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_it_is_healthy_by_a_port_of_its_own_and_waits_for_who_is_there(name: str) -> None:
    service = SERVICES[name]
    assert service["image"].rpartition(":")[2][0].lstrip("v").isdigit() or re.match(r".*:v?\d", service["image"])
    check = service["healthcheck"]
    if name in ("bucket", "deployments"):
        assert check == {"disable": True}, "it ends by itself"
    else:
        assert check["test"][0] == "CMD"
    for other, how in service.get("depends_on", {}).items():
        waited = SERVICES[other]["healthcheck"]
        assert (how["condition"] == "service_healthy") == ("test" in waited), f"{name} waits for {other}"
    if name in OURS:
        assert service["user"] == "10001:10001"
        assert service["cap_drop"] == ["ALL"]
        if "test" in check:
            asked = accepted(check["test"][1:])["url"]
            port = int(asked.split(":")[2].partition("/")[0])
            told = {
                k: v
                for k, v in accepted([str(w) for w in service["command"]]).items()
                if k in ("port", "dashboard_address")
            }
            listens = {int(str(v).removeprefix(":")) for v in told.values()} or {8080}
            assert port in listens, f"{name}: {asked}, but it listens on {listens}"
    for published in service.get("ports", []):
        assert published.startswith("127.0.0.1:"), f"{name} is open to the network"


def test_addresses_lead_to_services_of_the_file() -> None:
    text = json.dumps(OURS)
    hosts = set(re.findall(r"(?:http|tcp)://([a-z-]+):\d+", text)) | set(re.findall(r"@([a-z-]+):\d+/", text))
    assert hosts <= set(SERVICES)
    assert {"prefect-server", "dask-scheduler", "objects", "ledger", "prefect-database"} <= hosts


def test_it_says_the_same_as_the_manifests() -> None:
    """One command in two places: a change to one must reach the other."""
    there = {
        m["metadata"]["name"]: m["spec"]["template"]["spec"]["containers"][0]
        for m in of_kind("gpu", "Deployment", "StatefulSet", "Job")
    }
    for name, service in OURS.items():
        if name in ("live", "dask-worker-gpu"):
            continue
        assert [str(w) for w in service["command"]] == there[name]["command"], name
    images = {c["image"] for c in there.values()} | {"prom/prometheus:v3.5.0"}
    assert {s["image"] for s in SERVICES.values()} <= images
    assert kustomized("gpu")


def test_prometheus_scrapes_ports_that_serve_metrics() -> None:
    told: dict[str, Any] = yaml.safe_load((INFRA / "prometheus" / "prometheus.yml").read_text())
    for job in told["scrape_configs"]:
        for target in (t for s in job["static_configs"] for t in s["targets"]):
            host, _, port = target.partition(":")
            command = accepted([str(w) for w in SERVICES[host]["command"]])
            assert int(port) in {
                int(str(command[k]).removeprefix(":")) for k in ("port", "dashboard_address") if k in command
            }
    mounted = SERVICES["prometheus"]["volumes"][0].partition(":")[0]
    assert (INFRA / "compose" / Path(mounted)).resolve() == INFRA / "prometheus" / "prometheus.yml"
