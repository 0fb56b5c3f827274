"""kill -9 of a trainer: how long until it trains again? And what does a checkpoint cost the steps beside it?

The trainer is a process as in production, which is started again when it has ended; it trains again when its status has
a step after that of its checkpoint. The log has the shape of click-through logs (39 fields, batch 1024), the model is
the lightest, so that a checkpoint costs the largest share of a step. It is written beside training: of the steps
between two checkpoints the first half has one beside it, the second has none.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks import loop
from benchmarks._settings import toml
from benchmarks._supervised import Supervised
from benchmarks._waiting import until
from benchmarks.harness import Result, Target, median
from recsys import wiring
from recsys.commands.online.status import read
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.errors import RedisServerError
from recsys.training.checkpoint.checkpoints import Checkpoints

EVERY = 500
"""Steps between two checkpoints, by default."""
_HALF = 20
"""Steps of each half."""


def run(quick: bool) -> Result:
    kills, checkpoints = (1, 3) if quick else (5, 10)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = _configured(folder)
        steps = (2 * checkpoints + 1) * _HALF + kills * 60
        loop.fill(config, impressions=steps * loop.BATCH // loop.ITEMS + 500)
        with_one, without = _steps(config, checkpoints)
        seconds = _recoveries(folder / "recsys.toml", kills)
    step = median(without) / _HALF
    cost = median([one - other for one, other in zip(with_one, without, strict=True)])
    targets = [
        Target("seconds from kill -9 to training again, at most", max(seconds), 15, "lower"),
        Target("what checkpoints add to a step, as a share", cost / (EVERY * step), 0.05, "lower"),
    ]
    raw = {"seconds": seconds, "steps": _HALF, "with_checkpoint_s": with_one, "without_s": without}
    return Result("recovery", targets, raw | {"checkpoint_s": cost, "step_s": step})


def _configured(folder: Path) -> Config:
    training = {**loop.CONFIG["training"], "checkpoint_every": 2 * _HALF}
    (folder / "recsys.toml").write_text(toml({**loop.CONFIG, "model": {"name": "fm"}, "training": training}))
    return load(folder / "recsys.toml")


def _steps(config: Config, checkpoints: int) -> tuple[list[float], list[float]]:
    """CPU seconds of every half, of those that a checkpoint is written beside and of those after."""
    halves: list[float] = []
    stop = threading.Event()
    steps, begun = 0, time.process_time()

    def after(point: str) -> None:
        nonlocal steps, begun
        steps += point == "step"
        if point != "step" or steps % _HALF:
            return
        halves.append(time.process_time() - begun)
        begun = time.process_time()
        if len(halves) == 2 * checkpoints + 2:
            stop.set()

    with wiring.trainer(_aside(config), publish=False, crash=after) as trainer:
        trainer.run(follow=False, stop=stop)
    return halves[2::2], halves[3::2]  # the first checkpoint is written after the second half


def _aside(config: Config) -> Config:
    """With checkpoints in a folder of its own."""
    folder = config.training.checkpoints.with_name("aside")
    return config.model_copy(update={"training": config.training.model_copy(update={"checkpoints": folder})})


def _recoveries(settings: Path, kills: int) -> list[float]:
    """Seconds from each kill until a step has been trained that is later than the checkpoint begun at."""
    config = load(settings)
    command = [sys.executable, "-m", "recsys", "train", "-c", str(settings)]
    trainer = Supervised(command, settings.with_name("train.log"), {"PYTHONUNBUFFERED": "1"})
    checkpoints = Checkpoints(config.training.checkpoints)
    try:
        return [_recovery(config, checkpoints, trainer) for _ in range(kills)]
    finally:
        trainer.stop()


def _recovery(config: Config, checkpoints: Checkpoints, trainer: Supervised) -> float:
    before = checkpoints.all()
    until(lambda: checkpoints.all() != before, "a checkpoint")
    begun = time.time()
    os.kill(trainer.pid, signal.SIGKILL)
    saved = int(checkpoints.all()[-1].name.removeprefix("step-"))
    until(lambda: _trained(config, begun) > saved, "a trainer that trains again")
    return time.time() - begun


def _trained(config: Config, since: float) -> int:
    """Steps by the trainer's status; 0 without one that was written after this time (s)."""
    try:
        latest = read(config)
    except RedisServerError:
        return 0
    return latest.status["step"] if latest is not None and latest.published > 1000 * since else 0
