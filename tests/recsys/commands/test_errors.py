"""What goes wrong outside is one message and exit status 1, not a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from recsys.cli import main

GONE = '[rows]\nurl = "redis://127.0.0.1:1/0"\n'


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
    config = tmp_path / "recsys.toml"
    config.touch()
    result = CliRunner().invoke(main, ["freeze", "-c", str(config), "first"])
    assert result.exit_code == 1
    assert "error: redis-server refused its settings: no such setting" in result.output
