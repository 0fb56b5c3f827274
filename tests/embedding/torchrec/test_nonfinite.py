"""Gradients that would make a row NaN or infinite: the drop-in leaves the row as it was, and counts it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchrec.modules.embedding_configs import DataType
from torchrec.optim import RowWiseAdagrad

from embedding.torchrec.collection import counters, set_time
from tests.embedding.torchrec.models import DIM, LR, bags, fresh, model, read

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adagrad, RowWiseAdagrad])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_row_with_such_a_gradient_stays_and_others_learn(bad: float, optimizer: type[torch.optim.Optimizer]) -> None:
    sharded = model({"t": 64}, optimizer=optimizer)
    set_time(sharded, 0)
    gradient = torch.ones(3, DIM)
    gradient[1, 2] = bad
    sharded(bags(t=[[1], [1, 2], [3]])).values().backward(gradient)
    np.testing.assert_array_equal(read(sharded, 1, 2), fresh(1, 2))
    np.testing.assert_allclose(read(sharded, 3), fresh(3) - LR, atol=1e-6)
    assert counters(sharded, "t")["nonfinite"] == 2
    sharded(bags(t=[[1], [2]])).values().sum().backward()  # their optimizer state is as it was, too
    np.testing.assert_allclose(read(sharded, 1, 2), fresh(1, 2) - LR, atol=1e-6)


def test_a_square_beyond_float32_is_skipped_where_the_optimizer_squares() -> None:
    for optimizer, skipped in ((RowWiseAdagrad, 1), (torch.optim.SGD, 0)):
        sharded = model({"t": 64}, optimizer=optimizer)
        set_time(sharded, 0)
        sharded(bags(t=[[1]])).values().backward(torch.full((1, DIM), 1e20))
        assert np.isfinite(read(sharded, 1)).all()
        assert counters(sharded, "t")["nonfinite"] == skipped


def test_half_precision_rows_do_not_become_infinite() -> None:
    sharded = model({"t": 64}, optimizer=torch.optim.SGD, data_type=DataType.FP16)
    set_time(sharded, 0)
    before = read_after_admission(sharded)
    sharded(bags(t=[[1]])).values().backward(torch.full((1, DIM), 1e6))
    np.testing.assert_array_equal(read(sharded, 1), before)
    assert counters(sharded, "t")["nonfinite"] == 1


def read_after_admission(sharded: torch.nn.Module) -> np.ndarray:
    sharded(bags(t=[[1]]))
    return read(sharded, 1)
