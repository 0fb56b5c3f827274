"""Choosing an engine."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from recsys.errors import ArtefactError
from serving.model import graph_reader
from serving.model.scorer import OnnxScorer, OpenVinoScorer, load_scorer
from tests.contracts.scorer import exported


@pytest.fixture
def graph() -> bytes:
    model, _, exporter = exported("fm", "item alone")
    return exporter.graph(model)


@pytest.mark.slow
def test_auto_is_openvino(graph: bytes) -> None:
    assert isinstance(load_scorer(graph), OpenVinoScorer)
    assert isinstance(load_scorer(graph, "onnxruntime"), OnnxScorer)


def test_auto_falls_back_where_openvino_is_missing(
    graph: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    graph_reader.openvino_core.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert isinstance(load_scorer(graph), OnnxScorer)
    assert "scoring with ONNX Runtime" in caplog.text
    with pytest.raises(ImportError):
        load_scorer(graph, "openvino")


def test_what_no_engine_reads_is_refused() -> None:
    with pytest.raises(ArtefactError, match="cannot read this graph"):
        load_scorer(b"no graph")


def test_an_unknown_engine_is_refused(graph: bytes) -> None:
    with pytest.raises(ValueError, match="unknown engine 'torch'"):
        load_scorer(graph, "torch")  # type: ignore[arg-type]


@pytest.mark.slow
def test_scoring_never_loads_torch(graph: bytes) -> None:
    code = "import sys; from serving.model.scorer import load_scorer; load_scorer(sys.stdin.buffer.read())\n"
    code += "assert 'openvino' in sys.modules and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], input=graph, check=True)
