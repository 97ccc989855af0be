"""What the images, the compose file and the overlays say, as data: read by the tests of all three."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
INFRA = ROOT / "infra"
OVERLAYS = ("local", "gpu", "cloud")
PACKAGES = ("headroom", "flows", "tasks", "store", "modeling", "serving", "dashboards", "infra")
OTHERS = {
    # Read by boto3 and by Lance's object store, and set by the tests that run against an S3 server.
    "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_ALLOW_HTTP",
    "AWS_EC2_METADATA_DISABLED", "HF_HUB_OFFLINE",
    # Of Python, of numeric libraries, of the container runtime, of pip and of the shell.
    "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "OMP_NUM_THREADS", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES",
    "PIP_NO_CACHE_DIR", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_ROOT_USER_ACTION", "PATH",
}  # fmt: skip
OF_IMAGE = {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD", "PGDATA"}


def interpolated(text: str, values: Mapping[str, str]) -> str:
    """A compose file as compose reads it: `${NAME}`, `${NAME:-default}`, `${NAME:?message}`."""

    def value(found: re.Match[str]) -> str:
        name, how, rest = found[1], found[2], found[3] or ""
        if told := values.get(name):
            return told
        assert how == ":-", f"{name} has no value: {rest}"
        return rest

    return re.sub(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}", value, text)


SECRETS = ("LEDGER_PASSWORD", "PREFECT_PASSWORD", "OBJECTS_KEY", "OBJECTS_SECRET")


@cache
def compose_text() -> str:
    return interpolated((INFRA / "compose" / "compose.yaml").read_text(), dict.fromkeys(SECRETS, "told"))


@cache
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load(compose_text()))


@cache
def kustomized(overlay: str) -> list[dict[str, Any]]:
    """The manifests that `kubectl apply -k` would send."""
    kubectl = Path(sys.executable).with_name("kubectl")
    folder = INFRA / "kubernetes" / "overlays" / overlay
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(overlay: str, *kinds: str) -> list[dict[str, Any]]:
    return [m for m in kustomized(overlay) if m["kind"] in kinds]


def pods(overlay: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(name, labels, spec) of the pods that the overlay's workloads make."""
    for made in of_kind(overlay, "Deployment", "StatefulSet", "Job"):
        template = made["spec"]["template"]
        yield made["metadata"]["name"], template["metadata"]["labels"], template["spec"]


def containers(overlay: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, _, spec in pods(overlay):
        for container in spec["containers"]:
            yield name, container


def is_ours(image: str) -> bool:
    return "headroom-" in image


@cache
def read_by_code() -> frozenset[str]:
    """Environment variables that the packages read: literal names at os.environ, and those of the Prefect file."""
    found: set[str] = set()
    for file in (f for p in PACKAGES for f in (ROOT / p).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            told: Any = None
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.get", "os.getenv"):
                told = node.args[0]
            elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
                told = node.slice
            if isinstance(told, ast.Constant):
                found.add(str(told.value))
    return frozenset(found | set(re.findall(r"\{\{ \$(\w+) \}\}", (INFRA / "prefect.yaml").read_text())))


@cache
def read_by_prefect() -> frozenset[str]:
    from prefect.settings import Settings

    names: set[str] = {"DO_NOT_TRACK"}

    def walk(model: Any) -> None:
        prefix = model.model_config.get("env_prefix", "")
        for name, field in model.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and hasattr(kind, "model_fields"):
                walk(kind)
                continue
            names.add(f"{prefix}{name}".upper())
            choices = getattr(field.validation_alias, "choices", [])
            names.update(str(c).upper() for c in choices)

    walk(Settings)
    return frozenset(names)


def read_by_dask(name: str) -> bool:
    import dask
    import distributed

    assert distributed.__name__
    key = name.removeprefix("DASK_").lower().replace("__", ".")
    return name.startswith("DASK_") and dask.config.get(key, None) is not None


def is_read(name: str) -> bool:
    told = name in read_by_code() or name in OTHERS
    return told or name in read_by_prefect() or read_by_dask(name)
