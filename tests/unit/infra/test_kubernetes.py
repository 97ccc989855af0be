"""The overlays as `kubectl apply -k` would send them: valid by schema, and true to the code that they start."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from flows.runners import GPU_RESOURCE
from infra import passwords
from tests.unit.infra.commands import accepted
from tests.unit.infra.deployed import (
    INFRA,
    OF_IMAGE,
    OVERLAYS,
    containers,
    is_ours,
    is_read,
    kustomized,
    of_kind,
    pods,
)

KUBERNETES = "1.34"

CASES = [
    pytest.param(overlay, place, id=f"{overlay}-{m['kind']}-{m['metadata']['name']}")
    for overlay in OVERLAYS
    for place, m in enumerate(kustomized(overlay))
]


def refused(manifest: dict[str, Any]) -> str:
    try:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error.message)
    return ""


@pytest.mark.parametrize(("overlay", "place"), CASES)
def test_a_manifest_is_valid_by_the_schema_of_kubernetes(overlay: str, place: int) -> None:
    assert refused(kustomized(overlay)[place]) == ""


def test_a_field_that_kubernetes_does_not_know_is_refused() -> None:
    made = copy.deepcopy(of_kind("local", "Deployment")[0])
    made["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    assert "livenesProbe" in refused(made)
    assert refused({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"ports": "80"}})


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_commands_of_our_images_are_taken_by_their_programs(overlay: str) -> None:
    ours = [(n, c) for n, c in containers(overlay) if is_ours(c["image"])]
    assert {"prefect-server", "prefect-worker", "dask-scheduler", "dask-worker", "annotation", "live"} <= {
        n for n, _ in ours
    }
    for name, container in ours:
        told = accepted(container["command"])
        ports = {p["containerPort"] for p in container.get("ports", [])}
        listens = {v for k, v in told.items() if k in ("port", "worker_port", "nanny_port")}
        listens |= {v.removeprefix(":") for k, v in told.items() if k == "dashboard_address"}
        if name == "prefect-worker":
            from prefect.settings import Settings

            listens = {Settings().worker.webserver.port}
        assert {int(p) for p in listens} == ports, f"{overlay}: {name} listens on {listens}, its ports say {ports}"


def test_a_command_that_is_none_is_refused() -> None:
    for words in (
        ["headroom", "serve", "--prt", "1"],
        ["headroom", "serv"],
        ["dask", "worker", "tcp://x:1", "--nothing"],
        ["prefect", "server", "start", "--hst", "1"],
    ):
        with pytest.raises(Exception, match=r"(?i)no such|unknown|exist"):
            accepted(words)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_environment_variable_is_read_by_somebody(overlay: str) -> None:
    held = {m["metadata"]["name"]: set(m.get("data") or {}) for m in of_kind(overlay, "ConfigMap")}
    for name, container in containers(overlay):
        told = {e["name"] for e in container.get("env", [])}
        for source in container.get("envFrom", []):
            if "configMapRef" in source:
                told |= held[source["configMapRef"]["name"]]
            else:
                told |= set(passwords.KEYS[source["secretRef"]["name"]])
        used = {word for word in told if f"$({word})" in json.dumps(container)}
        known = OF_IMAGE if not is_ours(container["image"]) else set()
        unread = {t for t in told - used - known if not is_read(t)}
        assert unread == set(), f"{overlay}: {name} sets what nothing reads"


def test_a_variable_that_nothing_reads_is_found() -> None:
    assert is_read("HEADROOM_LEDGER_URL")
    assert is_read("PREFECT_API_DATABASE_CONNECTION_URL")
    assert is_read("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES")
    for name in ("HEADROOM_LEGER_URL", "PREFECT_APPI_URL", "DASK_DISTRIBUTED__SCHEDULER__ALOWED_FAILURES", "LEDGER"):
        assert not is_read(name)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_a_pod_refers_to_is_there(overlay: str) -> None:
    there = {
        kind: {m["metadata"]["name"] for m in of_kind(overlay, kind)} for kind in ("ConfigMap", "PersistentVolumeClaim")
    }
    made = {str(s["metadata"]["name"]) for s in passwords.manifests("headroom")}  # type: ignore[index]
    asked: set[str] = set()
    for name, _, spec in pods(overlay):
        held = {v["name"] for v in spec.get("volumes", [])}
        claims = {c["metadata"]["name"] for m in of_kind(overlay, "StatefulSet") if m["metadata"]["name"] == name
                  for c in m["spec"]["volumeClaimTemplates"]}  # fmt: skip
        for volume in spec.get("volumes", []):
            if "configMap" in volume:
                assert volume["configMap"]["name"] in there["ConfigMap"]
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in there["PersistentVolumeClaim"]
            asked |= {volume["secret"]["secretName"]} if "secret" in volume else set()
        for container in spec["containers"]:
            assert {m["name"] for m in container.get("volumeMounts", [])} <= held | claims
            for source in container.get("envFrom", []):
                if "configMapRef" in source:
                    assert source["configMapRef"]["name"] in there["ConfigMap"]
                else:
                    asked.add(source["secretRef"]["name"])
            for told in (
                e["valueFrom"]["secretKeyRef"]
                for e in container.get("env", [])
                if "secretKeyRef" in e.get("valueFrom", {})
            ):
                asked.add(told["name"])
                secret = next(s for s in passwords.manifests("headroom") if s["metadata"]["name"] == told["name"])  # type: ignore[index]
                assert told["key"] in secret["stringData"]  # type: ignore[operator]
    assert asked <= made
    assert set(passwords.KEYS) <= asked


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_container_is_root_and_each_says_what_it_needs(overlay: str) -> None:
    for name, _, spec in pods(overlay):
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["automountServiceAccountToken"] is False
        for container in spec["containers"]:
            held = container["securityContext"]
            assert (held["allowPrivilegeEscalation"], held["readOnlyRootFilesystem"]) == (False, True), name
            assert held["capabilities"]["drop"] == ["ALL"]
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
            assert "memory" in container["resources"]["limits"], name
            tag = container["image"].rpartition(":")[2]
            assert tag[0].isdigit(), f"{name}: {container['image']} names no version"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_probes_ask_ports_that_are_there(overlay: str) -> None:
    for name, container in containers(overlay):
        if name in ("deployments", "bucket"):
            continue
        ports = {p["name"] for p in container["ports"]}
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = container[kind]
            assert "exec" in asked or asked["httpGet"]["port"] in ports, f"{name}: {kind}"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_services_budgets_and_scalers_find_their_pods(overlay: str) -> None:
    labels = {name: told for name, told, _ in pods(overlay)}
    ports = {name: {p["name"] for p in c.get("ports", [])} for name, c in containers(overlay)}
    for made in of_kind(overlay, "Service"):
        chosen = [n for n, told in labels.items() if made["spec"]["selector"].items() <= told.items()]
        assert chosen == [made["metadata"]["name"]]
        assert {p["targetPort"] for p in made["spec"]["ports"]} <= ports[chosen[0]]
    for made in of_kind(overlay, "PodDisruptionBudget"):
        assert any(made["spec"]["selector"]["matchLabels"].items() <= told.items() for told in labels.values())
    targets = {(m["kind"], m["metadata"]["name"]) for m in of_kind(overlay, "Deployment", "StatefulSet")}
    for made in of_kind(overlay, "HorizontalPodAutoscaler"):
        aim = made["spec"]["scaleTargetRef"]
        assert (aim["kind"], aim["name"]) in targets
    for made in of_kind(overlay, "Deployment", "StatefulSet"):
        assert made["spec"]["selector"]["matchLabels"].items() <= made["spec"]["template"]["metadata"]["labels"].items()


def reachable(overlay: str, source: str, target: str, port: int) -> bool:
    """Whether pods of one workload may open a port of another, by the network policies."""
    labels = {name: told for name, told, _ in pods(overlay)}

    def chosen(selector: dict[str, Any], told: dict[str, str]) -> bool:
        wanted = selector.get("matchLabels", {}).items() <= told.items()
        return wanted and all(told.get(e["key"]) in e["values"] for e in selector.get("matchExpressions", []))

    policies = [p["spec"] for p in of_kind(overlay, "NetworkPolicy")]
    rules = [r for p in policies if chosen(p["podSelector"], labels[target]) for r in p.get("ingress", [])]
    return any(
        any(
            "podSelector" in f and "namespaceSelector" not in f and chosen(f["podSelector"], labels[source])
            for f in r["from"]
        )
        and port in [p["port"] for p in r["ports"]]
        for r in rules
    )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_who_must_talk_may_and_nobody_else(overlay: str) -> None:
    for source, target, port in (
        ("prefect-worker", "prefect-server", 4200), ("deployments", "prefect-server", 4200), ("prefect-worker", "dask-scheduler", 8786),
        ("dask-worker", "dask-scheduler", 8786), ("dask-scheduler", "dask-worker", 8788), ("dask-scheduler", "dask-worker", 8789),
        ("prefect-worker", "live", 8700),
    ):  # fmt: skip
        assert reachable(overlay, source, target, port), f"{source} can't reach {target}"
    for source, target, port in (
        ("dask-worker", "prefect-server", 4200), ("live", "dask-scheduler", 8786), ("annotation", "dask-worker", 8788),
        ("dask-worker", "live", 8700), ("dask-worker", "annotation", 8600),
    ):  # fmt: skip
        assert not reachable(overlay, source, target, port), f"{source} reaches {target}"
    if overlay == "local":
        clients = [n for n, labels, _ in pods(overlay) if labels.get("headroom/stores") == "client"]
        assert {"prefect-worker", "dask-worker", "annotation", "live", "bucket"} <= set(clients)
        for client in clients:
            assert reachable(overlay, client, "objects", 8333)
        assert reachable(overlay, "prefect-server", "prefect-database", 5432)
        assert not reachable(overlay, "dask-worker", "prefect-database", 5432)


def test_workers_announce_a_gpu_and_ask_for_one() -> None:
    for overlay in ("gpu", "cloud"):
        held = dict(containers(overlay))
        assert held["dask-worker-gpu"]["resources"]["limits"]["nvidia.com/gpu"] == 1
        assert accepted(held["dask-worker-gpu"]["command"])["resources"] == f"{GPU_RESOURCE}=24"
        assert accepted(held["dask-worker"]["command"])["resources"] is None
        told = {n: s for n, _, s in pods(overlay)}
        for name in (
            "prefect-worker",
            "dask-worker",
            "dask-worker-gpu",
        ):  # a fingerprint tells which weights made a row
            assert {"name": "models", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}} in told[name][
                "volumes"
            ]
    assert "dask-worker-gpu" not in dict(containers("local"))


def test_backends_that_an_overlay_chooses_exist() -> None:
    from importlib import import_module

    for overlay in ("gpu", "cloud"):
        planning = next(m for m in of_kind(overlay, "ConfigMap") if m["metadata"]["name"].startswith("planning"))
        for part in planning["data"]["HEADROOM_BACKENDS"].split():
            signal, _, backend = part.partition("=")
            held = import_module(f"tasks.signals.{signal}").BACKENDS[backend.partition("?")[0]]
            assert held.changes["resources"].gpu_gib > 0, f"{part} asks for no GPU"


def test_live_scales_by_a_metric_that_its_servers_expose() -> None:
    from tests.unit.infra.exposed import exposed

    told = exposed()
    scaler = next(m for m in of_kind("cloud", "HorizontalPodAutoscaler") if m["metadata"]["name"] == "live")
    metric = scaler["spec"]["metrics"][0]["pods"]
    rule = yaml.safe_load((INFRA / "prometheus" / "adapter.yaml").read_text())["rules"][0]
    assert metric["metric"]["name"] == rule["name"]["as"] == "headroom_sessions"
    assert rule["seriesQuery"].partition("{")[0] in told["headroom_sessions"]
    room = int(accepted(dict(containers("cloud"))["live"]["command"])["sessions"])
    wanted = float(metric["target"]["averageValue"].removesuffix("m")) / 1000
    assert 0.5 * room <= wanted < room, "another pod must come before the last place is taken"
    pod = next(s for n, _, s in pods("cloud") if n == "live")
    stop = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    waits = accepted(stop)["until_idle"]
    from serving.routing import LONGEST_S

    assert LONGEST_S <= waits < pod["terminationGracePeriodSeconds"], "no session is cut off by scaling down"
    notes = next(m for m in of_kind("cloud", "Deployment") if m["metadata"]["name"] == "live")["spec"]["template"][
        "metadata"
    ]["annotations"]
    assert notes["prometheus.io/port"] == "8700"


def test_secrets_belong_together() -> None:
    made = {s["metadata"]["name"]: s["stringData"] for s in passwords.manifests("elsewhere")}  # type: ignore[index]
    assert made["ledger"]["POSTGRES_PASSWORD"] in made["ledger"]["HEADROOM_LEDGER_URL"]  # type: ignore[index]
    account = json.loads(made["objects-accounts"]["s3.json"])["identities"][0]["credentials"][0]  # type: ignore[index]
    assert account["secretKey"] == made["objects"]["AWS_SECRET_ACCESS_KEY"]  # type: ignore[index]
    again = {s["metadata"]["name"]: s["stringData"] for s in passwords.manifests("elsewhere")}  # type: ignore[index]
    assert again["ledger"] != made["ledger"]
    for manifest in passwords.manifests("elsewhere"):
        assert refused(manifest) == ""
    for name, keys in passwords.KEYS.items():
        assert set(keys) <= set(made[name])  # type: ignore[arg-type]


def test_no_overlay_holds_a_secret() -> None:
    for overlay in OVERLAYS:
        assert of_kind(overlay, "Secret") == []
    assert not list(Path(INFRA).rglob("*.env"))
