"""Several tasks over the same events: whether a shown item is clicked, whether it is bought."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa

from recsys.errors import StateError
from streaming.join.joiner import Joiner
from streaming.join.label_columns import LabelColumns
from streaming.join.labeled_impression import LabeledImpression, LabelRule


@dataclass(frozen=True, slots=True)
class Task:
    """What a model learns to predict of a shown item: a positive label by `rule`, within `wait` (ms) of event time."""

    name: str
    rule: LabelRule
    wait: int


class TasksJoiner:
    """One joiner for each task; every shown item is labelled once for each of them.

    Labels come out in the order in which they became known, those of one moment in the order of the tasks. `joiner`
    makes the joiner of a task from the task and its number.
    """

    def __init__(self, tasks: Sequence[Task], joiner: Callable[[Task, int], Joiner]) -> None:
        self._names = [task.name for task in tasks]
        self._joiners = [joiner(task, number) for number, task in enumerate(tasks)]

    @property
    def wait(self) -> int:
        """The longest."""
        return max(joiner.wait for joiner in self._joiners)

    @property
    def lateness(self) -> int:
        return max(joiner.lateness for joiner in self._joiners)

    @property
    def sequence(self) -> int:
        """Events pushed so far."""
        return self._joiners[0].sequence

    @property
    def clock(self) -> int:
        """As `Joiner.clock`."""
        return self._joiners[0].clock

    @property
    def unlabelled(self) -> int:
        """As `Joiner.unlabelled`, added over the tasks."""
        return sum(joiner.unlabelled for joiner in self._joiners)

    @property
    def counts(self) -> dict[str, int]:
        """Events by outcome (see `OUTCOMES`), added over the tasks: each event counts once for each task."""
        return _sum(joiner.counts for joiner in self._joiners)

    @property
    def tallies(self) -> dict[str, int]:
        """As `Joiner.tallies`, added over the tasks."""
        return _sum(joiner.tallies for joiner in self._joiners)

    def push(self, events: pa.RecordBatch) -> list[LabeledImpression]:
        """As `Joiner.push`, for all tasks."""
        return self.join(events).impressions()

    def join(self, events: pa.RecordBatch) -> LabelColumns:
        """As `Joiner.join`, for all tasks."""
        return _merged(joiner.join(events) for joiner in self._joiners)

    def skip(self, events: pa.RecordBatch) -> LabelColumns:
        """As `Joiner.skip`, for all tasks."""
        return _merged(joiner.skip(events) for joiner in self._joiners)

    def close(self) -> LabelColumns:
        """As `Joiner.close`, for all tasks."""
        return _merged(joiner.close() for joiner in self._joiners)

    def flush(self) -> list[LabeledImpression]:
        """As `Joiner.flush`, for all tasks."""
        return self.close().impressions()

    def forget(self, user: str) -> int:
        """As `Joiner.forget`, for all tasks."""
        return sum(joiner.forget(user) for joiner in self._joiners)

    def state(self) -> bytes:
        """All that the future depends on, but not the settings."""
        states = [joiner.state() for joiner in self._joiners]
        return msgspec.msgpack.encode(list(zip(self._names, states, strict=True)))

    def restore(self, state: bytes) -> None:
        """Restore the state returned by `state()`. Raises StateError when it is not one, or of other tasks."""
        try:
            loaded = msgspec.msgpack.decode(state, type=list[tuple[str, bytes]])
        except msgspec.DecodeError as error:
            raise StateError(f"not the state of several tasks: {error}") from error
        if (names := [name for name, _ in loaded]) != self._names:
            raise StateError(f"the state is of the tasks {', '.join(names)}, not {', '.join(self._names)}")
        for joiner, (_, one) in zip(self._joiners, loaded, strict=True):
            joiner.restore(one)


def _merged(outs: Iterable[LabelColumns]) -> LabelColumns:
    """In the order in which they became known; each joiner's own order is kept."""
    return LabelColumns.concat(list(outs)).in_order()


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)
