"""What the beginning of a log shows about its labels: the actions that occur, and events that did not meet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.config.sections.learning.tasks import CLICK
from recsys.config.units import written
from streaming.encode.feature_spec import Field
from streaming.events.columns import IMPRESSION, INTERACTION, kinds
from streaming.join.tasks_joiner import Task
from streaming.log.event_log import EventLog, read_partitions
from streaming.windows.streamed_source import IMPRESSION as SHOWN
from streaming.windows.streamed_source import StreamedSource

LIMIT = 1_000_000
"""Most events that are looked at for their actions."""
EXAMPLES = 100_000
"""Most events among which an example is looked for."""
SHOWN_ACTIONS = 5
SHOWN_ITEMS = 3


@dataclass(frozen=True, slots=True)
class _Shown:
    time: int
    items: list[str]


def action_doubts(log: EventLog, tasks: Sequence[Task], fields: Sequence[Field]) -> Iterator[str]:
    """A warning for each task and each field of which an action does not occur, and one when actions of neither do."""
    found: Counter[str] = Counter()
    for events in beginning(log, LIMIT):
        actions = events.column("action").filter(pa.array(kinds(events) == INTERACTION))
        found.update({one["values"]: one["counts"] for one in pc.value_counts(actions).to_pylist()})
    where = looked_at(log, LIMIT)
    for task in tasks:
        missing = ", ".join(repr(action) for action in sorted(task.rule.actions) if action not in found)
        if missing and found:
            yield (
                f"{_setting(task, 'positive', 'actions')} names {missing}, which no interaction in {where} has; the "
                f"actions there are {_commonest(found)}."
            )
    counted = {field.name: field.streamed for field in fields if field.streamed is not None}
    yield from _counted_doubts(counted, found, where)
    learned = {action for task in tasks for action in task.rule.actions} | {of.action for of in counted.values()}
    ignored = Counter({action: count for action, count in found.items() if action not in learned})
    if ignored:
        yield (
            f"{ignored.total():,} interactions in {where} have actions that decide no label, and are not learned from: "
            f"{_commonest(ignored)}. If one should count, name it in training.positive or in a [[tasks]]."
        )


def _counted_doubts(counted: Mapping[str, StreamedSource], found: Counter[str], where: str) -> Iterator[str]:
    for name, streamed in counted.items():
        if found and streamed.action not in (*found, SHOWN):
            yield (
                f"Field {name} ({streamed.name}) says nothing: no interaction in {where} has the action "
                f"{streamed.action!r}; the actions there are {_commonest(found)}."
            )


def _setting(task: Task, of_first: str, of_further: str) -> str:
    return f"training.{of_first}" if task.name == CLICK else f"tasks.{of_further} of {task.name!r}"


def _commonest(actions: Counter[str]) -> str:
    more = ", ..." if len(actions) > SHOWN_ACTIONS else ""
    return ", ".join(f"{action!r} ({count:,})" for action, count in actions.most_common(SHOWN_ACTIONS)) + more


def one_label(labels: float, positives: float, task: Task, of: str = "") -> str:
    """A warning when all labels of a task are the same; empty when there are both, or none. `of` names the task."""
    if not labels or 0 < positives < labels:
        return ""
    if positives:
        return (
            f"All {labels:,.0f} labels{of} are positive: from one label only, a model learns nothing about what to "
            "rank first. Impressions must also list the items that nobody acted on."
        )
    return (
        f"None of the {labels:,.0f} labels{of} is positive: from one label only, a model learns nothing about what to "
        f"rank first. Compare {_setting(task, 'positive', 'actions')}, and the ids of impressions and interactions."
    )


def unmet(log: EventLog, task: Task) -> str:
    """An impression and an interaction of a task that did not meet, in words; empty if none is found."""
    impressions = _rows(log, IMPRESSION, ["id", "time", "items"])
    shown = {row["id"]: _Shown(row["time"], row["items"]) for row in impressions}
    if not shown:
        return ""
    first = next(iter(shown))
    for row in _rows(log, INTERACTION, ["impression", "item", "time", "action"]):
        if row["action"] not in task.rule.actions:
            continue
        met = shown.get(row["impression"])
        acted = f"an interaction names impression {row['impression']!r} and item {row['item']!r}"
        if met is None:
            return f"For example, {acted}, but there is no such impression; one is {_described(first, shown[first])}."
        if row["item"] not in met.items:
            return f"For example, {acted}, but that is {_described(row['impression'], met)}."
        if row["time"] > met.time + task.wait:
            late = f"{_about(row['time'] - met.time)} after it was shown"
            return f"For example, {acted}, {late}: more than {_setting(task, 'wait', 'wait')} = {written(task.wait)}."
    return ""


def _about(duration: int) -> str:
    """To the minute, or to the second if it is short.

    >>> _about(7_294_567)
    '121m'
    """
    unit = 60_000 if duration >= 600_000 else 1000
    return written(duration // unit * unit)


def _described(id_: str, shown: _Shown) -> str:
    items = ", ".join(map(repr, shown.items[:SHOWN_ITEMS]))
    more = ", ..." if len(shown.items) > SHOWN_ITEMS else ""
    return f"impression {id_!r} with {'items' if len(shown.items) > 1 else 'item'} {items}{more}"


def _rows(log: EventLog, kind: int, columns: list[str]) -> Iterator[dict[str, Any]]:
    for events in beginning(log, EXAMPLES):
        at = pa.array(np.flatnonzero(kinds(events) == kind))
        yield from events.select(columns).take(at).to_pylist()


def looked_at(log: EventLog, limit: int) -> str:
    """What `beginning` returns of the log, in words."""
    return "the log" if log.unread(log.begin()) <= limit else f"the first {limit:,} events of the log"


def beginning(log: EventLog, limit: int) -> Iterator[pa.RecordBatch]:
    """The first events of each partition, at most `limit` together."""
    most = max(limit // log.partitions, 1)
    for chunks in read_partitions(log):
        left = most
        for chunk in chunks:
            yield chunk.events.slice(0, left)
            left -= chunk.events.num_rows
            if left <= 0:
                break
