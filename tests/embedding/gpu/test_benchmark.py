"""The benchmark's own code, on a table small enough for the interpreter; its figures mean nothing here."""

from __future__ import annotations

import pytest

from benchmarks import gpu_table
from tests.embedding.gpu.conftest import INTERPRETED


@pytest.mark.filterwarnings("ignore:(?s).*Failed to import:DeprecationWarning")  # FBGEMM's CPU build lacks SSD kernels
def test_it_measures_at_load_one_half_with_every_id_in_the_table(device: str) -> None:
    pytest.importorskip("fbgemm_gpu", exc_type=ImportError)
    result = gpu_table.measure(device, live=300, batch=64, rounds=1, repeats=1)
    assert result.raw["load"] == 0.5
    assert result.raw["live"] == 300 + 2 * 4
    assert len(result.targets) == 4
    assert {target.value > 0 for target in result.targets} == {True}


@pytest.mark.skipif(not INTERPRETED, reason="this machine has a GPU")
def test_without_a_gpu_it_says_that_nothing_was_measured() -> None:
    result = gpu_table.run(quick=True)
    assert result.targets == []
    assert result.raw["measured"] is False
    assert "no CUDA device" in result.raw["reason"]
