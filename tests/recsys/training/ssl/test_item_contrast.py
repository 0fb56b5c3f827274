"""Self-supervision of a ranking model's item fields in the trainer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recsys import wiring
from recsys.errors import ConfigError
from tests.recsys.training.retrieval.test_retrieval_learner import SETTINGS, batches, config

RANKER = SETTINGS.partition("[retrieval]")[0]


def with_ssl(text: str) -> str:
    return f"{RANKER}\n[training.ssl]\n{text}\n"


@pytest.mark.slow
@pytest.mark.parametrize("model", ["fm", "dcn", "lr"])
def test_any_model_learns_goes_on_after_a_checkpoint_and_has_its_own_bits_at_weight_zero(
    model: str, tmp_path: Path
) -> None:
    on, off, none = (
        text.replace('name = "fm"\nmlp = [4]', f'name = "{model}"')
        for text in (
            with_ssl('method = "rfm"\ndropout = 0.1\nbatch = 32'),
            with_ssl('method = "rfm"\nweight = 0.0'),
            RANKER,
        )
    )
    learner, resumed, zero, plain = (wiring.learner(config(text)) for text in (on, on, off, none))
    for batch in batches(3):
        for one in (learner, zero, plain):
            one.step(batch, scored=False)
    assert zero.digest() == plain.digest() != learner.digest()
    (tmp_path / "0" / "rank-0").mkdir(parents=True)
    learner.save(tmp_path / "0" / "rank-0")
    resumed.load(tmp_path / "0" / "rank-0")
    for batch in batches(3, seed=1):
        learner.step(batch, scored=False)
        resumed.step(batch, scored=False)
    assert learner.digest() == resumed.digest()


def test_rows_of_sets_and_ids_move_and_those_of_users_do_not() -> None:
    learner, plain = (wiring.learner(config(text)) for text in (with_ssl('method = "rfm"'), RANKER))
    first, second = batches(2)
    for one in (learner, plain):
        one.step(first, scored=False)
    assert learner.beside.ssl is not None
    before = {name: learner.store.peek(name, np.unique(first.ids[name].values)).values_ND for name in first.ids}
    learner.beside.ssl.step(second, learner.scaling)
    after = {name: learner.store.peek(name, np.unique(first.ids[name].values)).values_ND for name in first.ids}
    moved = {name for name in first.ids if not np.array_equal(before[name], after[name])}
    assert moved == {"item", "tags"}


def test_a_loss_that_is_not_finite_costs_the_step_only() -> None:
    learner = wiring.learner(config(with_ssl('method = "rfm"\ntemperature = 1e-45')))
    for batch in batches(2):
        learner.step(batch, scored=False)
    assert learner.beside.ssl is not None
    assert learner.beside.ssl.left_out == 1
    assert all(
        torch.isfinite(value).all() for value in learner.beside.ssl.state().values() if value.is_floating_point()
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (with_ssl('method = "cfm"'), "training.ssl.method: cfm needs 4 fields of the item"),
        (
            with_ssl('method = "rfm"').replace("[training.ssl]", "[training]\nworkers = 2\n[training.ssl]"),
            "needs workers = 1",
        ),
        (
            with_ssl('method = "rfm"').replace('source = "item" }', 'source = "item.id" }'),
            "needs a categorical field of the",
        ),
    ],
)
def test_what_it_cannot_do_is_said(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(text)
