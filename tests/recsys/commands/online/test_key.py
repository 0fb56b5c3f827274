"""`recsys key create`, and that commands which show a configuration show no key."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from click.testing import CliRunner

from recsys.cli import main
from recsys.config.file import load
from serving.api_key import hashed


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, arguments)
    return done.exit_code, done.output


def test_the_line_it_prints_is_that_of_the_key_it_prints(tmp_path: Path) -> None:
    code, output = run("key", "create", "shop", "--scope", "rank", "--scope", "events", "--rate", "50")
    assert code == 0
    (key,) = re.findall(r"^recsys_\S{43}$", output, re.MULTILINE)
    (line,) = re.findall(r"^  (\{.*\}),$", output, re.MULTILINE)
    assert tomllib.loads(f"key = {line}")["key"] == {
        "name": "shop",
        "scopes": ["rank", "events"],
        "sha256": hashed(key),
        "rate": 50.0,
    }
    path = tmp_path / "recsys.toml"
    path.write_text(f"[serving]\napi_keys = [\n  {line},\n]\n")
    assert load(path).serving.api_keys[0].name == "shop"
    for command in ("check", "status"):
        _, told = run(command, "--config", str(path))
        assert key not in told
        assert hashed(key) not in told


def test_a_name_that_cannot_be_used_is_told() -> None:
    code, output = run("key", "create", "a b", "--scope", "rank")
    assert code == 1
    assert "the name 'a b' cannot be used" in output
