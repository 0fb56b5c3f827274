"""Shown lists with the scores of two models and their labels, from the event log. Shape suffix: K shown items."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streaming.events.columns import IMPRESSION, SHADOW
from streaming.events.schema import Value
from streaming.join.joiner import Joiner
from streaming.join.labeled_impression import LabeledImpression
from streaming.join.tasks_joiner import TasksJoiner
from streaming.log.event_log import EventLog, read_partitions

Floats = npt.NDArray[np.float64]
_values = msgspec.json.Decoder(dict[str, list[Value]])
MakeJoiner = Callable[[], Joiner | TasksJoiner]


@dataclass(frozen=True, slots=True)
class Version:
    """A model, of one run if it has any: what another run of that name has scored says nothing of it."""

    model: str
    run: str = ""

    def made(self, label: str) -> bool:
        """Whether it has made the scores of this label, as impressions have it.

        >>> Version("wide", "3f").made("wide@step-7-3f-90"), Version("wide", "3f").made("wide@step-7-4e-90")
        (True, False)
        """
        name, _, version = label.partition("@")
        return name == self.model and (not self.run or f"-{self.run}-" in version)


@dataclass(slots=True)
class ScoredList:
    """One impression: scores of both models, propensities (empty if not logged) and labels, in the order shown."""

    user: str
    champion_K: Floats
    challenger_K: Floats
    propensities_K: Floats
    labels_K: Floats
    """NaN where it is not known yet."""
    values_K: Sequence[Value] | None = None
    """Of the feature that lists are varied by; None where the log has none."""

    def label(self, impression: LabeledImpression) -> bool:
        """Take labels; whether all are known."""
        self.labels_K[list(impression.positions)] = impression.labels
        return not np.isnan(self.labels_K).any()


@dataclass(slots=True)
class ScoredLists:
    """Lists that both models have scored."""

    lists: list[ScoredList] = field(default_factory=list)
    champions: int = 0
    """Impressions that the champion has ranked."""
    unlabelled: int = 0
    """Lists that both have scored, whose labels are not known yet: their window is open, or was cut short."""


def scored_lists(
    log: EventLog, make_joiner: MakeJoiner, champion: Version, challenger: Version, since: int = 0, feature: str = ""
) -> ScoredLists:
    """Of impressions since an event time (ms), with labels of the first task; the log is read twice.

    `make_joiner` makes one that holds labels until they are final. Values are those of `feature`, if it is named.
    Memory: the lists that both have scored.
    """
    shadows = _shadows(log, (champion, challenger))
    found = ScoredLists()
    for chunks in read_partitions(log):
        joiner, pending = make_joiner(), dict[str, ScoredList]()
        for chunk in chunks:
            for row in _impressions(chunk.events, since):
                scores = {**shadows.get(row["id"], {}), row["model"]: row["scores"] or []}
                found.champions += champion.made(row["model"])
                champion_K, challenger_K = (_of(scores, one, len(row["items"])) for one in (champion, challenger))
                if champion_K is not None and challenger_K is not None:
                    chances_K = np.array(row["propensities"] or [], np.float64)
                    unknown_K = np.full(len(row["items"]), np.nan)
                    columns = _values.decode(row["item_features"] or b"{}") if feature else {}
                    pending[row["id"]] = ScoredList(
                        row["user"], champion_K, challenger_K, chances_K, unknown_K, columns.get(feature)
                    )
            for labelled in joiner.push(chunk.events):
                one = pending.get(labelled.id)
                if one is not None and labelled.task == 0 and one.label(labelled):
                    found.lists.append(pending.pop(labelled.id))
        found.unlabelled += len(pending)
    return found


def _shadows(log: EventLog, versions: tuple[Version, ...]) -> dict[str, dict[str, list[float]]]:
    """By impression, what challengers of these versions scored, by their label."""
    found: dict[str, dict[str, list[float]]] = {}
    for chunks in read_partitions(log):
        for chunk in chunks:
            for row in _rows(chunk.events, SHADOW, ["impression", "model", "scores"]):
                if any(one.made(row["model"]) for one in versions):
                    found.setdefault(row["impression"], {})[row["model"]] = row["scores"]
    return found


def _impressions(events: pa.RecordBatch, since: int) -> Iterator[dict[str, Any]]:
    columns = ["id", "time", "user", "items", "scores", "propensities", "model", "item_features"]
    return (row for row in _rows(events, IMPRESSION, columns) if row["time"] >= since)


def _rows(events: pa.RecordBatch, kind: int, columns: list[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = events.filter(pc.equal(events.column("kind"), kind)).select(columns).to_pylist()
    return rows


def _of(scores: dict[str, list[float]], version: Version, items: int) -> Floats | None:
    """The scores that a version has made of this many items."""
    for label, found in scores.items():
        if version.made(label) and len(found) == items:
            return np.array(found, np.float64)
    return None
