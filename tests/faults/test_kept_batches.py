"""kill -9 of a trainer that keeps its batches: each is kept once, as an uninterrupted one and the log have it."""

from pathlib import Path
from typing import Any

import pytest

from recsys import wiring
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.evaluation.replay.learned_batches import kept_run
from recsys.training.checkpoint.checkpoints import Checkpoints
from streaming.kept.batch_files import batch_files
from streaming.kept.batch_format import KeptBatch
from tests.faults.test_trainer import begun, kill_at, train, train_until_killed, workspace
from tests.streaming.kept.test_kept_batches import bits

pytestmark = pytest.mark.slow
KEPT = "batches_folder = 'batches'\n"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    config, events = begun(tmp_path_factory.mktemp("kept"))
    log = wiring.event_log(config)
    log.append(events.slice(0, 2000))
    log.close()
    return config


@pytest.fixture(scope="module")
def uninterrupted(config: Config) -> tuple[str, list[tuple[Any, ...]]]:
    folder = workspace(config, "whole", KEPT)
    return train(folder), kept(folder)


def kept(folder: Path) -> list[tuple[Any, ...]]:
    return [bits(one) for one in kept_run(load(folder / "recsys.toml"), folder / "batches")]


def test_what_is_kept_is_what_the_log_gives(config: Config, uninterrupted: tuple[str, list[tuple[Any, ...]]]) -> None:
    log = wiring.event_log(config)
    settings = load(config.log.source_offsets.parents[2] / "whole" / "recsys.toml")
    given = [bits(KeptBatch(step, batch)) for step, batch in enumerate(wiring.feed(settings, log).poll(), 1)]
    assert uninterrupted[1] == given
    assert len(given) > 14, "there are two checkpoints"


@pytest.mark.parametrize(
    ("point", "occurrence"),
    [("step", 20), ("rows written", 2), ("files written", 2), ("part written", 1), ("manifest written", 2),
     ("renamed", 1), ("checkpoint written", 2)],
)  # fmt: skip
def test_a_killed_trainer_keeps_each_batch_once(
    config: Config, uninterrupted: tuple[str, list[tuple[Any, ...]]], point: str, occurrence: int
) -> None:
    folder = workspace(config, f"{point}-{occurrence}".replace(" ", "-"), KEPT)
    train_until_killed(folder, kill_at, point, occurrence)
    assert (train(folder), kept(folder)) == uninterrupted


def test_a_checkpoint_is_not_complete_before_its_batches_are_written(config: Config) -> None:
    folder = workspace(config, "order", KEPT)
    train_until_killed(folder, kill_at, "renamed", 1)
    (run,) = (folder / "batches").iterdir()
    newest = Checkpoints(load(folder / "recsys.toml").training.checkpoints).newest()
    assert newest is not None
    assert newest.name.endswith(f"{batch_files(run)[-1].last:012d}")
