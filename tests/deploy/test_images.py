"""The images and compose.yaml: what can be said of them without a container."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys.cli import main
from recsys.config.file import load

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deploy" / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def run(program: str, *arguments: str | Path) -> None:
    """Run a program of the environment; fails with what it prints."""
    command = [str(Path(sys.executable).parent / program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dockerfile_has_no_fault_that_hadolint_knows() -> None:
    run("hadolint", "--failure-threshold", "style", DOCKER / "Dockerfile")


@pytest.mark.slow
def test_compose_is_valid() -> None:
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DOCKER / "compose.yaml")


def test_what_the_images_run_are_commands_with_these_options() -> None:
    commands = [yaml.safe_load(line) for line in re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)]
    assert [command[0] for command in commands] == ["serve", "train"]
    for name, *options in commands:
        known = {option for parameter in main.commands[name].params for option in parameter.opts}
        assert {option for option in options if option.startswith("--")} <= known


def test_every_installed_file_reaches_the_build() -> None:
    """What `install.sh` and pyproject.toml name is let through by the ignore file."""
    let_through = set(re.findall(r"^!(.+)$", (DOCKER / "Dockerfile.dockerignore").read_text("utf-8"), re.MULTILINE))
    assert all((ROOT / path).exists() for path in let_through)
    assert {"recsys", "serving", "streaming", "embedding", "deploy/locks", "deploy/docker/install.sh"} <= let_through
    assert {"pyproject.toml", "README.md"} <= let_through


def test_services_find_each_other_by_the_names_in_the_configuration() -> None:
    config = load(DOCKER / "recsys.toml")
    assert config.log.url.startswith("kafka://kafka:9092/")
    assert SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://kafka:9092"
    assert config.redis.url.startswith("redis://redis:6379/")
    assert str(config.training.checkpoints).startswith("/var/lib/recsys/")
    prometheus = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text("utf-8"))
    targets = {target for job in prometheus["scrape_configs"] for target in job["static_configs"][0]["targets"]}
    assert targets == {"server:8000", f"trainer:{config.training.metrics.rpartition(':')[2]}"}


def test_redis_evicts_nothing() -> None:
    command = SERVICES["redis"]["command"]
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


def test_ports_are_published_on_loopback_alone() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_every_mounted_file_exists() -> None:
    mounts = [mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])]
    files = [mount for mount in mounts if mount.startswith(".")]
    assert files
    assert all((DOCKER / mount).exists() for mount in files)


@pytest.mark.parametrize("target", ["serving", "training"])
def test_the_service_uses_a_target_of_the_dockerfile(target: str) -> None:
    assert f"AS {target}\n" in DOCKERFILE
    assert any(service.get("build", {}).get("target") == target for service in SERVICES.values())
