"""Tables of searches over seeds, from planted ratings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from recsys.config.file import parse
from recsys.datasets.ml1m_autoint import ml1m_autoint
from recsys.errors import InvalidValueError
from recsys.fit.fit_result import Figures
from recsys.fit.studies.fit_study import FitTable
from recsys.search import search_study
from recsys.search.ihas.ihas_result import Contender, RowGroup
from recsys.search.search_study import METHODS, Reached, SearchRow, SearchStudy, SearchStudyResult
from recsys.search.search_tables import DNIS, IHAS
from tests.recsys.fit.test_fit_study import folder

__all__ = ["folder"]

SHORT = {"dnis": "search_epochs = 1\nretrain_epochs = 1\n", "ihas": "groups = [1, 2]\n"}


@pytest.mark.parametrize("table", [DNIS, IHAS], ids=lambda table: table.name)
def test_every_model_has_settings(table: FitTable, tmp_path: Path) -> None:
    assert table.name in METHODS
    for model in table.models:
        assert parse(table.settings_of(model, 2), tmp_path / "recsys.toml").training.seed == 2


@pytest.mark.slow
@pytest.mark.parametrize("table", [DNIS, IHAS], ids=lambda table: table.name)
def test_what_is_searched_is_not_searched_again(table: FitTable, folder: Path, tmp_path: Path) -> None:
    short = replace(
        table, settings=table.settings + SHORT[table.name], models={"DeepFM": table.models["DeepFM"]}, epochs=1
    )
    study = SearchStudy(short, ml1m_autoint(folder).to_batches(), tmp_path, seeds=2)
    first = next(study.rows(study.empty(), lambda _doing: None))
    methods = {one.method for one in first.reached}
    assert {"dnis": {"whole", "dnis", "uniform"}, "ihas": {"whole", "ihas 2", "random 2"}}[table.name] <= methods
    grouped = {one.method for one in first.reached if one.within is not None}
    assert {"dnis": 0, "ihas": 2}[table.name] <= len(grouped)
    assert all(method.startswith(("ihas 2", "random 2")) for method in grouped)
    part = msgspec.structs.replace(study.empty(), rows=(first,))
    said: list[str] = []
    rest = list(study.rows(SearchStudyResult.from_json(part.to_json()), said.append))
    assert [(row.model, row.seed) for row in rest] == [("DeepFM", 1)]
    assert all(words.startswith("DeepFM, seed 1: ") for words in said)
    with pytest.raises(InvalidValueError, match="other settings"):
        list(study.rows(SearchStudyResult(settings={}), said.append))


def test_figures_are_means_over_seeds_the_largest_size_first() -> None:
    def row(seed: int, auc: float) -> SearchRow:
        sizes = (
            Reached("dnis", 0.1, 10, auc, 0.5),
            Reached("dnis", 0.5, 50, auc, None),
            Reached("whole", None, 100, 0.9, 0.4),
        )
        return SearchRow("DeepFM", seed, sizes, 1.0)

    assert SearchStudyResult(settings={}, rows=(row(0, 0.7), row(1, 0.8))).table()[1:] == [
        ["DeepFM", "whole", "-", "2", "100", "0.9000 ± 0.0000", "0.4000 ± 0.0000"],
        ["DeepFM", "dnis", "50%", "2", "50", "0.7500 ± 0.0500", "-"],
        ["DeepFM", "dnis", "10%", "2", "10", "0.7500 ± 0.0500", "0.5000 ± 0.0000"],
    ]


def test_groups_have_a_column_of_their_own_and_no_share() -> None:
    reached = Reached("ihas 2", None, 20, 0.8, 0.5, 0.7), Reached("whole", None, 10, 0.9, 0.4)
    result = SearchStudyResult(settings={}, rows=(SearchRow("DeepFM", 0, reached, 1.0),))
    assert result.table() == [
        ["model", "method", "seeds", "values", "AUC", "log loss", "AUC within groups"],
        ["DeepFM", "ihas 2", "1", "20", "0.8000", "0.5000", "0.7000"],
        ["DeepFM", "whole", "1", "10", "0.9000", "0.4000", "-"],
    ]


def test_a_group_of_one_label_has_no_part_in_the_mean() -> None:
    def group(rows: int, auc: float | None) -> RowGroup:
        return RowGroup({"test": rows}, {}, 1, {"click": {"auc": auc}})

    figures: dict[str, Figures] = {"click": {"auc": 0.9, "log_loss": 0.4}}
    one = Contender("ihas 3", [group(10, 0.6), group(30, 0.8), group(99, None)], 3, figures, figures)
    assert search_study._within(one) == pytest.approx(0.75)
