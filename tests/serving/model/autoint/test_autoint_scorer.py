"""The kernel of AutoInt beside the eager model, which it must equal in every form."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import ArtefactError
from recsys.models import AutoInt, RankingModel, build
from recsys.training.export.serving_graph import GraphShape
from serving.model.autoint import interacting_kernel
from serving.model.autoint.autoint_layers import NORM_EPS
from serving.model.autoint.autoint_scorer import AutoIntScorer, load_autoint
from serving.model.autoint.lane_pairs import multiplies_pairs
from serving.model.chunked_scorer import Floats, Scorer
from serving.model.graph_reader import ReadGraph, read_graph
from streaming.encode.feature_spec import PooledHistory
from tests.contracts.scorer import exported
from tests.serving.fakes import SumScorer

DIM = 6
Counts = tuple[int, int, int, int]
"""Fields: sparse and numeric ones of the request, sparse and numeric ones of the item."""


def made(counts: Counts, tasks: int = 1, histories: Sequence[PooledHistory] = (), **options: Any) -> RankingModel:
    """A model whose every parameter and buffer is away from its initial value."""
    sizes = {"n_sparse": counts[0] + counts[2], "n_numeric": counts[1] + counts[3], "dim": DIM, "tasks": tasks}
    model = build(AutoInt.Config(**options), **sizes, histories=histories).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
        for buffer in model.buffers():
            buffer.add_(torch.rand(buffer.shape, generator=generator))
    return model


def graph_of(model: RankingModel, counts: Counts, correction: float = 0.0) -> ReadGraph:
    """As its export would be read."""
    shape = GraphShape(counts[0], counts[2], counts[1], counts[3], DIM, model.tasks, model.histories)
    inputs = {
        name: (None, *dims[1:]) if name.startswith("item") else dims
        for name, dims in shape.inputs(candidates=1).items()
    }
    constants = {f"model.{name}": value.numpy() for name, value in model.state_dict().items()}
    constants["correction"] = np.array(correction, np.float32)
    return ReadGraph(inputs, (None, model.tasks), constants, model.config.model_dump(mode="json"))


def request(counts: Counts, candidates: int) -> tuple[Floats, Floats, Floats, Floats]:
    rng = np.random.default_rng(candidates)
    shapes = (1, counts[0], DIM), (candidates, counts[2], DIM), (1, counts[1]), (candidates, counts[3])
    rows, items, numbers, item_numbers = (rng.normal(0, 0.5, shape).astype(np.float32) for shape in shapes)
    items[::3] = 0  # ids without a row
    return rows, items, numbers, item_numbers


def eager(model: RankingModel, inputs: tuple[Floats, Floats, Floats, Floats], correction: float = 0.0) -> Floats:
    """What the trained model says, of whole rows."""
    rows, items, numbers, item_numbers = map(torch.from_numpy, inputs)
    candidates = max(len(items), len(item_numbers))
    embedded = torch.cat([rows.expand(candidates, -1, -1), items], 1)
    with torch.inference_mode():
        logits_CT = model(embedded, torch.cat([numbers.expand(candidates, -1), item_numbers], 1))
        scores: Floats = torch.sigmoid(logits_CT + correction).numpy()
    return scores


OPTIONS = st.fixed_dictionaries(
    {
        "form": st.sampled_from(["paper", "code"]),
        "layers": st.integers(1, 3),
        "heads": st.integers(1, 3),
        "residual": st.booleans(),
        "wide": st.booleans(),
        "mlp": st.lists(st.integers(1, 9), max_size=3).map(tuple),
        "mlp_norm": st.sampled_from(["none", "batch"]),
    }
).filter(lambda options: options["mlp"] or options["mlp_norm"] == "none")
COUNTS = st.tuples(*[st.integers(0, 5)] * 4).filter(lambda counts: counts[2] + counts[3] > 0)


@given(
    options=OPTIONS,
    size=st.sampled_from([4, 8]),
    counts=COUNTS,
    tasks=st.integers(1, 2),
    candidates=st.sampled_from([0, 1, 15, 16, 17, 63, 64, 65]),
    correction=st.sampled_from([0.0, -1.5]),
)
@settings(deadline=None, max_examples=60)
def test_equals_the_eager_model(
    options: dict[str, Any], size: int, counts: Counts, tasks: int, candidates: int, correction: float
) -> None:
    units = size * options["heads"] if options["form"] == "code" else size
    model = made(counts, tasks, units=units, **options)
    inputs = request(counts, candidates)
    scores_CT = AutoIntScorer(graph_of(model, counts, correction)).score(*inputs)
    assert scores_CT.dtype == np.float32
    np.testing.assert_allclose(scores_CT, eager(model, inputs, correction), atol=1e-5)


@pytest.mark.skipif(not multiplies_pairs(), reason="needs a processor with avx512_bf16")
@given(
    options=OPTIONS,
    size=st.sampled_from([4, 8]),
    counts=COUNTS,
    tasks=st.integers(1, 2),
    candidates=st.sampled_from([0, 1, 17, 65]),
)
@settings(deadline=None, max_examples=40)
def test_mixed_products_are_near(
    options: dict[str, Any], size: int, counts: Counts, tasks: int, candidates: int
) -> None:
    """Each of the products in bfloat16 is within 2^-8 of itself."""
    units = size * options["heads"] if options["form"] == "code" else size
    model = made(counts, tasks, units=units, **options)
    inputs = request(counts, candidates)
    scores_CT = AutoIntScorer(graph_of(model, counts), mixed=True).score(*inputs)
    np.testing.assert_allclose(scores_CT, eager(model, inputs), atol=0.02)


def test_large_and_small_values_stay_probabilities() -> None:
    counts = (2, 1, 3, 1)
    model = made(counts, layers=2, units=8)
    scorer = AutoIntScorer(graph_of(model, counts))
    for factor in (0.0, 1e3, -1e3):
        inputs = tuple(array * np.float32(factor) for array in request(counts, 20))
        scores_CT = scorer.score(*inputs)
        assert ((scores_CT >= 0) & (scores_CT <= 1)).all()
        np.testing.assert_allclose(scores_CT, eager(model, inputs), atol=1e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["paper", "code"])
@pytest.mark.parametrize("side", ["request", "item"])
@pytest.mark.parametrize("diverged", [np.nan, 1e19, -1e19])
def test_a_row_that_has_diverged_shows_in_the_scores(form: str, side: str, diverged: float) -> None:
    """As in eager PyTorch: a score that is no number costs the model the request, a made-up one nothing."""
    counts = (2, 1, 3, 1)
    model = made(counts, form=form, layers=2, units=8, mlp=(8,))
    scorer, inputs = AutoIntScorer(graph_of(model, counts)), request(counts, 20)
    row = inputs[0][0, 1] if side == "request" else inputs[1][5, 2]
    row[:] = diverged
    wrong_CT = np.isnan(eager(model, inputs))
    assert np.isnan(diverged) <= wrong_CT.any()
    assert np.isnan(scorer.score(*inputs))[wrong_CT].all()


HISTORY = PooledHistory("read", 0, 2, 3)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"units": 6}, "the size of its heads, 3, is no multiple of 4"),
        ({"mlp_norm": "layer"}, "normalised by LayerNorm"),
        ({"histories": (HISTORY,)}, "pools histories"),
    ],
)
def test_what_it_does_not_compute_is_named(options: dict[str, Any], reason: str) -> None:
    counts = (2, 0, 2, 0)
    with pytest.raises(ArtefactError, match=reason):
        AutoIntScorer(graph_of(made(counts, **options), counts))


def test_a_graph_of_an_earlier_release_is_named() -> None:
    graph = graph_of(made((1, 0, 1, 0)), (1, 0, 1, 0))
    with pytest.raises(ArtefactError, match="its model is not named, not autoint"):
        AutoIntScorer(ReadGraph(graph.inputs, graph.output, graph.constants, {}))


class NearScorer(SumScorer):
    """As another scorer, but for a difference."""

    def __init__(self, scorer: Scorer, difference: float) -> None:
        self._scorer, self._difference = scorer, difference

    def score(self, *inputs: Any) -> Floats:
        return self._scorer.score(*inputs) + np.float32(self._difference)


@pytest.mark.slow
def test_an_exported_autoint_is_computed_if_it_equals_the_engine(caplog: pytest.LogCaptureFixture) -> None:
    model, _, exporter = exported("autoint", "every kind of field")
    graph = read_graph(exporter.graph(model))
    kernel = AutoIntScorer(graph)
    assert isinstance(load_autoint(graph, NearScorer(kernel, 1e-5)), AutoIntScorer)
    assert not caplog.records
    far = NearScorer(kernel, 1e-3)
    with caplog.at_level(logging.WARNING):
        assert load_autoint(graph, far) is far
    assert "differs by 0.001 from the engine" in caplog.text


@pytest.mark.slow
def test_another_model_is_left_to_the_engine(caplog: pytest.LogCaptureFixture) -> None:
    model, _, exporter = exported("fm", "item alone")
    engine = SumScorer()
    with caplog.at_level(logging.WARNING):
        assert load_autoint(read_graph(exporter.graph(model)), engine) is engine
    assert "its model is fm, not autoint" in caplog.text


def test_the_cache_of_compiled_code_follows_the_arithmetic() -> None:
    room = Path(interacting_kernel.__file__).parent
    files = [(room / name).read_bytes() for name in ("lanes.py", "lane_norm.py", "lane_pairs.py")]
    found = zlib.crc32(b"".join([*files, str(NORM_EPS).encode()]))
    assert found == interacting_kernel.ARITHMETIC, f"write 0x{found:08X}"


@pytest.mark.slow
@pytest.mark.parametrize("processor", ["generic", "haswell"])
def test_processors_without_avx_512_compute_the_same(processor: str, tmp_path: Path) -> None:
    counts = (1, 1, 2, 0)
    code = f"from tests.serving.model.autoint.test_autoint_scorer import *\ncounts = {counts}\n"
    code += "model = made(counts, form='code', layers=2, units=8, mlp=(8,))\n"
    code += "ours = AutoIntScorer(graph_of(model, counts)).score(*request(counts, 17))\n"
    code += "print(abs(ours - eager(model, request(counts, 17))).max() < 1e-5)"
    environment = os.environ | {"NUMBA_CPU_NAME": processor, "NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.split() == ["True"]
    assert list(tmp_path.rglob("*.nbc")), "it was compiled for this processor"


@pytest.mark.slow
def test_nothing_is_compiled_after_warming() -> None:
    code = "from serving.warm import warm; warm()\nfrom serving.model.autoint import interacting_kernel as kernel\n"
    code += "print([sum(f.stats.cache_misses.values()) for f in (kernel.add_interactions, kernel.add_perceptron)])"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    assert runs[1].stdout.strip() == "[0, 0]"


def test_every_model_shares_the_compiled_loops() -> None:
    compiled = set()
    for layers, mlp in ((2, (3,)), (1, ()), (3, (8, 4))):
        counts = (1, 1, 2, 0)
        AutoIntScorer(graph_of(made(counts, layers=layers, units=8, mlp=mlp), counts)).score(*request(counts, 3))
        loops = (interacting_kernel.add_interactions, interacting_kernel.add_perceptron)
        compiled.add(tuple(len(loop.signatures) for loop in loops))
    assert len(compiled) == 1
