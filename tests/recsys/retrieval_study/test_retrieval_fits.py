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
from recsys.retrieval_study.neighbours import Floats
from recsys.retrieval_study.retrieval_fits import RetrievalStudy, judged, slices
from recsys.retrieval_study.retrieval_methods import BASE, METHODS, VARIANTS, towers_of
from recsys.retrieval_study.retrieval_result import RetrievalResult, RetrievalRow
from recsys.retrieval_study.two_towers import TwoTowers
from tests.test_docs import ROOT


def test_towers_learn_what_users_like_and_a_seed_decides_them(rated: RatedItems) -> None:
    users = np.flatnonzero(rated.later_UI.any(1))

    def learned(steps: int) -> tuple[Floats, float]:
        towers = TwoTowers(rated, 0.1, "", seed=1)
        towers.learn(rated.liked_UI, steps)
        found_UI = towers.scores(rated.liked_UI, users)
        return found_UI, recall(best(found_UI, rated.rated_UI[users], 5), rated.later_UI[users])

    (_, before), (one, after), (other, _) = learned(0), learned(40), learned(40)
    assert after > before + 0.1
    np.testing.assert_array_equal(one, other)


def test_a_user_is_what_the_user_liked(rated: RatedItems) -> None:
    towers, users = TwoTowers(rated, 0.1, "", seed=1), np.array([0])
    towers.learn(rated.liked_UI, 2)
    other_UI = rated.liked_UI.copy()
    other_UI[0] = rated.liked_UI[1]
    assert (towers.scores(rated.liked_UI, users) != towers.scores(other_UI, users)).any()
    towers.learn(np.zeros_like(rated.liked_UI), 2)  # nothing to learn


def test_the_validation_period_is_before_the_split(rated: RatedItems, earlier: RatedItems) -> None:
    """The last eighth by time of 14 ratings each are the places 12 and 13; low ratings count at the median time."""
    assert earlier.later_UI.any()
    at = [rated.items.index(name) for name in earlier.items]
    assert (earlier.rated_UI <= rated.rated_UI[:, at]).all()
    assert (earlier.liked_UI == (rated.liked_UI[:, at] & earlier.rated_UI)).all()
    assert (earlier.later_UI == (rated.liked_UI[:, at] & ~earlier.rated_UI)).all()
    disliked_UI = rated.rated_UI & ~rated.liked_UI
    assert (earlier.rated_UI[disliked_UI[:, at]]).all()


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
    """Few steps, and the methods EASE, popularity, the base and one variant."""
    monkeypatch.setattr(retrieval_fits, "PARTS", {"100 %": 1.0, "10 %": 0.5})
    chosen = ("EASE", "popularity", BASE, f"{BASE}, CFM + dropout")
    methods = {name: dict(list(METHODS[name].items())[:2]) for name in chosen}
    short = {"short": towers_of(2, 0.1), "long": towers_of(30, 0.1)}
    methods[BASE], methods[chosen[-1]] = short, short
    monkeypatch.setattr(retrieval_fits, "METHODS", methods)


def test_fits_that_are_there_are_not_made_again(few: None, rated: RatedItems, earlier: RatedItems) -> None:
    study = RetrievalStudy(rated, earlier, seeds=2)
    rows = list(study.rows(study.empty(), lambda doing: None))
    assert len(rows) == len(study.tasks) == 2 * (2 * 2 + 4) + 2 * 4 - 2  # tries, rows; baselines of all likes once
    part = RetrievalResult.from_json(msgspec.structs.replace(study.empty(), rows=tuple(rows[:-2])).to_json())
    assert list(study.rows(part, lambda doing: None)) == rows[-2:]
    lines = msgspec.structs.replace(study.empty(), rows=tuple(rows)).table()
    assert [line[2] for line in lines if line[:2] == ["EASE", "100 %"]] == ["1"]
    with pytest.raises(InvalidValueError, match="other settings"):
        list(study.rows(msgspec.structs.replace(part, settings={}), lambda doing: None))


def test_the_setting_of_a_row_was_best_in_the_validation_period(
    few: None, rated: RatedItems, earlier: RatedItems
) -> None:
    study = RetrievalStudy(rated, earlier, seeds=1)
    rows = list(study.rows(study.empty(), lambda doing: None))

    def worth(row: RetrievalRow) -> float:
        return row.figures["all"]["recall10"] + row.figures["all"]["recall50"]

    judged = [row for row in rows if row.period == "test" and row.method != "popularity"]
    assert judged
    for row in judged:
        of = BASE if row.method in VARIANTS else row.method
        tried = [one for one in rows if (one.period, one.part, one.method) == ("validation", row.part, of)]
        assert len(tried) == 2
        assert row.setting == max(tried, key=worth).setting


def test_the_command_writes_and_prints_the_table(few: None, film_folder: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        main, ["reproduce", "retrieval", str(film_folder), "--seeds", "1", "--out", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    assert "EASE" in done.output
    assert len(RetrievalResult.from_json((tmp_path / "retrieval.json").read_bytes()).rows) == 2 * (2 * 2 + 4)


def test_the_table_of_the_page_is_that_of_the_result() -> None:
    result = RetrievalResult.from_json((ROOT / "docs/results/retrieval/retrieval.json").read_bytes())
    page = (ROOT / "docs/retrieval.md").read_text("utf-8")
    assert result.markdown() in page
    assert len(result.further()) > 1
    assert result.further_markdown() in page
