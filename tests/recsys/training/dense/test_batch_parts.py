"""Learning from a batch in parts: the same as from the whole, up to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from recsys import wiring
from recsys.config.schema import Config
from recsys.training.dense import batch_parts as parts
from recsys.training.learner import Learner
from streaming.encode.batch import TrainingBatch
from tests.recsys.training.test_learner import batch_of, dear_ones

FIELDS: list[dict[str, Any]] = [
    {"name": "user", "source": "user"},
    {"name": "item", "source": "item"},
    {"name": "price", "kind": "numeric", "source": "item.price"},
]
MODELS: dict[str, dict[str, Any]] = {
    "autoint": {"name": "autoint", "mlp": [8]},
    "paper": {"name": "autoint", "form": "paper", "residual": False},
    "fm": {"name": "fm"},
    "lr": {"name": "lr"},
    "gated": {"name": "gated", "mlp": [8], "gates": [8], "sparsity": 0.5, "polarization": 0.5},
}


def learner_of(model: dict[str, Any]) -> tuple[Config, Learner]:
    config = Config.model_validate({"features": {"dim": 4, "fields": FIELDS}, "model": model})
    return config, wiring.learner(config)


def batches(config: Config) -> list[TrainingBatch]:
    return [batch_of(config, *dear_ones(37, 1.0, seed), user=f"u{seed}") for seed in range(3)]


def learned(model: dict[str, Any]) -> tuple[dict[str, torch.Tensor], list[Any]]:
    config, learner = learner_of(model)
    scores = [learner.step(batch) for batch in batches(config)]
    return learner.dense_state(), scores


def in_parts(monkeypatch: pytest.MonkeyPatch, rows: int | None) -> list[int]:
    """Cuts batches into parts of `rows`; returns the sizes of all parts, as they come."""
    sizes: list[int] = []
    logits = parts.BatchPart.logits

    def counted(part: parts.BatchPart, model: Any) -> torch.Tensor:
        sizes.append(len(part.numeric_BN))
        return logits(part, model)

    monkeypatch.setattr(parts.BatchPart, "logits", counted)
    monkeypatch.setattr("recsys.training.dense.model.rows_a_part", lambda _model: rows)
    return sizes


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_parts_learn_what_the_whole_batch_does(monkeypatch: pytest.MonkeyPatch, model: dict[str, Any]) -> None:
    with monkeypatch.context() as patched:
        assert set(in_parts(patched, None)) == set()
        whole, whole_scores = learned(model)
    sizes = in_parts(monkeypatch, 10)
    found, scores = learned(model)
    assert set(sizes) == {10, 7}
    np.testing.assert_allclose(np.concatenate(scores), np.concatenate(whole_scores), rtol=1e-4, atol=1e-6)
    for name, tensor in whole.items():
        torch.testing.assert_close(found[name], tensor, rtol=2e-3, atol=2e-5, msg=name)


def test_dropout_masks_of_parts_follow_from_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    in_parts(monkeypatch, 10)
    model = {"name": "autoint", "mlp": [8], "mlp_dropout": 0.5, "dropout": 0.5}
    (first, _), (second, _) = learned(model), learned(model)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_part_has_as_many_rows_as_fit() -> None:
    _, learner = learner_of({"name": "autoint", "units": 32})
    assert parts.rows_a_part(learner.model) == parts.PART_BYTES // (3 * 4 * 32 * 4)


def test_a_model_whose_rows_see_each_other_learns_from_whole_batches() -> None:
    _, learner = learner_of({"name": "fm", "mlp_norm": "batch"})
    assert parts.rows_a_part(learner.model) is None
