"""The Globo importer pairs clicks, so that the history of an article does not predict the label.

Shape suffixes: A articles, B shown items in stream order, C clicks, P pairs of clicks.
"""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recsys.datasets.card import Dataset
from recsys.datasets.globo import WINDOW, globo
from recsys.datasets.globo_returns import RETURN, globo_returns, next_day
from recsys.evaluation import metrics
from streaming.events.columns import KINDS
from streaming.events.schema import EVENT_SCHEMA, Impression, Interaction
from streaming.ingest.shapes.pairs import pair_neighbours
from tests.recsys.datasets.test_datasets import all_events, as_accepted, check_stream, shared

HOUR = 3_600_000
Ints = npt.NDArray[np.int64]


def clicks(tmp_path: Path, times_C: npt.ArrayLike, articles_C: npt.ArrayLike, users_C: npt.ArrayLike = ()) -> Path:
    """A file of clicks, each of a user of its own unless `users_C` are given."""
    times_C, articles_C = np.asarray(times_C), np.asarray(articles_C)
    count = len(times_C)
    columns: dict[str, Any] = {
        "user_id": pa.array(np.asarray(users_C if np.size(users_C) else range(count)), pa.int32()),
        "click_article_id": pa.array(articles_C, pa.int32()),
        "click_timestamp": pa.array(times_C, pa.int64()),
    }
    for i, name in enumerate(("environment", "deviceGroup", "os", "country", "region", "referrer_type")):
        columns[f"click_{name}"] = pa.array([i] * count, pa.int32())
    pa.parquet.write_table(pa.table(columns), tmp_path / "clicks.parquet")
    return tmp_path / "clicks.parquet"


def bursts(tmp_path: Path, articles: int) -> Path:
    """Articles that appear suddenly and are forgotten within hours; most have few clicks, some have hundreds."""
    rng = np.random.default_rng(0)
    counts_A = np.minimum(rng.pareto(0.8, articles).astype(int) + 1, 500)
    articles_C = np.repeat(np.arange(articles), counts_A)
    times_C = rng.uniform(0, 72 * HOUR, articles)[articles_C] + rng.exponential(2 * HOUR, len(articles_C))
    order_C = np.argsort(times_C)
    return clicks(tmp_path, times_C[order_C].astype(int), articles_C[order_C])


def shown_articles(dataset: Dataset) -> tuple[Ints, npt.NDArray[np.float64]]:
    """Articles in the order in which they are shown, [B], and whether they were clicked, [B]."""
    events = pa.Table.from_batches(list(dataset), EVENT_SCHEMA)
    shown = events.filter(pc.equal(events["kind"], KINDS.index("impression")))
    clicked = events.filter(pc.equal(events["kind"], KINDS.index("interaction")))
    assert clicked["impression"].equals(shown["id"])
    articles_B = pc.list_flatten(shown["items"]).cast(pa.int64()).to_numpy()
    return articles_B, (articles_B == np.repeat(clicked["item"].cast(pa.int64()).to_numpy(), 2)).astype(np.float64)


def history(articles_B: Ints, labels_B: npt.NDArray[np.float64]) -> tuple[Ints, Ints]:
    """How often each article had been shown before, [B], and how often it had been clicked, [B]."""
    order = np.argsort(articles_B, kind="stable")
    starts = np.flatnonzero(np.diff(articles_B[order], prepend=-1))
    lengths = np.diff(np.append(starts, len(order)))
    clicks_before = np.cumsum(labels_B[order]) - labels_B[order]
    shown_B, clicked_B = np.empty((2, len(order)), np.int64)
    shown_B[order] = np.arange(len(order)) - np.repeat(starts, lengths)
    clicked_B[order] = clicks_before - np.repeat(clicks_before[starts], lengths)
    return shown_B, clicked_B


def auc_of_history(articles_B: Ints, labels_B: npt.NDArray[np.float64], known_B: Ints) -> float:
    """AUC of a classifier that knows one number per row: fitted to half of the articles, judged on the others."""
    fitted_B = articles_B % 2 == 0
    values, known_B = np.unique(np.minimum(known_B, 300), return_inverse=True)
    shown = np.bincount(known_B[fitted_B], minlength=len(values))
    share = (np.bincount(known_B[fitted_B], labels_B[fitted_B], len(values)) + 0.5) / (shown + 1)
    return metrics.auc(labels_B[~fitted_B], share[known_B[~fitted_B]])


def check_history_does_not_predict_the_label(dataset: Dataset, articles: int) -> None:
    articles_B, labels_B = shown_articles(dataset)
    shown_B, clicked_B = history(articles_B, labels_B)
    assert labels_B.mean() == 0.5
    for turn in range(4):
        chosen_B = shown_B == turn
        assert chosen_B.sum() > articles
        assert abs(labels_B[chosen_B].mean() - 0.5) < 0.03
    assert abs(labels_B[shown_B >= 4].mean() - 0.5) < 0.01
    few_B = shown_B < 20  # where it is easiest to tell: the whole is nearly all popular articles
    for rows_B in (few_B, ~few_B):
        noise = 4 * np.sqrt(2 / 3 / rows_B.sum())  # standard deviations of the AUC of half of the rows
        for known_B in (shown_B, clicked_B, 2 * clicked_B - shown_B):
            assert abs(auc_of_history(articles_B[rows_B], labels_B[rows_B], known_B[rows_B]) - 0.5) < noise


