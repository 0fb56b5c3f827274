"""The table of retrieval on a small world, and what the page shows of the committed one."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from recsys.cli import main
from recsys.datasets.ml1m_by_time import RatedItems
from recsys.errors import InvalidValueError
from recsys.retrieval_study import retrieval_fits
from recsys.retrieval_study.judging import best, recall
from recsys.retrieval_study.retrieval_fits import RetrievalStudy, judged, slices
from recsys.retrieval_study.retrieval_result import RetrievalResult
from recsys.retrieval_study.two_towers import TwoTowers
from tests.test_docs import ROOT


def test_towers_learn_what_users_like_and_a_seed_decides_them(rated: RatedItems) -> None:
    users = np.flatnonzero(rated.later_UI.any(1))

    def learned(epochs: int) -> tuple[TwoTowers, float]:
        towers = TwoTowers(rated, "", seed=1)
        for _ in range(epochs):
            towers.epoch(rated.liked_UI)
        lists = best(towers.scores(users), rated.rated_UI[users], 5)
        return towers, recall(lists, rated.later_UI[users])

    (_, before), (one, after), (other, _) = learned(0), learned(40), learned(40)
    assert after > before + 0.1
    np.testing.assert_array_equal(one.scores(users), other.scores(users))


def test_slices_part_the_relevant_items() -> None:
    liked = np.zeros((40, 4), np.bool_)
    for item, likes in enumerate((40, 20, 15, 5)):
        liked[:likes, item] = True
    relevant = np.ones((2, 4), np.bool_)
    found = slices(liked, relevant)
    assert {name: one[0].tolist() for name, one in found.items()} == {
        "all": [True, True, True, True],
        "head": [True, False, False, False],
        "tail": [False, True, True, True],
        "cold": [False, False, False, True],
    }
    figures = judged(np.array([[0, 3], [1, 2]]), found)
    assert figures["head"]["recall50"] == 0.5
    assert figures["tail"]["recall50"] == (0.5 + 1.0) / 2
    assert figures["cold"]["recall50"] == 0.5


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval_fits, "EPOCHS", {"10 %": 1, "100 %": 1})
    monkeypatch.setattr(retrieval_fits, "PARTS", {"10 %": 0.5, "100 %": 1.0})
    chosen = {name: retrieval_fits.TOWERS[name] for name in ("two-tower", "two-tower, CFM + dropout")}
    monkeypatch.setattr(retrieval_fits, "TOWERS", chosen)


def test_fits_that_are_there_are_not_made_again(few: None, rated: RatedItems) -> None:
    study = RetrievalStudy(rated, seeds=2)
    rows = list(study.rows(study.empty(), lambda doing: None))
    assert [(row.seed, row.part, row.method) for row in rows] == study.tasks
    assert len(rows) == 2 * 10 - 3  # baselines of all likes once
    part = RetrievalResult.from_json(msgspec.structs.replace(study.empty(), rows=tuple(rows[:-2])).to_json())
    assert list(study.rows(part, lambda doing: None)) == rows[-2:]
    lines = msgspec.structs.replace(study.empty(), rows=tuple(rows)).table()
    assert [line[2] for line in lines if line[:2] == ["EASE", "100 %"]] == ["1"]
    with pytest.raises(InvalidValueError, match="other settings"):
        list(study.rows(msgspec.structs.replace(part, settings={}), lambda doing: None))


def test_the_command_writes_and_prints_the_table(few: None, film_folder: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        main, ["reproduce", "retrieval", str(film_folder), "--seeds", "1", "--out", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    assert "EASE" in done.output
    assert len(RetrievalResult.from_json((tmp_path / "retrieval.json").read_bytes()).rows) == 10


def test_the_table_of_the_page_is_that_of_the_result() -> None:
    result = RetrievalResult.from_json((ROOT / "docs/results/retrieval/retrieval.json").read_bytes())
    assert result.markdown() in (ROOT / "docs/retrieval.md").read_text("utf-8")
