"""No password and no key is in an error, an output, a log line, a metric, or a file that the commands write."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from recsys import wiring
from recsys.cli import main
from recsys.commands.demo.ports import free_port
from recsys.config.file import load
from recsys.errors import ConfigError
from serving.api_key import new_key
from serving.assembly import build
from streaming.events.schema import Event, Impression, Interaction
from tests.projects import SMALL, project
from tests.serving.protected_redis import protected_redis
from tests.serving.running import running
from tests.serving.waiting import until

SECRET = "hunter2-sesame"
KEY = new_key("shop", ["rank", "admin"])
SETTINGS = f"""{SMALL}
[redis]
url = "redis://127.0.0.1:{{port}}/0?password=env:REDIS_PASSWORD"
[training]
batch_size = 8
wait = "1s"
lateness = "0s"
[serving]
api_keys = [{{{{ name = "shop", scopes = ["rank", "admin"], sha256 = "{{sha256}}" }}}}]
"""
SASL = "kafka://127.0.0.1:1/t?security=sasl_ssl&mechanism=plain&user=me"


def said(command: str, config: Path, *options: str) -> str:
    result = CliRunner().invoke(main, [command, "-c", str(config), *options])
    return result.output + str(result.exception or "")  # with logging at DEBUG the error is raised, not printed


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Of a Redis that wants the password, which the environment has."""
    monkeypatch.setenv("REDIS_PASSWORD", SECRET)
    with protected_redis(tmp_path, SECRET) as port:
        yield port


def files_with(secret: str, folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()]


@pytest.mark.slow
def test_a_loop_with_passwords(
    port: int, tmp_path: Path, graphs: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, configured = KEY
    events: list[Event] = []
    for number in range(20):
        events.append(Impression(id=f"n{number}", time=10_000 * number, user="u", items=["a", "b"]))
        events.append(Interaction(time=10_000 * number, impression=f"n{number}", item="a"))
    config = project(tmp_path, SETTINGS.format(port=port, sha256=configured.sha256), events, graphs)
    file = tmp_path / "recsys.toml"
    with caplog.at_level(logging.DEBUG):
        outputs = [
            said("check", file),
            said("train", file, "--once"),
            said("status", file),
            said("status", file, "--json"),
        ]
        assert '"step"' in outputs[-1], "the trainer has published with its password"
        log = wiring.event_log(config)
        with running(build(wiring.server(config), log, wiring.open_scorer(config))) as client:
            client.headers["Authorization"] = f"Bearer {key}"
            until(lambda: client.get("/readyz").status_code == 200)
            ranked = client.post("/v1/rank", json={"user": "u", "items": ["a", "b"]})
            assert ranked.json()["degraded"] == []
            outputs += [ranked.text, client.get("/readyz").text, client.get("/metrics").text]
        log.close()
        monkeypatch.setenv("REDIS_PASSWORD", SECRET + "-wrong")
        outputs.append(said("status", file))
        assert "invalid username-password pair" in outputs[-1]
    assert list((tmp_path / "run" / "checkpoints").glob("step-*/manifest.json"))
    for secret in (SECRET, key):
        assert secret not in "".join(outputs) + caplog.text
        assert files_with(secret, tmp_path) == []


@pytest.mark.parametrize(
    "line",
    [
        f'[redis]\nurl = "redis://:{SECRET}@127.0.0.1:1/0"',
        f'[redis]\nurl = "redis://127.0.0.1:1/0?password={SECRET}"',
        f'[redis]\nurl = "http://me:{SECRET}@h"',
        f'[log]\nurl = "{SASL}&password={SECRET}"',
        f'[log]\nurl = "{SASL}&pasword={SECRET}"',
        f'[log]\nurl = "{SASL}&password=env:P&partitions=none&key_password={SECRET}"',
        f'[log]\nurl = "kafka://me:{SECRET}@h:1/t"',
        f'[log]\nurl = "kafka:me:{SECRET}@h:1/t"',
        f'[log]\nurl = "kafka://me:{SECRET}@h:1/no topic"',
        f'[log]\nurl = "s3://me:{SECRET}@h:1/t"',
        '[serving]\napi_keys = ["{key}"]',
    ],
)
def test_errors_show_no_password_that_stands_where_none_belongs(line: str, tmp_path: Path) -> None:
    file = tmp_path / "recsys.toml"
    file.write_text(line.replace("{key}", KEY[0]))  # drawn anew in each process that collects tests
    with pytest.raises(ConfigError) as told:
        load(file)
    shown = str(told.value) + said("check", file) + said("status", file)
    assert "error: " in shown
    assert SECRET not in shown
    assert KEY[0] not in shown


def test_a_broker_that_does_not_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", SECRET)
    file = tmp_path / "recsys.toml"
    file.write_text(f'[log]\nurl = "{SASL.replace(":1/", f":{free_port()}/")}&password=env:KAFKA_PASSWORD&timeout=1"\n')
    with caplog.at_level(logging.DEBUG):
        shown = said("train", file, "--once")
    assert "no answer within 1 s" in shown
    assert SECRET not in shown + caplog.text
