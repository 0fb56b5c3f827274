"""The Helm chart, by what it makes of two sets of values (deploy/helm/render.sh), judged by Kubernetes's schemas."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys.config.file import parse

ROOT = Path(__file__).parents[2]
RENDERED = Path(__file__).with_name("rendered")
CHART = ROOT / "deploy" / "helm" / "recsys"
NAMES = ("one", "workers")


def manifests(name: str) -> dict[str, dict[str, Any]]:
    """By kind and name, such as `Deployment/recsys-server`."""
    documents = yaml.safe_load_all((RENDERED / f"{name}.yaml").read_text("utf-8"))
    return {f"{document['kind']}/{document['metadata']['name']}": document for document in documents}


def pods(name: str) -> list[dict[str, Any]]:
    """The specification of every pod."""
    found: list[dict[str, Any]] = []

    def look(node: Any) -> None:
        if isinstance(node, dict):
            if "containers" in node:
                found.append(node)
            for child in node.values():
                look(child)
        elif isinstance(node, list):
            for child in node:
                look(child)

    look(list(manifests(name).values()))
    return found


def test_what_is_rendered_is_of_this_chart() -> None:
    files = [path for folder in (CHART, RENDERED) for path in folder.rglob("*") if path.is_file()]
    now = {str(path.relative_to(ROOT)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    now.pop(str((RENDERED / "sha256").relative_to(ROOT)))
    then = dict(line.split()[::-1] for line in (RENDERED / "sha256").read_text("utf-8").splitlines())
    assert now == then, "run deploy/helm/render.sh"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_kubernetes_knows_every_field(name: str) -> None:
    program = Path(sys.executable).parent / "kubernetes-validate"
    command = [str(program), "--strict", str(RENDERED / f"{name}.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    unknown = {line for line in (done.stdout + done.stderr).splitlines() if "Couldn't find schema" in line}
    assert all("RayJob" in line for line in unknown)


@pytest.mark.parametrize("name", NAMES)
def test_the_configuration_loads(name: str) -> None:
    text = manifests(name)["ConfigMap/recsys-recsys"]["data"]["recsys.toml"]
    config = parse(text, Path("/etc/recsys/recsys.toml"))
    assert str(config.training.checkpoints).startswith("/var/lib/recsys/")
    assert config.training.workers == {"one": 1, "workers": 2}[name]


@pytest.mark.parametrize("name", NAMES)
def test_no_pod_runs_as_root_or_may_become_it(name: str) -> None:
    assert len(pods(name)) == {"one": 2, "workers": 3}[name]
    for pod in pods(name):
        assert pod["securityContext"]["runAsNonRoot"]
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_one_worker_is_one_pod_and_several_are_a_job_of_ray() -> None:
    one, several = manifests("one"), manifests("workers")
    assert one["StatefulSet/recsys-trainer"]["spec"]["replicas"] == 1
    assert "StatefulSet/recsys-trainer" not in several
    cluster = several["RayJob/recsys-trainer"]["spec"]["rayClusterSpec"]
    assert cluster["workerGroupSpecs"][0]["replicas"] == 2
    ray = re.search(r"^ray==(\S+)", (ROOT / "deploy" / "locks" / "cpu.txt").read_text("utf-8"), re.MULTILINE)
    assert ray is not None
    assert cluster["rayVersion"] == ray[1]
    claim = several["PersistentVolumeClaim/recsys-trainer"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_servers_are_selected_by_their_service() -> None:
    found = manifests("one")
    deployment, service = found["Deployment/recsys-server"], found["Service/recsys-server"]
    assert service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]
    probes = deployment["spec"]["template"]["spec"]["containers"][0]
    assert probes["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert probes["livenessProbe"]["httpGet"]["path"] == "/healthz"
