"""The Dockerfile: no root, pinned, healthy by a real endpoint, and installed as `make setup` installs."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.unit.infra.commands import accepted
from tests.unit.infra.deployed import INFRA, PACKAGES, ROOT, is_read

FILE = (INFRA / "images" / "Dockerfile").read_text()


def instructions() -> list[tuple[str, str, str]]:
    """(stage, instruction, its words), with continued lines joined."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", FILE, flags=re.MULTILINE))
    stage, found = "", []
    for line in filter(None, map(str.strip, joined.splitlines())):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            stage = rest.split(" AS ")[1]
        found.append((stage, name, " ".join(rest.split())))
    return found


def of(stage: str, name: str) -> list[str]:
    """Of a stage and those that it is built on, its own last."""
    base = next(rest.split(" AS ")[0] for s, n, rest in instructions() if s == stage and n == "FROM")
    own = [rest for s, n, rest in instructions() if s == stage and n == name]
    return (of(base, name) if any(s == base for s, *_ in instructions()) else []) + own


@pytest.mark.parametrize("stage", ["engine", "gpu", "live"])
def test_an_image_is_not_root_and_says_whether_it_is_well(stage: str) -> None:
    assert of(stage, "USER") == ["10001:10001"]
    command = accepted(json.loads(of(stage, "CMD")[-1]))
    asked = accepted(json.loads(of(stage, "HEALTHCHECK")[-1].partition(" CMD ")[2]))["url"]
    port = command.get("port") if stage == "live" else str(command["dashboard_address"]).removeprefix(":")
    assert f":{port}/" in asked
    exposed = {int(p) for p in " ".join(of(stage, "EXPOSE")).split()}
    assert int(str(port)) in exposed
    told = [word.partition("=")[0] for line in of(stage, "ENV") for word in line.split()]
    assert {t for t in told if not is_read(t)} == set()


def test_the_gpu_image_announces_a_gpu() -> None:
    assert accepted(json.loads(of("gpu", "CMD")[-1]))["resources"] == "GPU_GIB=24"


def test_versions_are_pinned() -> None:
    python = next(rest for _, n, rest in instructions() if n == "ARG" and rest.startswith("PYTHON="))
    assert re.fullmatch(r"PYTHON=python:\d+\.\d+\.\d+-slim-\w+", python)
    torch = next(rest for _, n, rest in instructions() if n == "ARG" and rest.startswith("TORCH="))
    assert torch.removeprefix("TORCH=") in (ROOT / "constraints.txt").read_text().splitlines()
    installs = [
        part for _, n, rest in instructions() if n == "RUN" for part in rest.split(" && ") if "pip install" in part
    ]
    assert len(installs) == 3
    for line in installs:
        assert "-c constraints.txt" in line or "-r constraints-nodeps.txt" in line, line


def test_it_holds_every_package_and_what_setup_installs() -> None:
    copied = {rest.split()[-1].strip("./") for s, n, rest in instructions() if s == "environment" and n == "COPY"}
    assert set(PACKAGES) <= copied
    sources = [w for s, n, rest in instructions() if s == "environment" and n == "COPY" for w in rest.split()[:-1]]
    assert [w for w in sources if not (ROOT / w).exists()] == []
    allowed = {
        line[1:]
        for line in (INFRA / "images" / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    assert set(sources) == allowed, "the build sees what it copies"
    extras = re.search(r"-e '\.\[([\w,]+)\]'", FILE)
    assert extras is not None
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras[1].split(",")) == {"postgres", "hub"} <= set(known)
    assert "--config-settings editable_mode=compat" in FILE
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"headroom-engine:{version}" in FILE


def test_nothing_is_left_to_apt_since_ffmpeg_comes_with_a_package() -> None:
    assert "apt-get" not in FILE
    assert "ffmpeg_binary" in FILE, "the build fails where there is none"


def pins() -> dict[str, Version]:
    """The versions of constraints.txt by name."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    return {canonicalize_name(n): Version(v) for n, _, v in (line.partition("==") for line in lines if line)}


def asked_for(requirement: Requirement) -> list[Requirement]:
    """What an installed package asks for with these extras, where this Python is the image's."""
    extras = sorted(requirement.extras) or [""]
    try:
        told = [Requirement(text) for text in metadata.requires(requirement.name) or []]
    except metadata.PackageNotFoundError:
        return []
    return [r for r in told if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in extras)]


def test_all_that_the_image_installs_is_pinned_to_versions_that_fit_together() -> None:
    """As pip resolves it, without an index: each requirement of each requirement, by what the packages say themselves."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    queue = [Requirement(r) for r in project["dependencies"]]
    queue += [Requirement(r) for extra in ("postgres", "hub") for r in project["optional-dependencies"][extra]]
    pinned, seen, wrong = pins(), set[str](), []
    while queue:
        one = queue.pop()
        name = canonicalize_name(one.name)
        if str(one) in seen or (one.marker is not None and not one.marker.evaluate({"extra": ""}) and not one.extras):
            continue
        seen.add(str(one))
        if name not in pinned:
            wrong.append(f"{one} is not pinned")
        elif not one.specifier.contains(pinned[name].base_version, prereleases=True):
            wrong.append(f"{one} is pinned to {pinned[name]}")
        queue += asked_for(one)
    assert len(seen) > 100
    assert wrong == []


@pytest.mark.slow
def test_what_the_build_tries_at_its_end_works() -> None:
    """The lines of Python that fail the build where the environment lacks something, run as they stand."""
    runs = [rest for stage, name, rest in instructions() if (stage, name) == ("environment", "RUN")]
    tried = [part for rest in runs for part in rest.split(" && ") if part.startswith("python -c ")]
    assert len(tried) == 2
    for line in tried:
        _, *words = shlex.split(line)
        subprocess.run([sys.executable, *words], cwd=ROOT, check=True, capture_output=True)
