"""What every model in the registry promises together with its embedding rows, in training and after.

Shape suffixes: B training rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch.nn import functional

from recsys import wiring
from recsys.config.file import parse
from recsys.config.schema import Config
from recsys.evaluation.metrics import auc, log_loss
from recsys.models import RankingModel, build
from recsys.training.learner import Learner
from streaming.encode.batch import TrainingBatch
from streaming.encode.encoder import Encoder
from streaming.events.schema import Value
from streaming.join.labeled_impression import LabeledImpression
from tests.recsys.models.variants import VARIANTS

pytestmark = pytest.mark.slow

SETTINGS = """
[features]
dim = 8
fields = [
  {{ name = "user", source = "user" }},
  {{ name = "item", source = "item" }},
  {{ name = "tags", kind = "multi", source = "item.tags" }},
  {{ name = "seen", kind = "multi", source = "user.recent(click, 4)", table = "item", pooling = "attention" }},
  {{ name = "price", kind = "numeric", source = "item.price" }},
]
[model]
{model}
[training]
dense_lr = 0.01
sparse_lr = 0.3
init_scale = 0.1
averaging = 0.0
"""


@pytest.fixture(params=VARIANTS, ids=lambda variant: " ".join(variant))
def config(request: pytest.FixtureRequest) -> Config:
    name, *norm = cast(tuple[str, ...], request.param)
    options = [f'name = "{name}"', *(f'mlp_norm = "{each}"' for each in norm)]
    return parse(SETTINGS.format(model="\n".join(options)), Path("recsys.toml"))


def shown(
    items: Sequence[str], labels: Sequence[float], tags: Sequence[Value], seed: int = 0, seen: Sequence[str] = ()
) -> LabeledImpression:
    """One impression; every third item has no price."""
    prices: list[Value] = [None if n % 3 == 0 else float(n) for n in range(len(items))]
    return LabeledImpression(
        id="A",
        time=1_000,
        user=f"u{seed}",
        items=tuple(items),
        features={"user.recent(click, 4)": list(seen)},
        item_features={"price": prices, "tags": list(tags)},
        propensities=(),
        experiment="",
        arm="",
        model="",
        positions=tuple(range(len(items))),
        labels=tuple(labels),
        decided=2_000,
        sequence=seed,
        number=seed,
    )


def batch_of(config: Config, impression: LabeledImpression) -> TrainingBatch:
    return Encoder(wiring.spec(config)).encode_impressions([impression], None, (9,))


TAGS: list[Value] = [list[str | int](["hot", "cold"][: n % 3]) for n in range(64)]
"""None, one or two an item."""


def drawn(config: Config, seed: int = 0) -> TrainingBatch:
    """64 items of 200, eight for each of eight users with a history; those of odd number are clicked."""
    draw = np.random.default_rng(seed)
    items = draw.permutation(200)[:64].reshape(8, 8)
    impressions = []
    for user, own in enumerate(items):
        seen = [f"i{item}" for item in draw.integers(200, size=(seed + user) % 5)]
        labels = [float(item % 2) for item in own]
        impressions.append(shown([f"i{item}" for item in own], labels, TAGS[8 * user :][:8], user, seen))
    return Encoder(wiring.spec(config)).encode_impressions(impressions, None, (9,))


def learned(config: Config, steps: int) -> Learner:
    learner = wiring.learner(config)
    for seed in range(steps):
        learner.step(drawn(config, seed))
    return learner


def test_it_learns_64_rows_by_heart(config: Config) -> None:
    """With labels that depend on nothing but which item it is."""
    batch = drawn(config)
    labels_B = np.random.default_rng(5).integers(0, 2, 64).astype(np.float32)
    batch, learner = replace(batch, labels_B=labels_B), wiring.learner(config)
    for _ in range(150):
        learner.step(batch)
    assert log_loss(labels_B, learner.score(batch)) < 0.05


def test_it_learns_online(config: Config) -> None:
    """Each batch is scored before it is learned from."""
    learner = wiring.learner(config)
    figures = [auc(batch.labels_B, learner.step(batch)) for batch in (drawn(config, seed) for seed in range(80))]
    assert figures[0] < 0.7
    assert np.mean(figures[-10:]) > 0.9


def test_the_same_batches_give_the_same_bits(config: Config) -> None:
    assert learned(config, 3).digest() == learned(config, 3).digest()


def test_after_saving_and_loading_it_scores_and_learns_the_same(config: Config, tmp_path: Path) -> None:
    learner, again = learned(config, 3), wiring.learner(config)
    folder = tmp_path / "step" / "rank-0"
    folder.mkdir(parents=True)
    learner.save(folder)
    again.load(folder)
    batch = drawn(config, 99)
    np.testing.assert_array_equal(again.score(batch), learner.score(batch))
    learner.step(batch)
    again.step(batch)
    assert again.digest() == learner.digest()


def test_the_order_of_rows_changes_nothing_but_rounding(config: Config) -> None:
    """Neither scores nor what is learned."""
    batch, order_B = drawn(config, 99), np.random.default_rng(0).permutation(64)
    learner, other = learned(config, 3), learned(config, 3)
    scores_B = learner.score(batch)
    np.testing.assert_allclose(learner.score(batch.take(order_B)), scores_B[order_B], rtol=1e-5, atol=1e-6)
    learner.step(batch)
    other.step(batch.take(order_B))
    np.testing.assert_allclose(other.score(batch), learner.score(batch), rtol=1e-3, atol=1e-4)


def test_unknown_ids_and_missing_sets_read_nothing(config: Config) -> None:
    """All items that were never seen score alike, whatever their ids; an empty set is as one of unknown ids."""
    learner = learned(config, 10)
    tags: list[list[Value]] = [[["new"]] * 6, [["newer", "newest"]] * 6, [[]] * 6, [None] * 6]
    impressions = [shown([f"new {n} {i}" for i in range(6)], [0.0] * 6, own) for n, own in enumerate(tags)]
    before = learner.digest()
    scores = [learner.score(batch_of(config, impression)) for impression in impressions]
    for scores_B in scores[1:]:
        np.testing.assert_array_equal(scores_B, scores[0])
    assert np.isfinite(scores[0]).all()
    assert learner.digest() == before


def model_of(config: Config) -> RankingModel:
    return build(config.model, n_sparse=3, n_numeric=1, dim=4, tasks=2, seed=3)


def rows(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, 4, generator=generator), torch.randn(batch, 1, generator=generator)


def test_gradients_are_those_of_finite_differences(config: Config) -> None:
    model = model_of(config).double()
    embedded_BFD, numeric_BN = (values.double() for values in rows(2))
    assert torch.autograd.gradcheck(
        lambda embedded, *weights: torch.func.functional_call(
            model, dict(zip(dict(model.named_parameters()), weights, strict=True)), (embedded, numeric_BN)
        ),
        (embedded_BFD.requires_grad_(), *model.parameters()),
        fast_mode=True,
    )


def test_in_mixed_precision_it_scores_and_learns_nearly_the_same(config: Config) -> None:
    """bfloat16 has eight bits, so products differ by half a percent, and a ReLU near 0 may open or close."""
    gradients, logits = [], []
    for mixed in (False, True):
        model, (embedded_BFD, numeric_BN) = model_of(config), rows(32)
        embedded_BFD.requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            logits_BT = model(embedded_BFD, numeric_BN)
        torch.autograd.backward(functional.softplus(logits_BT.float()).mean())
        assert embedded_BFD.grad is not None
        gradients.append(embedded_BFD.grad.flatten())
        logits.append(logits_BT.detach().float())
    assert float((logits[1] - logits[0]).abs().max()) < 0.03 * float(logits[0].abs().max())
    assert float(functional.cosine_similarity(gradients[0], gradients[1], dim=0)) > 0.98
