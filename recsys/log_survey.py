"""What the beginning of a log shows about its labels: the actions that occur, and events that did not meet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.config.units import written
from streaming.events.columns import IMPRESSION, INTERACTION, kinds
from streaming.log.event_log import EventLog, read_range

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


def action_doubts(log: EventLog, positive: Collection[str], learned: Collection[str]) -> Iterator[str]:
    """A warning when some of the positive actions do not occur, and one when others than `learned` do.

    `learned` are the actions that decide a label of some task.
    """
    found: Counter[str] = Counter()
    for events in beginning(log, LIMIT):
        actions = events.column("action").filter(pa.array(kinds(events) == INTERACTION))
        found.update({one["values"]: one["counts"] for one in pc.value_counts(actions).to_pylist()})
    where = looked_at(log, LIMIT)
    missing = [action for action in positive if action not in found]
    if missing and found:
        named = ", ".join(map(repr, missing))
        yield (
            f"training.positive names {named}, which no interaction in {where} has; the actions there are "
            f"{_commonest(found)}."
        )
    ignored = Counter({action: count for action, count in found.items() if action not in learned})
    if ignored:
        yield (
            f"{ignored.total():,} interactions in {where} have actions that decide no label, and are not learned from: "
            f"{_commonest(ignored)}. If one should count, name it in training.positive or in a [[tasks]]."
        )


def _commonest(actions: Counter[str]) -> str:
    more = ", ..." if len(actions) > SHOWN_ACTIONS else ""
    return ", ".join(f"{action!r} ({count:,})" for action, count in actions.most_common(SHOWN_ACTIONS)) + more


def one_label(labels: float, positives: float) -> str:
    """A warning when all labels are the same; empty when there are both, or none."""
    if not labels or 0 < positives < labels:
        return ""
    if positives:
        return (
            f"All {labels:,.0f} labels are positive: from one label only, a model learns nothing about what to rank "
            "first. Impressions must also list the items that nobody acted on."
        )
    return (
        f"None of the {labels:,.0f} labels is positive: from one label only, a model learns nothing about what to rank "
        "first. Compare training.positive, and the ids of impressions and interactions."
    )


def unmet(log: EventLog, wait: int) -> str:
    """An impression and an interaction that did not meet, in words; empty if none is found. `wait` is in ms."""
    impressions = _rows(log, IMPRESSION, ["id", "time", "items"])
    shown = {row["id"]: _Shown(row["time"], row["items"]) for row in impressions}
    if not shown:
        return ""
    first = next(iter(shown))
    for row in _rows(log, INTERACTION, ["impression", "item", "time"]):
        met = shown.get(row["impression"])
        acted = f"an interaction names impression {row['impression']!r} and item {row['item']!r}"
        if met is None:
            return f"For example, {acted}, but there is no such impression; one is {_described(first, shown[first])}."
        if row["item"] not in met.items:
            return f"For example, {acted}, but that is {_described(row['impression'], met)}."
        if row["time"] > met.time + wait:
            after = _about(row["time"] - met.time)
            return f"For example, {acted}, {after} after it was shown: more than training.wait = {written(wait)}."
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
    for partition, (begin, end) in enumerate(zip(log.begin(), log.end(), strict=True)):
        left = most
        for chunk in read_range(log, partition, begin, end):
            yield chunk.events.slice(0, left)
            left -= chunk.events.num_rows
            if left <= 0:
                break
