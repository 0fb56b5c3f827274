"""The page shows the tables of the committed result."""

from __future__ import annotations

from recsys.debiasing.coat_study import CoatResult
from recsys.debiasing.weight_diagnostics import WeightDiagnostics
from tests.test_docs import ROOT


def test_the_tables_of_the_page_are_those_of_the_result() -> None:
    result = CoatResult.from_json((ROOT / "docs/results/coat/coat.json").read_bytes())
    page = (ROOT / "docs/debiasing.md").read_text("utf-8")
    tables = {row.table for row in result.rows}
    assert len(tables) > 1
    for table in tables:
        assert result.markdown(table) in page


def test_the_page_and_the_plot_show_the_weights() -> None:
    weights = WeightDiagnostics.from_json((ROOT / "docs/results/coat/weights.json").read_bytes())
    assert weights.markdown() in (ROOT / "docs/debiasing.md").read_text("utf-8")
    assert {one.name for one in weights.weights} == {"equal", "1 / p", "RKB", "WKB"}
    assert all(f">{one.name}<" in weights.plot() for one in weights.weights)
