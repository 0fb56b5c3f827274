"""Retrieval on MovieLens 1M by time: baselines and the two-tower model, with and without self-supervision.

Protocol: items are the 3,662 films with a rating in the first 80 % of ratings by time; films that the user rated there
are left out; relevant is what the user rated 4 or 5 afterwards; users are the 1,120 with a like before and after. The
spread over seeds is that of initial weights, order and negatives, at a tenth of the likes also of which tenth it is.
Nothing is tuned, and the last epoch is judged. Shape suffixes: U users, I items, K places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from recsys.datasets.ml1m_by_time import Bools, Ints, RatedItems
from recsys.evaluation.result_file import check_settings
from recsys.retrieval_study.judging import best, mean_average_precision, recall
from recsys.retrieval_study.neighbours import Floats, ease, item_knn, popularity, scores
from recsys.retrieval_study.retrieval_result import RetrievalResult, RetrievalRow
from recsys.retrieval_study.two_towers import SETTINGS, TwoTowers

PARTS = {"10 %": 0.1, "100 %": 1.0}
EPOCHS = {"10 %": 12, "100 %": 4}
COLD = 10
"""Likes before the split below which a film is cold; the head has half of all likes, the tail are all other films."""
_SSL = '[retrieval.ssl]\nmethod = "{}"\nbatch = 512\n'
TOWERS = {
    "two-tower": "",
    "two-tower, spread-out": _SSL.format("spread_out"),
    "two-tower, RFM": _SSL.format("rfm"),
    "two-tower, CFM": _SSL.format("cfm"),
    "two-tower, CFM + dropout": _SSL.format("cfm") + "dropout = 0.1\n",
}
"""What each adds to the settings."""
BASELINES: dict[str, Callable[[Bools], Floats]] = {
    "EASE": lambda liked_UI: scores(liked_UI, ease(liked_UI)),
    "item-kNN": lambda liked_UI: scores(liked_UI, item_knn(liked_UI)),
    "popularity": lambda liked_UI: np.broadcast_to(popularity(liked_UI), liked_UI.shape),
}


class RetrievalStudy:
    """A row for each method, part of the likes and seed; those of one seed come before those of the next."""

    def __init__(self, rated: RatedItems, seeds: int) -> None:
        self._rated, self._seeds = rated, seeds
        self._users = np.flatnonzero(rated.liked_UI.any(1) & rated.later_UI.any(1))
        self._relevant = slices(rated.liked_UI, rated.later_UI[self._users])

    @property
    def tasks(self) -> Sequence[tuple[int, str, str]]:
        """Every row: its seed, part and method. Baselines of all likes are the same for every seed."""
        methods = [*BASELINES, *TOWERS]
        every = [(seed, part, method) for seed in range(self._seeds) for part in PARTS for method in methods]
        return [one for one in every if not (one[0] and one[1] == "100 %" and one[2] in BASELINES)]

    def empty(self) -> RetrievalResult:
        epochs = {f"epochs at {part}": count for part, count in EPOCHS.items()}
        return RetrievalResult(settings={"towers": SETTINGS, **epochs})

    def rows(self, done: RetrievalResult, doing: Callable[[str], None]) -> Iterator[RetrievalRow]:
        """The rows that `done` has not. Raises InvalidValueError if it is of other settings."""
        check_settings(done.settings, self.empty().settings)
        have = {(row.seed, row.part, row.method) for row in done.rows}
        for seed, part, method in self.tasks:
            if (seed, part, method) not in have:
                doing(f"{method}, {part} of the likes, seed {seed}")
                lists_UK = self._lists(method, part, seed)
                yield RetrievalRow(method=method, part=part, seed=seed, figures=judged(lists_UK, self._relevant))

    def _lists(self, method: str, part: str, seed: int) -> Ints:
        rated = self._rated
        drawn_UI = np.random.default_rng(seed).random(rated.liked_UI.shape) < PARTS[part]
        liked_UI = rated.liked_UI & drawn_UI
        if method in BASELINES:
            found_UI = BASELINES[method](liked_UI)[self._users]
        else:
            towers = TwoTowers(rated, TOWERS[method], seed)
            for _ in range(EPOCHS[part]):
                towers.epoch(liked_UI)
            found_UI = towers.scores(self._users)
        return best(found_UI, rated.rated_UI[self._users], 50)


def slices(liked_UI: Bools, relevant_UI: Bools) -> dict[str, Bools]:
    """What is relevant, of all items and of those of the head, the tail and without many likes."""
    likes_I = liked_UI.sum(0)
    order_I = np.argsort(-likes_I, kind="stable")
    head_I = np.zeros(len(likes_I), np.bool_)
    head_I[order_I[likes_I[order_I].cumsum() <= likes_I.sum() / 2]] = True
    kinds = {"all": np.ones_like(head_I), "head": head_I, "tail": ~head_I, "cold": likes_I < COLD}
    return {name: relevant_UI & kind_I for name, kind_I in kinds.items()}


def judged(lists_UK: Ints, relevant: dict[str, Bools]) -> dict[str, dict[str, float]]:
    """Recall and mean average precision by slice, over its users with a relevant item there."""
    found = {}
    for name, relevant_UI in relevant.items():
        some_U = relevant_UI.any(1)
        own_UK, wanted_UI = lists_UK[some_U], relevant_UI[some_U]
        found[name] = {
            "recall10": recall(own_UK[:, :10], wanted_UI),
            "recall50": recall(own_UK, wanted_UI),
            "map10": mean_average_precision(own_UK[:, :10], wanted_UI),
        }
    return found
