"""The table of next clicks on a small log, its baselines beside plain computations, and what the page shows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from recsys.cli import main
from recsys.datasets.globo import CONTEXT, millis
from recsys.datasets.globo_sessions import globo_sessions
from recsys.errors import InvalidValueError
from recsys.retrieval_study.next_click import next_click_study
from recsys.retrieval_study.next_click.baselines import HOUR, Floats, Popularity, SessionNeighbours
from recsys.retrieval_study.next_click.click_towers import ClickTowers
from recsys.retrieval_study.next_click.next_click_methods import FROZEN, METHODS, TOWERS, towers_of
from recsys.retrieval_study.next_click.next_click_result import Hour, NextClickResult, NextClickRow
from recsys.retrieval_study.next_click.next_click_study import NextClickStudy, Period, asked, found, globo_periods
from tests.test_docs import ROOT

START = millis(next_click_study.OCTOBER[0], 0)
ARTICLES, DAYS = 40, 4
Ints = np.ndarray[tuple[int], np.dtype[np.int64]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sessions of three clicks every few minutes on articles of the hour, of which a reader's taste has every other."""
    made, rng = tmp_path_factory.mktemp("globo"), np.random.default_rng(0)
    rows = []
    for session in range(1200):
        time, user = START + session * DAYS * 24 * HOUR // 1200, session % 100
        first = (time - START) // (6 * HOUR) * 2 % (ARTICLES // 2)
        articles = (first + 2 * rng.permutation(10)[:3]) // 2 * 2 + user % 2
        rows += [(user, session, int(time + 60_000 * n), int(a) % ARTICLES) for n, a in enumerate(articles)]
    table = pd.DataFrame(rows, columns=["user_id", "session_id", "click_timestamp", "click_article_id"])
    for column in CONTEXT.values():
        table[column] = table["user_id"] % 3
    table.sample(frac=1, random_state=0).to_parquet(made / "clicks.parquet")
    return made


@pytest.fixture(scope="module")
def periods(folder: Path) -> tuple[Period, Period]:
    return globo_periods(folder / "clicks.parquet")


def test_clicks_know_the_reader_s_before_them(folder: Path) -> None:
    clicks = globo_sessions(folder / "clicks.parquet")
    table = pd.read_parquet(folder / "clicks.parquet").sort_values("click_timestamp", kind="stable", ignore_index=True)
    assert clicks.times_P.tolist() == table.click_timestamp.tolist()
    assert len(clicks.rows) == 2 * 1200
    for row in (0, 7, 1500, len(table) - 1):
        own = table[(table.user_id == table.user_id[row]) & (table.index < row)].index[::-1].tolist()
        assert clicks.before(np.array([row]), 5).tolist() == [(own + [-1] * 5)[:5]]
    births = table.groupby("click_article_id").click_timestamp.min().sort_index()
    assert clicks.births().tolist() == births.tolist()


def test_popularity_counts_the_hour_before_what_is_known(periods: tuple[Period, Period]) -> None:
    clicks, end = periods[0].clicks, 700
    popular = Popularity(clicks)
    popular.learn(end)
    last = clicks.times_P[end - 1]
    recent = [item for t, item in zip(clicks.times_P[:end], clicks.items_P[:end], strict=True) if t >= last - HOUR]
    items = np.arange(clicks.items)
    assert popular.scores(np.array([end]), items)[0].tolist() == [Counter(recent)[item] for item in items]


def test_neighbours_are_the_sessions_most_alike(periods: tuple[Period, Period]) -> None:
    clicks, end = periods[0].clicks, 700
    method = SessionNeighbours(clicks, sessions=30, neighbours=5)
    method.learn(end)
    sessions: dict[int, set[int]] = {}
    for row in range(end - 1, -1, -1):
        if clicks.sessions_P[row] in sessions or len(sessions) < 30:
            sessions.setdefault(int(clicks.sessions_P[row]), set()).add(int(clicks.items_P[row]))
    rows_Q = clicks.rows[np.searchsorted(clicks.rows, end) :][:20]
    scores_QI = method.scores(rows_Q, np.arange(clicks.items))
    for row, own_I in zip(rows_Q, scores_QI, strict=True):
        read = [int(clicks.items_P[at]) for at in clicks.before(np.array([row]), 20)[0] if at >= 0]
        near = {
            one: sum(1 / (n + 1) for n, item in enumerate(read) if item in its) / len(its) ** 0.5
            for one, its in sessions.items()
        }
        least = sorted(near.values())[-5]
        expected = [
            sum(near[one] for one, its in sessions.items() if item in its and 0 < near[one] >= least)
            for item in range(clicks.items)
        ]
        np.testing.assert_allclose(own_I, expected, rtol=1e-5)


class Told:
    """Scores an article by its number, and notes what it has learned when it is asked."""

    def __init__(self) -> None:
        self.ends: list[int] = []
        self.late: list[int] = []

    def learn(self, end: int) -> None:
        self.ends.append(end)

    def scores(self, rows_Q: Ints, items_C: Ints) -> Floats:
        self.late.append(int(rows_Q.min()) - self.ends[-1])
        return np.broadcast_to(items_C.astype(np.float32), (len(rows_Q), len(items_C)))


