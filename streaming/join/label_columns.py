"""What the joiner makes of events, in columns: labels of shown items, in the order in which they became known.

Shape suffixes: I labelled impressions, R the impressions that they are of, B labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from streaming.events.schema import Features
from streaming.join.labeled_impression import LabeledImpression
from streaming.join.shown_records import Integers, ShownRecords, Spans
from streaming.join.tables.kept_texts import HEAD
from streaming.join.tables.layout import Tables


@dataclass
class LabelColumns:
    """As `LabeledImpression`, many at once. An impression that is labelled more than once may have one record."""

    records: ShownRecords
    record_I: Integers
    """The number of the impression in `kept_texts`."""
    decided_I: Integers
    sequence_I: Integers
    learned_I: npt.NDArray[np.bool_]
    tasks_I: Integers
    counts_I: Integers
    """Labels of each labelled impression."""
    positions_B: Integers
    labels_B: npt.NDArray[np.uint8]
    latest_users_I: list[Features] | None = None
    """Updates in force at the impressions' times (see `EntityState.resolve_all`), where any were looked up."""
    latest_items_B: list[Features] | None = None

    @staticmethod
    def of(t: Tables, task: int) -> LabelColumns:
        """What the kernels have put out."""
        now, outputs = t.now[0], t.outputs[: t.now[0]["outputs"]]
        slots_R, record_I = np.unique(outputs["slot"], return_inverse=True)
        return LabelColumns(
            ShownRecords.of(t, slots_R),
            record_I,
            outputs["known"].copy(),
            outputs["sequence"].copy(),
            outputs["learned"].copy(),
            np.full(len(outputs), task),
            outputs["until"] - outputs["since"],
            t.positions[: now["positions"]].astype(np.int64),
            t.labels[: now["positions"]].copy(),
        )

    @staticmethod
    def concat(parts: Sequence[LabelColumns]) -> LabelColumns:
        """All labels, part after part; there is at least one."""
        if len(parts) == 1:
            return parts[0]
        firsts = [0, *np.cumsum([len(part.records) for part in parts])]
        names = ("decided_I", "sequence_I", "learned_I", "tasks_I", "counts_I", "positions_B", "labels_B")
        others: Any = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return LabelColumns(
            ShownRecords.concat([part.records for part in parts]),
            np.concatenate([part.record_I + first for part, first in zip(parts, firsts, strict=False)]),
            **others,
        )

    def __len__(self) -> int:
        return len(self.record_I)

    @cached_property
    def impression_B(self) -> Integers:  # noqa: N802
        """The number, among those labelled, of each label's impression."""
        return np.repeat(np.arange(len(self)), self.counts_I)

    @cached_property
    def bounds_I(self) -> list[int]:  # noqa: N802
        """Where the labels of each labelled impression begin, and where the last ones end."""
        return [0, *np.cumsum(self.counts_I).tolist()]

    @cached_property
    def users_I(self) -> list[str]:  # noqa: N802
        return self.users().strings()

    @cached_property
    def items_B(self) -> list[str]:  # noqa: N802
        return self.items().strings()

    def users(self) -> Spans:
        """The user of each labelled impression."""
        return self.records.spans("user").take(self.record_I)

    def items(self) -> Spans:
        """The item of each label."""
        return self.records.items(self.record_I[self.impression_B], self.positions_B)

    def in_order(self) -> LabelColumns:
        """In the order in which they became known; those of one moment stay as they are."""
        return self.take(np.lexsort((self.decided_I, self.sequence_I)))

    def take(self, order: Integers) -> LabelColumns:
        """The labelled impressions with these numbers, in this order."""
        counts_I, starts_I = self.counts_I[order], (np.cumsum(self.counts_I) - self.counts_I)[order]
        order_B = np.arange(counts_I.sum()) + np.repeat(starts_I - (np.cumsum(counts_I) - counts_I), counts_I)
        return LabelColumns(
            self.records,
            self.record_I[order],
            self.decided_I[order],
            self.sequence_I[order],
            self.learned_I[order],
            self.tasks_I[order],
            counts_I,
            self.positions_B[order_B],
            self.labels_B[order_B],
        )

    def impressions(self) -> list[LabeledImpression]:
        """As objects."""
        records, ends = self.records, np.cumsum(self.counts_I).tolist()
        positions, labels = self.positions_B.tolist(), self.labels_B.astype(np.float64).tolist()
        texts = [records.spans(name).strings() for name in ("id", "user", "experiment", "arm", "model")]
        shown: list[Any] = list(
            zip(
                texts[0],
                records.times_R.tolist(),
                texts[1],
                records.all_items_R,
                records.features_R,
                records.item_features_R,
                records.propensities_R,
                *texts[2:],
                strict=True,
            )
        )
        numbers, made = records.numbers_R.tolist(), cast("Any", LabeledImpression)
        own = zip(
            self.record_I.tolist(),
            [0, *ends],
            ends,
            self.decided_I.tolist(),
            self.sequence_I.tolist(),
            self.learned_I.tolist(),
            self.tasks_I.tolist(),
            strict=False,
        )
        return [
            made(*shown[r], tuple(positions[a:b]), tuple(labels[a:b]), known, sequence, numbers[r], learned, task)
            for r, a, b, known, sequence, learned, task in own
        ]


def label_columns(impressions: Sequence[LabeledImpression]) -> LabelColumns:
    """Labelled impressions as columns."""
    columns = LabelColumns(
        _records(impressions),
        np.arange(len(impressions)),
        np.array([one.decided for one in impressions], np.int64),
        np.array([one.sequence for one in impressions], np.int64),
        np.array([one.learned for one in impressions], np.bool_),
        np.array([one.task for one in impressions], np.int64),
        np.array([len(one.positions) for one in impressions], np.int64),
        np.array([position for one in impressions for position in one.positions], np.int64),
        np.array([label for one in impressions for label in one.labels], np.uint8),
    )
    columns.latest_users_I = [one.latest_user for one in impressions]
    if any(one.latest_items for one in impressions):
        latest = ([*one.latest_items] or [{}] * len(one.positions) for one in impressions)
        columns.latest_items_B = list(chain.from_iterable(latest))
    return columns


def _records(impressions: Sequence[LabeledImpression]) -> ShownRecords:
    texts: list[bytes] = []
    numbers: list[npt.NDArray[np.int64]] = []
    for one in impressions:
        known = (one.id, one.user, "", "", one.experiment, one.arm, one.model, *one.items)
        parts = [text.encode("utf-8", "surrogatepass") for text in known]
        ends, propensities = np.cumsum([len(part) for part in parts]), np.array(one.propensities, np.float64)
        numbers.append(
            np.concatenate([ends[: HEAD - 1], [len(propensities)], ends[HEAD - 1 :], propensities.view(np.int64)])
        )
        texts.append(b"".join(parts))
    records = ShownRecords(
        np.frombuffer(b"".join(texts), np.uint8),
        np.concatenate([np.zeros(0, np.int64), *numbers]),
        np.cumsum([0, *map(len, texts)])[:-1],
        np.cumsum([0, *map(len, numbers)])[:-1],
        np.array([one.time for one in impressions], np.int64),
        np.array([one.number for one in impressions], np.int64),
        np.array([len(one.items) for one in impressions], np.int64),
    )
    records.features_R = [one.features for one in impressions]
    records.item_features_R = [one.item_features for one in impressions]
    return records
