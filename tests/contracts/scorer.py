"""What every scorer promises: subclasses give `make`."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context, parent_process
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from recsys.config.sections.learning.models import SECTIONS
from recsys.config.sections.section import Section
from recsys.errors import ArtefactError
from recsys.models import AutoInt, FactorizationMachine, RankingModel, build
from recsys.training.export.exporter import Exporter
from serving.model.chunked_scorer import Scorer
from streaming.encode.feature_spec import FeatureSpec, Field
from tests.graphs import GRAPHS
from tests.recsys.models.variants import VARIANTS

Floats = npt.NDArray[np.float32]
DIM = 8
Inputs = tuple[Floats, Floats, Floats, Floats, Floats]
"""As scorers take them."""

SPECS = {
    "every kind of field": [
        Field("user", "categorical", "user"),
        Field("history", "multi", "request.history", table="item"),
        Field("age", "numeric", "request.age"),
        Field("item", "categorical", "item"),
        Field("tags", "multi", "item.tags"),
        Field("price", "numeric", "item.price"),
    ],
    "histories that the model pools": [
        Field("read", "multi", "user.recent(click, 5)", table="item", pooling="attention"),
        Field("user", "categorical", "user"),
        Field("age", "numeric", "request.age"),
        Field("bought", "multi", "user.recent(buy, 2)", table="item", pooling="attention"),
        Field("price", "numeric", "item.price"),
        Field("item", "categorical", "item"),
    ],
    "a history in its order": [
        Field("read", "multi", "user.recent(click, 5)", table="item", pooling="self-attention"),
        Field("bought", "multi", "user.recent(buy, 2)", table="item", pooling="attention"),
        Field("user", "categorical", "user"),
        Field("item", "categorical", "item"),
    ],
    "item alone": [Field("item", "categorical", "item")],
    "numbers alone": [Field("age", "numeric", "request.age"), Field("price", "numeric", "item.price")],
    "categories of the request, numbers of the item": [
        Field("user", "categorical", "user"),
        Field("price", "numeric", "item.price"),
    ],
}


CONFIGS: Mapping[str, Section] = {
    "autoint": AutoInt.Config(layers=2, units=8, mlp=(8,)),
    "fm": FactorizationMachine.Config(mlp=(8,)),
} | {f"{name} {norm[0]}": SECTIONS[name].model_validate({"mlp_norm": norm[0]}) for name, *norm in VARIANTS if norm}


@cache
def tracer() -> Executor:
    """One process that traces for all tests: it imports the exporter once."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Processes of tests end without a word, after which one of a pool would wait for work for ever."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


@cache
def exported(name: str, spec_name: str, tasks: int = 1) -> tuple[RankingModel, FeatureSpec, Exporter]:
    """A model whose every parameter and buffer is away from its initial value, and its exporter."""
    spec = FeatureSpec.of(SPECS[spec_name])
    options = CONFIGS[name] if name in CONFIGS else SECTIONS[name].model_validate({})
    sizes = {"n_sparse": len(spec.sparse), "n_numeric": len(spec.numeric), "dim": DIM, "tasks": tasks}
    model = build(options, **sizes, histories=spec.histories).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
        for buffer in model.buffers():  # running means and variances
            buffer.add_(torch.rand(buffer.shape, generator=generator))
    return model, spec, Exporter(model, spec, cache=GRAPHS, executor=tracer())


def request(spec: FeatureSpec, candidates: int, seed: int = 0) -> Inputs:
    """Rows as serving reads them: an id without a row, an empty list and the end of a short history are zeros."""
    rng = np.random.default_rng(seed)
    sparse_i, numeric_i = (sum(f.of_item for f in fields) for fields in (spec.sparse, spec.numeric))
    sparse_r, numeric_r = len(spec.sparse) - sparse_i, len(spec.numeric) - numeric_i
    item_rows_CFD = rng.normal(size=(candidates, sparse_i, DIM))
    item_rows_CFD[::3] = 0
    request_rows_1FD = rng.normal(size=(1, sparse_r, DIM))
    request_rows_1FD[:, 1:] = 0
    numbers = rng.normal(size=(1, numeric_r)), rng.normal(size=(candidates, numeric_i))
    history_rows_1LD = rng.normal(size=(1, sum(history.length for history in spec.histories), DIM))
    history_rows_1LD[:, -1:] = 0
    inputs = (request_rows_1FD, item_rows_CFD, *numbers, history_rows_1LD)
    return tuple(a.astype(np.float32) for a in inputs)  # type: ignore[return-value]


def whole_rows(model: RankingModel, inputs: Inputs, correction: float = 0.0) -> Floats:
    """What the trained model says of the same rows."""
    request_rows, item_rows, request_numeric, item_numeric, history_rows = map(torch.from_numpy, inputs)
    candidates = len(item_rows)
    ends = np.cumsum([history.length for history in model.histories])[:-1].tolist()
    histories = torch.tensor_split(history_rows, ends, 1) if model.histories else ()
    embedded = torch.cat([request_rows.expand(candidates, -1, -1), item_rows], 1)
    with torch.inference_mode():
        logits_CT = model(
            model.attended(embedded, [rows.expand(candidates, -1, -1) for rows in histories]),
            torch.cat([request_numeric.expand(candidates, -1), item_numeric], 1),
        )
        probabilities: Floats = torch.sigmoid(logits_CT + correction).numpy()
    return probabilities