def test_an_impression_shows_the_articles_of_two_clicks_and_belongs_to_one_of_them(tmp_path: Path) -> None:
    dataset = globo(clicks(tmp_path, [0, WINDOW, 2 * WINDOW + 1, 5 * HOUR, 5 * HOUR], [1, 2, 1, 7, 8]))
    check_stream(dataset)
    events = all_events(dataset)
    as_accepted(events)
    assert [type(event) for event in events] == [Impression, Interaction] * 2
    shown = {event.id: event for event in events if isinstance(event, Impression)}
    assert [sorted(impression.items) for impression in shown.values()] == [["1", "2"], ["7", "8"]]
    possible = {"g0": ("1", 0), "g1": ("2", WINDOW), "g3": ("7", 5 * HOUR), "g4": ("8", 5 * HOUR)}
    for event in events:
        if isinstance(event, Interaction):
            impression = shown[event.impression]
            assert (event.item, event.time) == possible[event.impression]
            assert (impression.time, impression.user) == (event.time, event.impression[1:])
            assert impression.features == {
                "environment": 0, "device_group": 1, "os": 2, "country": 3, "region": 4, "referrer_type": 5,
            }  # fmt: skip
    assert dataset.card.counts == {"clicks": 2, "clicks in no pair": 1, "users": 2, "articles": 2, "events": 4}


@pytest.mark.slow
def test_draws_depend_on_the_seed_but_not_on_the_days_chosen(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = clicks(tmp_path, np.sort(rng.integers(0, 72 * HOUR, 30_000)), rng.integers(0, 20, 30_000))
    whole = all_events(globo(path, seed=1))
    part = all_events(globo(path, seed=1, start=date(1970, 1, 2), end=date(1970, 1, 3)))
    assert part == [event for event in whole if 24 * HOUR <= event.time < 48 * HOUR]
    assert part
    assert all_events(globo(path, seed=2)) != whole
    with pytest.raises(ValueError, match="no clicks from 1971-01-01"):
        globo(path, start=date(1971, 1, 1))


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 4 * WINDOW), st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=60))
@example([(0, 0, user % 2) for user in range(30)] + [(0, 1, 2 + user % 2) for user in range(30)])
def test_pairs_are_clicks_of_different_users_on_different_articles_close_in_time(
    rows: list[tuple[int, int, int]],
) -> None:
    rows.sort(key=lambda row: row[0])
    times_C, articles_C, users_C = np.array(rows).T

    def fit(one: int, other: int) -> bool:
        differ = articles_C[one] != articles_C[other] and users_C[one] != users_C[other]
        return bool(differ and times_C[other] - times_C[one] <= WINDOW)

    pairs_P2 = pair_neighbours(times_C, users_C, articles_C, WINDOW)
    paired = pairs_P2.ravel().tolist()
    assert len(paired) == len(set(paired))
    assert all(one < other and fit(one, other) for one, other in pairs_P2.tolist())
    left = [row for row in range(len(rows)) if row not in set(paired)]
    assert not any(fit(one, other) for one, other in pairwise(left))


@pytest.mark.slow
def test_the_history_of_an_article_does_not_predict_the_label(tmp_path: Path) -> None:
    check_history_does_not_predict_the_label(globo(bursts(tmp_path, 20_000)), articles=3_000)


@pytest.mark.slow
@pytest.mark.shared_data
def test_globo_as_measured() -> None:
    dataset = globo(shared("globo/clicks.parquet"), end=date(2017, 10, 5))
    assert dataset.card.counts == {
        "clicks": 432_107, "clicks in no pair": 9_594, "users": 149_113, "articles": 10_807, "events": 864_214,
    }  # fmt: skip
    check_history_does_not_predict_the_label(dataset, articles=4_000)


def test_a_reader_who_comes_back_on_the_next_day_has_returned_to_what_was_clicked(tmp_path: Path) -> None:
    """Readers 0 and 1 come back, 2 on the same day, 3 after two days; of each pair one click is a list."""
    start = 1_507_680_000_000  # a midnight
    times_C = np.array([0, 1, 2, 3, HOUR, 30 * HOUR, 30 * HOUR + 1, 60 * HOUR]) + start
    users_C, articles_C = np.array([0, 1, 2, 3, 2, 0, 1, 3]), np.arange(8)
    path = clicks(tmp_path, times_C, articles_C, users_C)
    assert next_day(times_C, users_C).tolist() == [times_C[5], times_C[6], *[-1] * 6]
    events = globo_returns(path, date(2017, 10, 11), date(2017, 10, 12))
    assert events["time"].to_pylist() == sorted(events["time"].to_pylist())
    acts = events.filter(pc.equal(events["kind"], KINDS.index("interaction"))).to_pylist()
    clicked = {act["impression"]: act["item"] for act in acts if act["action"] == "click"}
    returns = {act["impression"]: act for act in acts if act["action"] == RETURN}
    assert set(clicked) <= {"g0", "g1", "g2", "g3"}
    assert set(returns) == set(clicked) & {"g0", "g1"}
    assert all(act["item"] == clicked[name] for name, act in returns.items())
    assert all(act["time"] in times_C[5:7] for act in returns.values())
    half = globo_returns(path, date(2017, 10, 11), date(2017, 10, 12), one_in=2).to_pylist()
    even = {name for name in clicked if int(name[1:]) % 2 == 0}
    assert {act["impression"] for act in half if act["impression"]} == even
