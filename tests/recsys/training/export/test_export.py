"""Tracing once, swapping weights often, and what is kept on disk in between."""

from __future__ import annotations

import logging
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest

from recsys.errors import ExportError
from recsys.models import AutoInt, FactorizationMachine, RankingModel, build
from recsys.training.export.exporter import Exporter
from serving.model.scorer import OnnxScorer
from streaming.encode.feature_spec import FeatureSpec, Field
from tests.contracts.scorer import exported, request, tracer, whole_rows

pytestmark = pytest.mark.slow

SPEC = FeatureSpec.of([Field("user", "categorical", "user"), Field("price", "numeric", "item.price")])
CONFIG = FactorizationMachine.Config(mlp=(8,))


class CountingExecutor(Executor):
    """Counts what it is given, and does it once for all tests."""

    done: ClassVar[dict[str, Future[Any]]] = {}

    def __init__(self) -> None:
        self.submitted = 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.submitted += 1
        key = repr((fn, args, kwargs))
        if key not in self.done:
            self.done[key] = tracer().submit(fn, *args, **kwargs)
        return self.done[key]


class DyingExecutor(CountingExecutor):
    """Loses its process the first time."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.submitted:
            return super().submit(fn, *args, **kwargs)
        self.submitted += 1
        future: Future[Any] = Future()
        future.set_exception(BrokenProcessPool("killed"))
        return future


def make_model(seed: int = 0) -> RankingModel:
    return build(CONFIG, n_sparse=1, n_numeric=1, dim=4, seed=seed).eval()


def test_a_graph_has_the_weights_of_the_moment() -> None:
    model, spec, exporter = exported("autoint", "every kind of field")
    before = exporter.graph(model)
    other = build(model.config, n_sparse=4, n_numeric=2, dim=8, seed=9).eval()
    graph = exporter.graph(other)
    inputs = request(spec, 6)
    scores_C = OnnxScorer(graph).score(*inputs)
    assert scores_C == pytest.approx(whole_rows(other, inputs), abs=1e-5)
    assert scores_C != pytest.approx(whole_rows(model, inputs), abs=1e-3)
    assert exporter.graph(model) == before


def test_every_parameter_reaches_the_graph_by_its_name() -> None:
    model, _, exporter = exported("autoint", "every kind of field")
    names = {i.name for i in onnx.load_model_from_string(exporter.graph(model)).graph.initializer}
    assert {f"model.{name}" for name in model.state_dict()} <= names


def test_a_graph_says_nothing_about_the_machine_that_made_it() -> None:
    model, _, exporter = exported("autoint", "every kind of field")
    graph = exporter.graph(model)
    assert b"site-packages" not in graph
    assert str(Path(__file__).parents[4]).encode() not in graph


def test_the_cache_saves_the_tracing(tmp_path: Path) -> None:
    executor = CountingExecutor()
    first = Exporter(make_model(), SPEC, cache=tmp_path, executor=executor).graph(make_model())
    again = Exporter(make_model(), SPEC, cache=tmp_path, executor=executor)
    assert again.ready
    assert again.graph(make_model()) == first
    assert executor.submitted == 1
    wider = FeatureSpec.of([*SPEC.fields, Field("age", "numeric", "request.age")])
    Exporter(build(CONFIG, n_sparse=1, n_numeric=2, dim=4), wider, cache=tmp_path, executor=executor)
    assert executor.submitted == 2


@pytest.mark.parametrize("damage", ["truncated", "empty", "one bit flipped"])
def test_a_damaged_file_in_the_cache_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Any) -> None:
    executor = CountingExecutor()
    whole = Exporter(make_model(), SPEC, cache=tmp_path, executor=executor).graph(make_model())
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    if damage == "one bit flipped":
        content[-100] ^= 4
    file.write_bytes(content[: {"truncated": len(content) // 2, "empty": 0}.get(damage)])
    exporter = Exporter(make_model(), SPEC, cache=tmp_path, executor=executor)
    with caplog.at_level(logging.WARNING):
        assert exporter.graph(make_model()) == whole
    assert str(file) in caplog.text
    assert executor.submitted == 2
    assert Exporter(make_model(), SPEC, cache=tmp_path, executor=executor).graph(make_model()) == whole
    assert executor.submitted == 2


def test_a_killed_process_is_reported_and_started_again() -> None:
    exporter = Exporter(make_model(), SPEC, executor=DyingExecutor())
    with pytest.raises(ExportError, match="was killed"):
        exporter.graph(make_model())
    assert exporter.graph(make_model())


def test_traces_in_a_process_of_its_own() -> None:
    exporter = Exporter(make_model(), SPEC)
    model = make_model(seed=3)
    shapes = ((1, 1, 4), (5, 0, 4), (1, 0), (5, 1), (1, 0, 4))
    inputs = tuple(np.ones(shape, np.float32) for shape in shapes)
    scores_C = OnnxScorer(exporter.graph(model)).score(*inputs)
    assert scores_C == pytest.approx(whole_rows(model, inputs), abs=1e-5)  # type: ignore[arg-type]
    assert exporter.ready


def test_a_specification_without_item_fields_is_refused() -> None:
    spec = FeatureSpec.of([Field("user", "categorical", "user")])
    with pytest.raises(ExportError, match="no field reads the item"):
        Exporter(build(CONFIG, n_sparse=1, n_numeric=0, dim=4), spec)


def test_a_model_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ExportError, match="1 sparse and 1 numeric fields; the specification has 2 and 1"):
        Exporter(make_model(), FeatureSpec.of([*SPEC.fields, Field("item", "categorical", "item")]))
    exporter = Exporter(make_model(), SPEC, executor=CountingExecutor())
    with pytest.raises(ExportError, match="make an exporter for"):
        exporter.graph(build(AutoInt.Config(units=8), n_sparse=1, n_numeric=1, dim=4))
    with pytest.raises(ExportError, match=r"model\.mlp\.layers\.0\.weight is \(9, 6\), expected \(8, 6\)"):
        exporter.graph(build(FactorizationMachine.Config(mlp=(9,)), n_sparse=1, n_numeric=1, dim=4))
