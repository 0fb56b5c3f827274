"""Lists of films, judged by what users liked later: what variety costs, and what a biased source costs.

Lists are of EASE's candidates. The spread over seeds is that of leaving out a tenth of what users liked, drawn anew for
each; users and what they liked later are the same. Shape suffixes: U users, I items, C candidates, K places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from recsys.datasets.ml1m_by_time import Ints, RatedItems
from recsys.evaluation.result_file import check_settings
from recsys.retrieval_study.judging import ndcg, recall, shares_shown
from recsys.retrieval_study.slates.rerankers import determinantal_process, maximal_marginal_relevance
from recsys.retrieval_study.slates.slate_merging import BROKEN, POOL, SHARES, merged
from recsys.retrieval_study.slates.slate_problem import CANDIDATES, HELD_OUT, SlateProblem, slate_problem
from recsys.retrieval_study.slates.slate_result import MERGED, ORDERS, RERANKED, SlateResult, SlateRow
from serving.ranking.diversity import Diversity, categories
from serving.ranking.exploration import Greedy
from serving.ranking.vendi import Floats, hill_number, vendi_score

SHOWN = 20
"""Films of a list."""
WEIGHTS = {"Vendi": (2, 4, 8, 16, 32), "MMR": (0.5, 1, 2, 4), "DPP": (0.125, 0.25, 0.5, 1)}
"""Prices of variety, in log odds, by method: one unit of each means something else."""
BIASES: tuple[tuple[str, float], ...] = (("none", 1.0), ("popularity", 3.0), ("popularity", 10.0), (BROKEN, 3.0))
"""A source whose scores are too great by a factor; a broken one has random scores in the place of popularity's."""
_FAIR, _PLAIN = "fair merge", "weighted scores"


class SlateStudy:
    """Two tables: lists that are re-ranked for variety, and lists that are merged of several sources."""

    def __init__(self, rated: RatedItems, seeds: int) -> None:
        self._rated, self._seeds = rated, seeds
        self._kinds_IF = categories([[*one] for one in rated.genres]).dense()
        self._problems: list[SlateProblem] = []

    @property
    def tasks(self) -> list[tuple[str, str, str]]:
        """Every row: its table, method and case."""
        varied = [(RERANKED, method, f"{weight:g}") for method, prices in WEIGHTS.items() for weight in prices]
        cases = [name if factor == 1 else f"{name} x {factor:g}" for name, factor in BIASES]
        return [(RERANKED, "none", "0"), *varied, *((MERGED, one, case) for case in cases for one in (_FAIR, _PLAIN))]

    def empty(self) -> SlateResult:
        settings = {"candidates": CANDIDATES, "held_out": HELD_OUT, "shown": SHOWN, "pool": POOL, **SHARES}
        return SlateResult(seeds=self._seeds, settings=settings)

    def rows(self, done: SlateResult, doing: Callable[[str], None]) -> Iterator[SlateRow]:
        """The rows that `done` has not. Raises InvalidValueError if it is of other settings."""
        check_settings((done.seeds, done.settings), (self._seeds, self.empty().settings), "seeds or settings")
        have = {(row.table, row.method, row.case) for row in done.rows}
        for table, method, case in self.tasks:
            if (table, method, case) not in have:
                doing(f"{table}: {method}, {case}")
                found = [self._figures(table, method, case, problem) for problem in self._all_problems()]
                figures = {name: [one[name] for one in found] for name in found[0]}
                yield SlateRow(table=table, method=method, case=case, figures=figures)

    def _all_problems(self) -> list[SlateProblem]:
        if not self._problems:
            self._problems = [slate_problem(self._rated, seed) for seed in range(self._seeds)]
        return self._problems

    def _figures(self, table: str, method: str, case: str, problem: SlateProblem) -> dict[str, float]:
        if table == RERANKED:
            lists_UK = self._reranked(method, float(case), problem)
            kinds = [vendi_score(self._kinds_IF[films_K]) for films_K in lists_UK]
            own = {"vendi": float(np.mean(kinds))}
        else:
            name, _, factor = case.partition(" x ")
            lists_UK, least = merged(problem, name, float(factor or 1), fair=method == _FAIR)
            own = {"least": least}
        shares_I = shares_shown(lists_UK)
        judged = {"ndcg": ndcg(lists_UK, problem.relevant_UI), "recall": recall(lists_UK, problem.relevant_UI)}
        return judged | own | {f"exposed {name}": hill_number(shares_I, order) for name, order in ORDERS.items()}

    def _reranked(self, method: str, weight: float, problem: SlateProblem) -> Ints:
        rows = zip(problem.candidates_UC, problem.worth_UC, strict=True)
        return np.array([films_C[self._order(method, weight, films_C, worth_C)] for films_C, worth_C in rows])

    def _order(self, method: str, weight: float, films_C: Ints, worth_C: Floats) -> list[int]:
        if method == "MMR":
            return maximal_marginal_relevance(worth_C, self._kinds_IF[films_C], weight, SHOWN)
        if method == "DPP":
            return determinantal_process(worth_C, self._kinds_IF[films_C], weight, SHOWN)
        values = [self._rated.genres[film] for film in films_C.tolist()]
        chances_C, rng = 1 / (1 + np.exp(-worth_C)), np.random.default_rng(0)
        order_K, _ = Diversity("item.genres", weight).order(Greedy(), chances_C, list(values), SHOWN, rng)
        return [int(place) for place in order_K]
