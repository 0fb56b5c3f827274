"""The table of slates on a small world, and what the page shows of the committed one."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from recsys.cli import main
from recsys.datasets.ml1m_by_time import RatedItems
from recsys.errors import InvalidValueError
from recsys.retrieval_study.slates import slate_merging, slate_study
from recsys.retrieval_study.slates.rerankers import determinantal_process, maximal_marginal_relevance
from recsys.retrieval_study.slates.slate_merging import SHARES, merged
from recsys.retrieval_study.slates.slate_problem import slate_problem
from recsys.retrieval_study.slates.slate_result import MERGED, RERANKED, SlateResult
from recsys.retrieval_study.slates.slate_study import SlateStudy
from tests.test_docs import ROOT


@pytest.fixture
def short_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slate_study, "SHOWN", 5)
    monkeypatch.setattr(slate_merging, "POOL", 10)


def test_rows_are_computed_once_and_variety_rises_with_its_price(
    rated: RatedItems, short_lists: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = SlateStudy(rated, seeds=2)
    rows = list(study.rows(study.empty(), lambda doing: None))
    assert [(row.table, row.method, row.case) for row in rows] == study.tasks
    variety = {(row.method, row.case): np.mean(row.figures["vendi"]) for row in rows if row.table == RERANKED}
    for method, prices in slate_study.WEIGHTS.items():
        assert variety[method, f"{prices[-1]:g}"] > variety["none", "0"]
    assert all(len(values) == 2 for row in rows for values in row.figures.values())
    done = SlateResult.from_json(msgspec.structs.replace(study.empty(), rows=tuple(rows[:3])).to_json())
    assert list(study.rows(done, lambda doing: None)) == rows[3:]
    with pytest.raises(InvalidValueError, match="other seeds"):
        list(SlateStudy(rated, seeds=3).rows(done, lambda doing: None))


def test_a_fair_merge_is_the_same_whatever_the_scale_of_a_source(rated: RatedItems, short_lists: None) -> None:
    problem = slate_problem(rated, seed=0)
    fair, weighted = ([merged(problem, "popularity", x, fair=kind) for x in (1.0, 100.0)] for kind in (True, False))
    assert fair[0][0].tolist() == fair[1][0].tolist()
    assert weighted[0][0].tolist() != weighted[1][0].tolist()
    for lists_UK, _ in (*fair, *weighted):
        assert not np.take_along_axis(problem.hidden_UI, lists_UK, 1).any()
    broken_UK, least = merged(problem, "broken", 100.0, fair=True)
    assert least >= min(int(10 * share) / (10 * share) for share in SHARES.values())
    assert broken_UK.tolist() != fair[0][0].tolist()


@pytest.mark.parametrize("seed", range(5))
def test_greedy_choices_are_the_best_by_their_definitions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    worth, vectors = rng.normal(size=7), rng.normal(size=(7, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    near = vectors @ vectors.T
    chosen = maximal_marginal_relevance(worth, vectors, 0.7, 4)
    for k in range(4):
        rest = [item for item in range(7) if item not in chosen[:k]]
        assert chosen[k] == max(rest, key=lambda i: worth[i] - 0.7 * max([0.0, *near[i, chosen[:k]]]))
    chosen = determinantal_process(worth, vectors, 0.7, 4)
    kernel = near * np.exp(np.add.outer(worth, worth) / 1.4) * np.where(np.eye(7), 1.001, 1.0)
    for k in range(4):
        rest = [item for item in range(7) if item not in chosen[:k]]
        assert chosen[k] == max(rest, key=lambda i: np.linalg.det(kernel[np.ix_([*chosen[:k], i], [*chosen[:k], i])]))


def test_the_command_writes_figures_table_and_plot(
    film_folder: Path, tmp_path: Path, short_lists: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slate_study, "WEIGHTS", {"Vendi": (2,), "MMR": (1,), "DPP": (1,)})
    done = CliRunner().invoke(main, ["reproduce", "slates", str(film_folder), "--seeds", "1", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    result = SlateResult.from_json((tmp_path / "slates.json").read_bytes())
    assert (tmp_path / "slates.md").read_text() == result.markdown(RERANKED) + "\n" + result.markdown(MERGED)
    assert (tmp_path / "slates.svg").read_text() == result.plot()
    lacking = CliRunner().invoke(main, ["reproduce", "slates", str(tmp_path)])
    assert lacking.exit_code != 0
    assert "does not hold the data set ml-1m" in lacking.output


def test_the_tables_of_the_page_are_those_of_the_result() -> None:
    folder = ROOT / "docs/results/slates"
    result = SlateResult.from_json((folder / "slates.json").read_bytes())
    page = (ROOT / "docs/retrieval.md").read_text("utf-8")
    for table in (RERANKED, MERGED):
        assert result.markdown(table) in page
    assert (folder / "slates.svg").read_text("utf-8") == result.plot()