class ScorerContract:
    def make(self, graph: bytes) -> Scorer:
        raise TypeError("subclasses name the engine")

    @pytest.mark.parametrize("candidates", [0, 1, 2, 16, 17, 128, 129, 500])
    def test_equals_the_model_for_any_number_of_candidates(self, candidates: int) -> None:
        model, spec, exporter = exported("autoint", "every kind of field")
        inputs = request(spec, candidates)
        scores_CT = self.make(exporter.graph(model)).score(*inputs)
        assert scores_CT.dtype == np.float32
        np.testing.assert_allclose(scores_CT, whole_rows(model, inputs), atol=1e-4)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", sorted({*SECTIONS, *CONFIGS}))
    def test_equals_every_model(self, name: str) -> None:
        self.test_equals_the_model_whichever_inputs_are_left_out(name, "every kind of field")

    @pytest.mark.slow
    @pytest.mark.parametrize("spec_name", [name for name in SPECS if name != "every kind of field"])
    @pytest.mark.parametrize("name", ["autoint", "fm"])
    def test_equals_the_model_whichever_inputs_are_left_out(self, name: str, spec_name: str) -> None:
        model, spec, exporter = exported(name, spec_name)
        scorer = self.make(exporter.graph(model))
        for candidates in (1, 7):
            inputs = request(spec, candidates)
            np.testing.assert_allclose(scorer.score(*inputs), whole_rows(model, inputs), atol=1e-4)

    def test_a_score_does_not_depend_on_the_other_candidates(self) -> None:
        model, spec, exporter = exported("autoint", "every kind of field")
        scorer, (rows, items, numbers, item_numbers, _) = self.make(exporter.graph(model)), request(spec, 200)
        together_CT = scorer.score(rows, items, numbers, item_numbers)
        alone = [scorer.score(rows, items[c : c + 1], numbers, item_numbers[c : c + 1])[0] for c in (0, 127, 128, 199)]
        np.testing.assert_allclose(together_CT[[0, 127, 128, 199]], alone, atol=1e-6)

    @pytest.mark.parametrize("candidates", [0, 1, 130])
    @pytest.mark.parametrize("name", ["autoint", pytest.param("fm", marks=pytest.mark.slow)])
    def test_every_task_has_its_own_column(self, name: str, candidates: int) -> None:
        model, spec, exporter = exported(name, "every kind of field", tasks=2)
        inputs = request(spec, candidates)
        scores_CT = self.make(exporter.graph(model)).score(*inputs)
        assert scores_CT.shape == (candidates, 2)
        np.testing.assert_allclose(scores_CT, whole_rows(model, inputs), atol=1e-4)

    def test_the_correction_moves_the_logit(self) -> None:
        model, spec, exporter = exported("autoint", "every kind of field")
        inputs = request(spec, 5)
        scores_CT = self.make(exporter.graph(model, correction=-1.5)).score(*inputs)
        np.testing.assert_allclose(scores_CT, whole_rows(model, inputs, correction=-1.5), atol=1e-4)

    def test_takes_arrays_that_are_not_contiguous_or_of_float64(self) -> None:
        model, spec, exporter = exported("autoint", "every kind of field")
        inputs = request(spec, 5)
        odd: Any = [np.asfortranarray(a.astype(np.float64)) for a in inputs]
        scorer = self.make(exporter.graph(model))
        np.testing.assert_array_equal(scorer.score(*odd), scorer.score(*inputs))

    def test_threads_may_share_it(self) -> None:
        model, spec, exporter = exported("autoint", "every kind of field")
        scorer = self.make(exporter.graph(model))
        inputs = [request(spec, 40 + seed, seed) for seed in range(4)]
        results: list[list[Floats]] = [[] for _ in inputs]

        def work(number: int) -> None:
            results[number] = [scorer.score(*inputs[number]) for _ in range(20)]

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number, scores in enumerate(results):
            assert len(scores) == 20
            for scores_CT in scores:
                np.testing.assert_allclose(scores_CT, whole_rows(model, inputs[number]), atol=1e-4)

    @pytest.mark.parametrize("number", range(4))
    def test_a_wrong_shape_is_named(self, number: int) -> None:
        model, spec, exporter = exported("autoint", "every kind of field")
        inputs = list(request(spec, 5))
        inputs[number] = inputs[number][:, :0]
        name = ("request_rows", "item_rows", "request_numeric", "item_numeric")[number]
        with pytest.raises(ValueError, match=f"{name} has shape"):
            self.make(exporter.graph(model)).score(*inputs)

    def test_as_many_numbers_as_items(self) -> None:
        model, spec, exporter = exported("autoint", "every kind of field")
        rows, items, numbers, item_numbers, _ = request(spec, 5)
        with pytest.raises(ValueError, match=r"item_numeric has shape \(4, 1\), the graph takes \(5, 1\)"):
            self.make(exporter.graph(model)).score(rows, items, numbers, item_numbers[:4])

    @pytest.mark.parametrize("graph", [b"", b"no graph at all", b"\x08\x07" * 40])
    def test_what_is_no_graph_is_refused(self, graph: bytes) -> None:
        with pytest.raises(ArtefactError, match="cannot read this graph"):
            self.make(graph)
