"""A file, folder or port that cannot be used is one line, with its place and what to do."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from recsys import wiring
from recsys.cli import main
from recsys.config.file import load
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events

CONFIG = (
    '[features]\ndim = 4\n[model]\nname = "fm"\nmlp = []\n[training]\nbatch_size = 8\nwait = "1s"\nlateness = "0s"\n'
)
LINE = '{"type":"interaction","time":1,"impression":"a","item":"b"}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "recsys.toml").write_text(CONFIG)
    (tmp_path / "taken").write_text("a file\n")
    (tmp_path / "good.jsonl").write_text(LINE)
    (tmp_path / "bad.jsonl").write_text("{}\n")
    return tmp_path


def filled(folder: Path) -> None:
    events: list[Event] = []
    for number in range(40):
        time = 1_600_000_000_000 + 10_000 * number
        events.append(Impression(id=f"n{number}", time=time, user="u", items=["a", "b"]))
        events.append(Interaction(time=time, impression=f"n{number}", item="ab"[number % 2]))
    log = wiring.event_log(load(folder / "recsys.toml"))
    log.append(encode_events(events))
    log.close()


def error(folder: Path, command: str, *options: str) -> str:
    """The message of the command, which must fail with one line."""
    result = CliRunner().invoke(main, [command, "-c", str(folder / "recsys.toml"), *options])
    assert result.exit_code == 1, result.output
    (message,) = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert result.output.endswith(message + "\n")
    assert "Traceback" not in result.output
    return message


def setting(folder: Path, section: str, name: str, value: str) -> None:
    text = CONFIG if f"[{section}]" in CONFIG else CONFIG + f"[{section}]\n"
    (folder / "recsys.toml").write_text(text.replace(f"[{section}]\n", f'[{section}]\n{name} = "{value}"\n'))


TRAIN = ("train", "--once", "--no-publish")
REPLAY = ("replay", "--batch-until", "0.5", "--refresh", "1m")


@pytest.mark.parametrize("command", [("ingest", "good.jsonl"), TRAIN, REPLAY, ("serve", "--port", "0")])
def test_a_log_whose_folder_is_a_file(folder: Path, command: tuple[str, ...]) -> None:
    setting(folder, "log", "url", "file:taken")
    name, *options = (str(folder / part) if part.endswith(".jsonl") else part for part in command)
    message = error(folder, name, *options)
    assert f"the event log ([log] url): {folder / 'taken'}" in message
    assert "this is a file, name a folder" in message


def test_checkpoints_whose_folder_is_a_file(folder: Path) -> None:
    setting(folder, "training", "checkpoints", "taken")
    message = error(folder, *TRAIN)
    assert f"the checkpoints ([training] checkpoints): {folder / 'taken'}" in message
    assert "this is a file, name a folder" in message


@pytest.mark.parametrize("command", [("train", "--once"), ("serve", "--port", "0"), ("freeze", "first")])
def test_an_embedded_redis_whose_folder_is_a_file(folder: Path, command: tuple[str, ...]) -> None:
    setting(folder, "redis", "folder", "taken")
    message = error(folder, *command)
    assert f"the embedded Redis ([redis] folder): {folder / 'taken'}" in message


def test_dead_letters_that_are_a_folder(folder: Path) -> None:
    setting(folder, "log", "dead_letters", ".")
    message = error(folder, "ingest", str(folder / "bad.jsonl"))
    assert f"Is a directory: '{folder}'" in message
    filled(folder)
    message = error(folder, *TRAIN)
    assert f"the dead letters ([log] dead_letters): {folder}: Is a directory; this is a folder, name a file" in message


@pytest.mark.parametrize("out", ["taken", "taken/deeper"])
@pytest.mark.parametrize("command", [REPLAY, ("memory", "--batch-until", "0.5")])
def test_results_whose_folder_is_a_file(folder: Path, command: tuple[str, ...], out: str) -> None:
    filled(folder)
    message = error(folder, *command, "--out", str(folder / out))
    assert f"{folder / 'taken'} is a file; choose another folder, or remove it" in message


def test_a_result_that_is_a_folder(folder: Path) -> None:
    filled(folder)
    (folder / "out" / "result.json").mkdir(parents=True)
    for command in (REPLAY, ("memory", "--batch-until", "0.5")):
        message = error(folder, *command, "--out", str(folder / "out"))
        assert f"(--out): {folder / 'out' / 'result.json'}: Is a directory; this is a folder, name a file" in message


def test_a_configuration_that_is_a_folder(folder: Path) -> None:
    result = CliRunner().invoke(main, ["check", "-c", str(folder)])
    assert result.exit_code == 1
    assert f"{folder}: cannot be read (Is a directory)" in result.output


def test_a_configuration_below_a_file(folder: Path) -> None:
    result = CliRunner().invoke(main, ["init", str(folder / "taken" / "recsys.toml")])
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert f"{folder / 'taken'}: File exists; this is a file, name a folder" in result.output


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.EACCES, "change the permissions, or name another path"), (errno.ENOSPC, "make room")]
)
@pytest.mark.parametrize(
    ("command", "patched", "what"),
    [
        (TRAIN, "mkdir", "the checkpoints ([training] checkpoints)"),
        (("ingest", "good.jsonl"), "mkdir", "the event log ([log] url)"),
        (REPLAY, "write_bytes", "the results (--out)"),
        (("freeze", "first"), "mkdir", "the embedded Redis ([redis] folder)"),
    ],
)
def test_permission_denied_and_a_full_disk(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    patched: str,
    what: str,
    number: int,
    remedy: str,
) -> None:
    """The system's own calls fail: whoever runs the tests may be allowed everything."""
    if command[0] != "ingest":
        filled(folder)
    failed: list[Path] = []
    works = getattr(Path, patched)

    def fails(path: Path, *args: Any, **named: Any) -> Any:
        if not path.is_relative_to(folder):  # a temporary file
            return works(path, *args, **named)
        failed.append(path)
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, patched, fails)
    name, *options = (str(folder / part) if part.endswith(".jsonl") else part for part in command)
    if command is REPLAY:
        os.makedirs(folder / "out")
        options += ["--out", str(folder / "out")]
    message = error(folder, name, *options)
    assert f"{what}: {failed[0]}: {os.strerror(number)}; {remedy}" in message


