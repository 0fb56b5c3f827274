"""One worker: the first trains as a single process would, the others learn from every batch with it."""

from __future__ import annotations

import io
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch.distributed as dist

from recsys import wiring
from recsys.commands.online.training_session import train
from recsys.commands.output.repeating import repeating
from recsys.commands.output.terminal import remote_console
from recsys.commands.output.training_progress import dashboard
from recsys.config.file import parse
from recsys.config.schema import Config
from recsys.errors import RecsysError, WorkerError
from recsys.extras import OURS
from recsys.training.checkpoint.checkpoints import Checkpoints
from recsys.training.trainer import Trainer
from recsys.wiring.group import channel, follower, leading_learner
from recsys.workers.ray_job import Seat

_PERIOD = 0.5
"""Seconds between two pictures of the progress, and between two looks at whether to stop."""


def work(seat: Seat, given: dict[str, Any]) -> None:
    """Runs in every worker. A RecsysError of the first ends the job; any other end makes Ray start all anew."""
    for package in OURS:
        logging.getLogger(package).addHandler(_Warnings(seat))
    config = parse(given["text"], Path(given["path"]))
    wiring.set_threads(config)
    seat.tell("say", f"Worker {seat.rank} is process {os.getpid()} on {socket.gethostname()}.")
    if not _begins(seat, config):
        return
    try:
        if seat.rank:
            follower(config, channel()).run()
        else:
            _lead(seat, config, given)
    except WorkerError:
        raise
    except RecsysError as error:
        seat.tell("fail", str(error))
    except Exception as error:
        seat.tell("say", f"worker {seat.rank}: {error!r}", "yellow")
        raise


def _begins(seat: Seat, config: Config) -> bool:
    """Whether the workers are to train, which all of them learn alike. Collective."""
    if seat.rank == 0:
        seat.tell("started", max((path.name for path in Checkpoints(config.training.checkpoints).all()), default=""))
    dist.barrier()
    return not seat.tell("error")


def _lead(seat: Seat, config: Config, given: dict[str, Any]) -> None:
    stop = threading.Event()
    console = remote_console(given["width"], _Lines(seat))
    learner = leading_learner(config, channel())
    try:
        with wiring.trainer(config, publish=given["publish"], learns=learner) as trainer:
            run = partial(trainer.run, follow=given["follow"], stop=stop, until=given["until"])
            train(config, trainer, console, _watched(seat, trainer, stop, given["width"]), run)
    finally:
        learner.dismiss()


@contextmanager
def _watched(seat: Seat, trainer: Trainer, stop: threading.Event, width: int) -> Iterator[None]:
    """Shows the progress on the board, and sets `stop` when the board says so."""

    def watch() -> None:
        console = remote_console(width)
        with console.capture() as picture:
            console.print(dashboard(trainer.progress))
        seat.tell("show", picture.get())
        if seat.tell("stops"):
            stop.set()

    try:
        with repeating(watch, _PERIOD, "board"):
            yield
    finally:
        seat.tell("show", "")


class _Lines(io.StringIO):
    """A text file whose content goes to the board."""

    def __init__(self, seat: Seat) -> None:
        super().__init__()
        self._seat = seat

    def flush(self) -> None:
        if text := self.getvalue():
            self._seat.tell("say", text, "ansi")
            self.seek(0)
            self.truncate()


class _Warnings(logging.Handler):
    """Shows a worker's warnings to the user."""

    def __init__(self, seat: Seat) -> None:
        super().__init__(logging.WARNING)
        self._seat = seat

    def emit(self, record: logging.LogRecord) -> None:
        self._seat.board.say.remote(f"worker {self._seat.rank}: {record.levelname} {record.getMessage()}", "yellow")
