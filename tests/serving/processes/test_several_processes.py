"""`recsys serve --processes 2`: both answer on one port, one that is killed is started anew, and nothing is lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from recsys.cli import main
from streaming.log.file_log import FileLog
from tests.serving.waiting import until

pytestmark = pytest.mark.slow
SERVE = (sys.executable, "-m", "recsys", "serve", "--port", "0", "--processes", "2", "-c")


@contextmanager
def served(config: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The processes, and where they answer. They end with the block."""
    with (
        open(config.parent / "errors", "w") as errors,
        subprocess.Popen([*SERVE, str(config)], stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            found = re.match(r"Serving on (\S+), by 2 processes", process.stdout.readline())
            assert found is not None, (config.parent / "errors").read_text()
            yield process, found[1]
        finally:
            process.terminate()
            process.wait(120)


def of(supervisor: subprocess.Popen[str]) -> set[int]:
    """The server processes, as numbers."""
    children = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text().split()
    return {int(pid) for pid in children if "spawn_main" in about(int(pid), "cmdline")}


def about(pid: int, what: str) -> str:
    """What the system says of a process; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/{what}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def answered(url: str) -> int:
    """1 if a request on a connection of its own was answered; 0 if its process was killed under it."""
    try:
        asked = {"user": "ada", "items": ["a", "b"]}
        return int(httpx.post(f"{url}/v1/rank", json=asked, timeout=120).status_code == 200)
    except httpx.TransportError:
        return 0


def counted(url: str) -> dict[str, float]:
    """Rankings by process."""
    text = httpx.get(f"{url}/metrics", timeout=120).text
    pattern = r'recsys_requests_total{process="(\d)",route="/v1/rank",status="200"} (\S+)'
    return {number: float(value) for number, value in re.findall(pattern, text)}


def test_both_answer_and_one_that_is_killed_is_started_anew(tmp_path: Path) -> None:
    config = tmp_path / "recsys.toml"
    assert CliRunner().invoke(main, ["init", str(config)]).exit_code == 0
    with served(config) as (supervisor, url):
        answers = 0

        def both() -> bool:
            nonlocal answers
            answers += answered(url)
            return counted(url).keys() == {"0", "1"}

        until(both)
        assert sum(counted(url).values()) == answers
        for _ in range(4):  # whichever process is reached
            ready = httpx.get(f"{url}/readyz", timeout=120).json()
            assert ready["processes"] == {"0": "online: not published yet", "1": "online: not published yet"}
            page = httpx.get(f"{url}/console/live", timeout=120).text
            assert re.findall(r'<dd class="figure">(.*?)</dd>', page)[1:4] == ["2 of 2", "answers", str(answers)]
        (log,) = (FileLog(path.parent) for path in tmp_path.rglob("log.json"))
        until(lambda: log.end()[0] == answers)
        before = of(supervisor)
        assert len(before) == 2
        killed = min(before)
        os.kill(killed, signal.SIGKILL)
        until(lambda: killed not in of(supervisor))
        answers += answered(url)  # by the other one
        until(lambda: len(of(supervisor)) == 2 and "recsys_processes 2.0" in httpx.get(f"{url}/metrics").text)
        assert len(of(supervisor) & before) == 1
        supervisor.send_signal(signal.SIGTERM)
        assert supervisor.wait(120) == 0
    assert "ended with status -9; it is started anew" in (tmp_path / "errors").read_text()
    assert log.end()[0] == answers
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


@contextmanager
def light(*limits: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Two processes that answer nothing, and who started them."""
    command = [sys.executable, "-m", "tests.serving.processes.light", *limits]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as supervisor:
        try:
            assert supervisor.stdout is not None
            lines = [supervisor.stdout.readline().split() for _ in range(2)]
            assert lines[0][0] == lines[1][0]  # the port
            yield supervisor, [int(pid) for _, pid in lines]
        finally:
            supervisor.terminate()


def started(supervisor: subprocess.Popen[str]) -> int:
    """The next process that is started."""
    assert supervisor.stdout is not None
    return int(supervisor.stdout.readline().split()[1])


def state(pid: int) -> str:
    """A letter, `T` if it is stopped; empty if it is gone."""
    return about(pid, "stat").rpartition(")")[2][1:2]


def test_they_end_with_a_supervisor_that_is_killed() -> None:
    with light() as (supervisor, processes):
        assert all(map(state, processes))
        supervisor.kill()
        until(lambda: not any(map(state, processes)))


def test_one_that_is_stopped_is_replaced() -> None:
    with light("2") as (supervisor, (stopped, other)):
        os.kill(stopped, signal.SIGSTOP)
        until(lambda: state(stopped) == "T")
        assert started(supervisor) not in (stopped, other)
        assert not state(stopped)
        supervisor.send_signal(signal.SIGTERM)
        _, said = supervisor.communicate(timeout=120)
    assert "was silent for 2 s and is killed" in said
    assert "ended with status -9; it is started anew" in said


def test_one_that_is_stopped_before_it_answers_is_replaced() -> None:
    with light("600", "3") as (supervisor, both):
        assert started(supervisor) not in both
        supervisor.send_signal(signal.SIGTERM)
        _, said = supervisor.communicate(timeout=120)
        assert supervisor.returncode == 0
    assert "server process 0 did not answer within 3 s and is killed" in said
    assert "server process 0 ended with status -9; it is started anew" in said


def test_those_that_are_stopped_with_their_supervisor_go_on_with_it() -> None:
    with light("2") as (supervisor, processes):
        all_of_them = [supervisor.pid, *processes]
        for pid in all_of_them:
            os.kill(pid, signal.SIGSTOP)
        until(lambda: [state(pid) for pid in all_of_them] == ["T"] * 3)
        woken = time.monotonic() + 4.0
        until(lambda: time.monotonic() > woken)
        for pid in all_of_them[::-1]:
            os.kill(pid, signal.SIGCONT)
        os.kill(processes[0], signal.SIGKILL)
        assert started(supervisor) != processes[1]
        assert state(processes[1])
        supervisor.send_signal(signal.SIGTERM)
        _, said = supervisor.communicate(timeout=120)
    assert "silent" not in said


def test_one_that_is_stopped_is_told_to_end_with_the_others() -> None:
    with light() as (supervisor, (stopped, _)):
        os.kill(stopped, signal.SIGSTOP)
        until(lambda: state(stopped) == "T")
        supervisor.send_signal(signal.SIGTERM)
        _, said = supervisor.communicate(timeout=120)
        assert supervisor.returncode == 0
    assert "did not end" not in said


def test_errors_are_said_once(tmp_path: Path) -> None:
    config = tmp_path / "recsys.toml"
    config.write_text('[serving]\ncertificate = "none.pem"\nprivate_key = "none.pem"\nprocesses = 2\n')
    result = CliRunner().invoke(main, ["serve", "-c", str(config)])
    assert result.exit_code == 1
    assert result.output.count("none.pem") == 1