def test_an_input_that_may_not_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exists: Callable[..., bool] = Path.exists
    failed: list[Path] = []

    def denied(path: Path, **options: Any) -> bool:
        if path.name != "good.jsonl":
            return exists(path, **options)
        failed.append(path)
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "exists", denied)
    message = error(folder, "ingest", str(folder / "good.jsonl"))
    assert failed
    assert f"cannot read: {folder / 'good.jsonl'}: Permission denied; change the permissions" in message


def test_a_port_in_use_is_named_with_the_setting_and_the_option(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = error(folder, "serve", "--port", str(port))
    assert f"cannot listen on 127.0.0.1:{port}" in message
    assert "in use" in message
    assert "choose another port with [serving] port or --port, or stop what uses it" in message


def test_an_output_that_nobody_reads_is_no_fault(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def closed(_path: Path) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    monkeypatch.setattr("recsys.commands.describe.config.check", closed)
    result = CliRunner().invoke(main, ["check", "-c", str(folder / "recsys.toml")])
    assert (result.exit_code, result.output) == (1, "")


def test_an_error_of_the_system_that_nobody_foresaw_is_a_fault(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def broken(_path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("recsys.commands.describe.config.check", broken)
    result = CliRunner().invoke(main, ["check", "-c", str(folder / "recsys.toml")])
    assert result.exit_code == 70
    assert "This is a fault of recsys" in result.output


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", 'user,"the item",at\nu,i,1\n'), ("a.tsv", "user\tthe item\tat\nu\ti\t1\n")]
)
def test_a_table_without_a_mapping_is_shown_with_its_columns_and_makes_no_log(
    folder: Path, name: str, content: str
) -> None:
    (folder / name).write_text(content)
    message = error(folder, "ingest", str(folder / name))
    assert "write a [[log.mapping]] from its columns, 'user', 'the item', 'at'" in message
    assert "(docs/events.md)" in message
    assert not (folder / "run").exists()


def test_a_demo_whose_folder_is_a_file(folder: Path) -> None:
    result = CliRunner().invoke(main, ["demo", "--folder", str(folder / "taken")])
    assert result.exit_code == 1
    assert result.output.startswith(f"error: the demo's folder (--folder): {folder / 'taken'}: File exists; ")