def test_nothing_is_learned_before_it_was_asked_for(periods: tuple[Period, Period]) -> None:
    period, told, frozen = periods[0], Told(), Told()
    hours = asked(period, told)
    assert told.ends[0] == period.clicks.until(period.start)
    assert told.ends == sorted(told.ends)
    assert min(told.late) >= 0
    assert sum(hour.clicks for hour in hours) == (period.clicks.rows >= told.ends[0]).sum()
    assert asked(period, frozen, frozen=True)
    assert len(frozen.ends) == 1


def test_what_a_reader_read_is_hidden_and_only_known_articles_are_found(periods: tuple[Period, Period]) -> None:
    clicks = periods[0].clicks
    rows_Q = clicks.rows[200:260]
    few = np.arange(5)
    hit_Q = found(clicks, Level(), rows_Q, few)
    for row, hit in zip(rows_Q, hit_Q, strict=True):
        read = {int(clicks.items_P[at]) for at in clicks.before(np.array([row]), 20)[0] if at >= 0}
        wanted = int(clicks.items_P[row])
        assert hit == (wanted in few and wanted not in read)  # all that may be shown fit into 20 places


class Level(Told):
    """Scores all alike."""

    def scores(self, rows_Q: Ints, items_C: Ints) -> Floats:
        return np.zeros((len(rows_Q), len(items_C)), np.float32)


@pytest.mark.slow
def test_towers_learn_what_readers_click_and_a_seed_decides_them(periods: tuple[Period, Period]) -> None:
    clicks = periods[0].clicks
    items = np.arange(clicks.items)

    def learned(end: int) -> Floats:
        towers = ClickTowers(clicks, 0.1, batch=256, hard=8, seed=1)
        towers.learn(end)
        return towers.scores(clicks.rows[-50:], items)

    one, other, none = learned(1500), learned(1500), learned(0)
    np.testing.assert_array_equal(one, other)
    odd_Q = clicks.items_P[clicks.rows[-50:]] % 2 == 1
    own = np.where(odd_Q, one[:, 1::2].mean(1), one[:, ::2].mean(1)) - one.mean(1)
    assert np.ptp(none, axis=1).max() < 1e-5  # nothing is known of anything
    assert (own > 0).mean() > 0.9


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """One setting of a method without training, two of towers."""
    monkeypatch.setitem(METHODS, "session kNN", {"": lambda clicks, _: SessionNeighbours(clicks, 20, 5)})
    monkeypatch.setitem(
        METHODS, TOWERS, {name: towers_of(heat, batch=256, hard=0) for name, heat in (("cold", 0.05), ("warm", 0.2))}
    )


@pytest.mark.slow
def test_what_is_there_is_not_done_again_and_the_best_setting_is_taken(
    few: None, periods: tuple[Period, Period]
) -> None:
    study = NextClickStudy(*periods, seeds=2)
    rows = list(study.rows(study.empty(), lambda doing: None))
    assert len(rows) == len(study.tasks) == 2 + 4 + 2
    tried = {row.setting: row.recall for row in rows if row.period == "validation"}
    best = max(tried, key=tried.__getitem__)
    assert {row.setting for row in rows if row.period == "test" and row.method in (TOWERS, FROZEN)} == {best}
    part = msgspec.structs.replace(study.empty(), rows=tuple(rows[:-1]))
    assert list(study.rows(NextClickResult.from_json(part.to_json()), lambda doing: None)) == rows[-1:]
    with pytest.raises(InvalidValueError, match="other settings"):
        list(study.rows(msgspec.structs.replace(part, periods={}), lambda doing: None))


@pytest.mark.slow
def test_the_command_writes_table_and_plot(few: None, folder: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["reproduce", "next-click", str(folder), "--seeds", "1", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    result = NextClickResult.from_json((tmp_path / "next_click.json").read_bytes())
    assert (tmp_path / "next_click.md").read_text() == result.markdown()
    assert [line[0] for line in result.table()[1:]] == list(METHODS)
    assert "<svg" in (tmp_path / "next_click.svg").read_text()
    other = CliRunner().invoke(main, ["reproduce", "next-click", str(tmp_path), "--out", str(tmp_path)])
    assert "does not hold the data set globo" in other.output


def test_means_are_over_hours_and_over_clicks() -> None:
    hours = (Hour(0, 10, 5, 2, 1), Hour(HOUR, 1000, 900, 0, 0))
    row = NextClickRow(method="m", seed=0, period="test", setting="", hours=hours)
    assert (row.recall, row.recall_of_clicks, row.recall_of_young) == (0.7, 905 / 1010, 0.5)


def test_the_table_of_the_page_is_that_of_the_result() -> None:
    result = NextClickResult.from_json((ROOT / "docs/results/next_click/next_click.json").read_bytes())
    assert result.markdown() in (ROOT / "docs/retrieval.md").read_text("utf-8")
