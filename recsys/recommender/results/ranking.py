"""A ranked list as a result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple, overload

from recsys.recommender.results.frame import Frame
from serving.local_ranking import Answer
from streaming.events.schema import Impression

if TYPE_CHECKING:
    import pyarrow as pa


class Ranked(NamedTuple):
    """One item of a ranking; `score` is as in `serving.api.messages.schemas.RankedItem`."""

    item: str
    score: float


class Ranking(Frame, Sequence[Ranked]):
    """Items with their scores, best first. It is a sequence of `Ranked`, and a frame of `item`, `score`, `source`.

    Where the model has several tasks, the frame has a column `scores.TASK` for each; where there are boosts, `boosted`.
    """

    def __init__(self, answer: Answer | None) -> None:
        self._answer = answer
        shown = answer.shown if answer is not None else None
        self._rows = [Ranked(*row) for row in zip(shown.items, shown.scores, strict=True)] if shown is not None else []

    @property
    def impression(self) -> Impression | None:
        """The list as an event, to be ingested with what the user does with it; None for an empty list."""
        return self._answer.shown if self._answer is not None and self._rows else None

    @property
    def model(self) -> str:
        """The model and its version, or `popularity`; empty for an empty list."""
        return self._answer.shown.model if self._answer is not None else ""

    @property
    def boosted(self) -> tuple[float, ...]:
        """What the items were ranked by in the place of their scores; empty without boosts."""
        return self._answer.boosted if self._answer is not None else ()

    @property
    def degraded(self) -> tuple[str, ...]:
        """What was missing for the model's ranking; see `serving.api.messages.schemas.RankResponse`."""
        return self._answer.degraded if self._answer is not None else ()

    @property
    def scores(self) -> dict[str, list[float]]:
        """The probability of each task for each item, where the model has several tasks; else empty."""
        found = self._answer.probabilities if self._answer is not None else {}
        return dict(found) if len(found) > 1 else {}

    @overload
    def __getitem__(self, place: int) -> Ranked: ...
    @overload
    def __getitem__(self, place: slice) -> list[Ranked]: ...
    def __getitem__(self, place: int | slice) -> Ranked | list[Ranked]:
        return self._rows[place]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Ranked]:
        return iter(self._rows)

    def to_arrow(self) -> pa.Table:
        """Columns `item`, `score`, `source`, which says where a recommended item came from, `boosted` and `scores`."""
        import pyarrow as pa

        sources = self._answer.sources if self._answer is not None else {}
        return pa.table(
            {
                "item": pa.array([row.item for row in self._rows], pa.string()),
                "score": pa.array([row.score for row in self._rows], pa.float64()),
                "source": pa.array([sources.get(row.item, "") for row in self._rows], pa.string()),
                **({"boosted": pa.array(self.boosted, pa.float64())} if self.boosted else {}),
                **{f"scores.{task}": pa.array(by_item, pa.float64()) for task, by_item in self.scores.items()},
            }
        )

    def __repr__(self) -> str:
        return f"Ranking([{', '.join(f'({item!r}, {score:.4f})' for item, score in self._rows)}])"

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{escape(item)}</td><td>{score:.4f}</td></tr>" for item, score in self._rows)
        return f"<table><thead><tr><th>item</th><th>score</th></tr></thead><tbody>{rows}</tbody></table>"
