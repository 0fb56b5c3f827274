"""What the process that starts workers does: it shows what they say, and lets them stop on Ctrl-C and SIGTERM."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from recsys.cli import main
from recsys.commands.workers import driver
from recsys.errors import WorkerError
from recsys.workers.board import ATTEMPTS, Board


class Job:
    """Workers that end when they are asked to; the user sends a signal as soon as they run."""

    sent: signal.Signals
    error = ""

    def __init__(self, *_arguments: Any) -> None:
        self.board = Board()
        self.seat = self
        self.board.say("Worker 0 is process 7 on host.")

    def tell(self, method: str, *arguments: Any) -> Any:
        return getattr(self.board, method)(*arguments)

    def wait(self, _seconds: float) -> bool:
        if self.board.stops():
            self.board.say("Stopped after 3 steps; state [/x].", "ansi")
            return True
        os.kill(os.getpid(), self.sent)
        return False

    def check(self) -> None:
        if self.error:
            raise WorkerError(self.error)


@contextmanager
def ray_takes_signals(_workers: int, _address: str) -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def train(folder: Path, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals, error: str = "") -> tuple[int, str]:
    (folder / "recsys.toml").write_text("[training]\nworkers = 2\n")
    monkeypatch.setattr(driver, "RunningJob", type("OneJob", (Job,), {"sent": sent, "error": error}))
    monkeypatch.setattr(driver, "ray_running", ray_takes_signals)
    done = CliRunner().invoke(main, ["train", "--config", str(folder / "recsys.toml")])
    return done.exit_code, done.output


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_workers_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals
) -> None:
    code, output = train(tmp_path, monkeypatch, sent)
    assert code == 0
    assert output.split("\n")[:3] == [
        "Starting 2 workers.",
        "Worker 0 is process 7 on host.",
        "Stopped after 3 steps; state [/x].",
    ]


def test_what_the_workers_cannot_do_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, output = train(tmp_path, monkeypatch, signal.SIGINT, error="the checkpoints are of another model")
    assert code == 1
    assert "error: the checkpoints are of another model" in output


@pytest.mark.slow
def test_a_ray_that_does_not_come_up_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def too_slow(**_options: Any) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", too_slow)
    (tmp_path / "recsys.toml").write_text("[training]\nworkers = 2\n")
    done = CliRunner().invoke(main, ["train", "--config", str(tmp_path / "recsys.toml")])
    assert done.exit_code == 1
    assert "error: Ray cannot be reached: The current node timed out during startup." in done.output


def test_starts_in_vain_are_counted_anew_with_every_checkpoint() -> None:
    board = Board()
    for newest in ("", "step-500"):
        for _ in range(ATTEMPTS):
            board.started(newest)
    assert board.error() == ""
    board.started("step-500")
    assert f"ended {ATTEMPTS} times in a row before they could write a checkpoint" in board.error()
