"""Two and three processes that learn from every batch together do what one does.

Sums over processes round otherwise than sums over rows, so weights and scores are equal to a few ulps, not to the bit;
between the processes of a group they are equal to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embedding.store import Delta
from recsys import wiring
from recsys.config.file import parse
from recsys.config.schema import Config
from recsys.training.group.leading_learner import LeadingLearner
from recsys.training.learner import Learner
from recsys.wiring.group import channel, follower, leading_learner
from streaming.encode.batch import TrainingBatch
from tests.embedding.torchrec.processes import run
from tests.recsys.training import test_learner as one

pytestmark = pytest.mark.slow

STEPS = 12


def config_of(**settings: Any) -> Config:
    chosen: dict[str, Any] = {"model": "fm", "scale": "standard", "dropout": 0.0, "more": ""} | settings
    return parse(one.SETTINGS.format(**chosen) + chosen["more"], Path("recsys.toml"))


def batches(config: Config, steps: range) -> list[TrainingBatch]:
    """Of unequal sizes, the third with a single row."""
    sizes = [1 if step == 3 else 20 + step for step in steps]
    return [
        one.batch_of(config, *one.dear_ones(size, 10, seed=step), user=f"u{step % 3}")
        for step, size in zip(steps, sizes, strict=True)
    ]


def weights(learner: Learner) -> dict[str, torch.Tensor]:
    """Everything dense but the random state."""
    return {name: tensor.double() for name, tensor in learner.dense_state().items() if name != "random"}


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def equal_weights(one: Learner, other: Learner) -> None:
    own, others = weights(one), weights(other)
    assert own.keys() == others.keys()
    for name, tensor in own.items():
        close(tensor, others[name])


def equal_rows(one: Delta, other: Delta) -> None:
    assert one.full == other.full
    for name, table in other.tables.items():
        order, others = np.argsort(one.tables[name].ids_U), np.argsort(table.ids_U)
        assert one.tables[name].ids_U[order].tolist() == table.ids_U[others].tolist()
        close(torch.from_numpy(one.tables[name].values_UD[order]), torch.from_numpy(table.values_UD[others]))


def group(world: int, work: Callable[..., None], folder: Path, **settings: Any) -> None:
    """work(learner, config, folder) in the first of `world` processes; the others follow."""
    run(world, _member, folder, work, settings)
    written = [torch.load(folder / f"weights-{rank}.pt", weights_only=True) for rank in range(world)]
    for other in written[1:]:
        for name, tensor in written[0].items():
            assert torch.equal(tensor, other[name]), name


def _member(rank: int, _world: int, folder: Path, work: Callable[..., None], settings: dict[str, Any]) -> None:
    config, link = config_of(**settings), channel()
    if rank == 0:
        leading = leading_learner(config, link)
        work(leading, config, folder)
        leading.dismiss()
        own: Learner = leading
    else:
        following = follower(config, link)
        following.run()
        own = following.learner
    torch.save(weights(own), folder / f"weights-{rank}.pt")


def learns_as_one(learner: LeadingLearner, config: Config, _folder: Path) -> None:
    alone = wiring.learner(config)
    for each in (learner, alone):
        each.store.subscribe("redis")
    for step, batch in enumerate(batches(config, range(STEPS))):
        close(torch.from_numpy(learner.step(batch)), torch.from_numpy(alone.step(batch)))
        close(torch.from_numpy(learner.score(batch)), torch.from_numpy(alone.score(batch)))
        if step == 6:
            assert learner.forget(["u1", "nobody"]) == alone.forget(["u1", "nobody"]) == 1
        if step % 4 == 0:
            delta, expected = learner.store.delta("redis"), alone.store.delta("redis")
            equal_rows(delta, expected)
            learner.store.acknowledge("redis", delta.sequence)
            alone.store.acknowledge("redis", expected.sequence)
    equal_weights(learner, alone)
    assert learner.steps == STEPS
    workers = learner.workers()
    assert sum(worker["rows"] for worker in workers.values()) == sum(map(len, batches(config, range(STEPS))))
    assert len({worker["process"] for worker in workers.values()}) == len(workers)
    for table in ("user", "item"):
        parts = [worker["tables"][table]["live"] for worker in workers.values()]
        assert sum(parts) == learner.store.counters(table)["live"]
        assert min(parts) > 0 or table == "user", "of whom there are two"
    for table in ("user", "item"):
        assert learner.store.counters(table)["live"] == alone.store.counters(table)["live"] > 0


@pytest.mark.parametrize("world", [2, 3])
def test_a_group_learns_what_one_process_learns(tmp_path: Path, world: int) -> None:
    group(world, learns_as_one, tmp_path)


def samples_as_one(learner: LeadingLearner, config: Config, _folder: Path) -> None:
    alone = wiring.learner(config)
    for batch in batches(config, range(STEPS)):
        close(torch.from_numpy(learner.step(batch)), torch.from_numpy(alone.step(batch)))
    equal_weights(learner, alone)
    assert learner.beside.negatives is not None
    assert alone.beside.negatives is not None
    assert learner.beside.negatives.counts == alone.beside.negatives.counts
    assert 0 < learner.beside.negatives.counts["learned"] < learner.beside.negatives.counts["negatives"]


@pytest.mark.parametrize("method", ["uniform", "score"])
def test_a_group_learns_from_the_same_rows_as_one_process(tmp_path: Path, method: str) -> None:
    group(2, samples_as_one, tmp_path, more=f'[training.negatives]\nrate = 0.5\nmethod = "{method}"')


def goes_on(learner: LeadingLearner, config: Config, folder: Path) -> None:
    alone = wiring.learner(config)
    alone.load(folder / "step-1" / "rank-0")
    learner.load(folder / "step-1" / "rank-0")
    for batch in batches(config, range(STEPS // 2, STEPS)):
        learner.step(batch)
        alone.step(batch)
    equal_weights(learner, alone)
    saved = folder / "step-2" / "rank-0"
    saved.mkdir(parents=True)
    learner.save(saved)
    alone.load(saved)
    assert alone.digest() == learner.digest()
    equal_weights(learner, alone)


def test_a_checkpoint_of_one_process_is_of_a_group_and_the_other_way_round(tmp_path: Path) -> None:
    config = config_of(model="autoint")
    learner = wiring.learner(config)
    for batch in batches(config, range(STEPS // 2)):
        learner.step(batch)
    saved = tmp_path / "step-1" / "rank-0"
    saved.mkdir(parents=True)
    learner.save(saved)
    group(2, goes_on, tmp_path, model="autoint")


def leaves_out(learner: LeadingLearner, config: Config, _folder: Path) -> None:
    """Numbers that are not scaled: an absurd one in the share of the first process, then of the last.

    Its row is there twice, with both labels: one of them is scored wrong, and cannot be learned from. Which one is up
    to rounding, since nothing else is left of differences of squares of that size.
    """
    alone = wiring.learner(config)
    for step, absurd in enumerate([None, 3, 14, None]):
        prices, labels = one.dear_ones(16, 1, seed=step)
        rows, sound = np.arange(16), np.ones(16, np.bool_)
        if absurd is not None:
            prices[absurd], rows[absurd + 1], sound[absurd : absurd + 2] = 1e30, absurd, False
        batch = one.batch_of(config, prices, labels).take(rows)
        if absurd is not None:
            batch.labels_B[absurd : absurd + 2] = 0, 1
        scores = [torch.from_numpy(each.step(batch)[sound]) for each in (learner, alone)]
        close(*scores)
    assert learner.left_out == alone.left_out == {"price": 2}
    equal_weights(learner, alone)


def test_a_row_that_cannot_be_learned_is_left_out_by_all(tmp_path: Path) -> None:
    group(2, leaves_out, tmp_path, scale="none")


def drops(learner: LeadingLearner, config: Config, _folder: Path) -> None:
    for batch in batches(config, range(STEPS)):
        assert np.isfinite(learner.step(batch)).all()


def test_with_dropout_the_weights_of_all_processes_stay_equal(tmp_path: Path) -> None:
    group(2, drops, tmp_path, model="autoint", dropout=0.3)
