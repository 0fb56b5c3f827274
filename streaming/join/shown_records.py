"""Impressions in columns, as the joiner's tables have them.

Shape suffixes: R impressions, B shown items.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from recsys.errors import LogCorruptedError
from streaming.events.schema import Features, Value
from streaming.join.open_impression import OpenImpression
from streaming.join.tables.kept_texts import HEAD, TEXTS, copy_records
from streaming.join.tables.layout import Tables

Integers = npt.NDArray[np.int64]
ItemFeatures = dict[str, list[Value]]
_END = np.int64(0xFFFFFFFF)
_features = msgspec.json.Decoder(Features)
_item_features = msgspec.json.Decoder(ItemFeatures)


class Spans:
    """Texts that lie in one array of bytes: number n is `data[starts[n] : stops[n]]`."""

    def __init__(self, data: npt.NDArray[np.uint8], starts: Integers, stops: Integers) -> None:
        self.data, self.starts, self.stops = data, starts, stops

    def pieces(self) -> list[bytes]:
        data = self.data.tobytes()
        return [data[start:stop] for start, stop in zip(self.starts.tolist(), self.stops.tolist(), strict=True)]

    def strings(self) -> list[str]:
        return list(map(bytes.decode, self.pieces()))

    def take(self, order: Integers) -> Spans:
        return Spans(self.data, self.starts[order], self.stops[order])


class ShownRecords:
    """Impressions [R]; their texts and numbers are laid out as `streaming.join.tables.kept_texts` says."""

    def __init__(
        self,
        texts: npt.NDArray[np.uint8],
        numbers: Integers,
        text_starts_R: Integers,
        number_starts_R: Integers,
        times_R: Integers,
        numbers_R: Integers,
        items_R: Integers,
    ) -> None:
        self.texts, self.numbers = texts, numbers
        self.text_starts_R, self.number_starts_R = text_starts_R, number_starts_R
        self.times_R, self.numbers_R, self.items_R = times_R, numbers_R, items_R

    @staticmethod
    def of(t: Tables, slots_R: Integers) -> ShownRecords:
        """A copy of the impressions in these slots."""
        rows = t.opened[slots_R]
        text_ends_R, number_ends_R = (np.cumsum(rows[name], dtype=np.int64) for name in ("text_size", "number_size"))
        text_starts_R, number_starts_R = text_ends_R - rows["text_size"], number_ends_R - rows["number_size"]
        texts = np.empty(text_ends_R[-1] if len(rows) else 0, np.uint8)
        numbers = np.empty(number_ends_R[-1] if len(rows) else 0, np.int64)
        copy_records(t, slots_R, texts, numbers, text_starts_R, number_starts_R)
        return ShownRecords(
            texts, numbers, text_starts_R, number_starts_R, rows["time"], rows["number"], rows["items"].astype(np.int64)
        )

    @staticmethod
    def concat(parts: Sequence[ShownRecords]) -> ShownRecords:
        """The impressions of all parts, one after the other."""
        texts, numbers = (
            [0, *np.cumsum([len(getattr(part, name)) for part in parts])] for name in ("texts", "numbers")
        )
        return ShownRecords(
            np.concatenate([part.texts for part in parts]),
            np.concatenate([part.numbers for part in parts]),
            np.concatenate([part.text_starts_R + start for part, start in zip(parts, texts, strict=False)]),
            np.concatenate([part.number_starts_R + start for part, start in zip(parts, numbers, strict=False)]),
            *(np.concatenate([getattr(part, name) for part in parts]) for name in ("times_R", "numbers_R", "items_R")),
        )

    def __len__(self) -> int:
        return len(self.times_R)

    def spans(self, name: str) -> Spans:
        """One of `TEXTS`, of each impression."""
        text = TEXTS.index(name)
        stops_R = self.text_starts_R + self.numbers[self.number_starts_R + text]
        if not text:
            return Spans(self.texts, self.text_starts_R, stops_R)
        return Spans(self.texts, self.text_starts_R + self.numbers[self.number_starts_R + text - 1], stops_R)

    def items(self, record_B: Integers, positions_B: Integers) -> Spans:
        """The items at these positions of these impressions."""
        at_B, starts_B = self.number_starts_R[record_B] + HEAD + positions_B, self.text_starts_R[record_B]
        before_B = np.where(positions_B, at_B - 1, at_B - 2)  # the last of the other texts ends two numbers before
        return Spans(self.texts, starts_B + (self.numbers[before_B] & _END), starts_B + (self.numbers[at_B] & _END))

    @cached_property
    def all_items_R(self) -> list[tuple[str, ...]]:  # noqa: N802
        """The items of each impression."""
        record_B = np.repeat(np.arange(len(self)), self.items_R)
        ends_R = np.cumsum(self.items_R)
        items = self.items(record_B, np.arange(len(record_B)) - (ends_R - self.items_R)[record_B]).strings()
        return [
            tuple(items[end - count : end]) for end, count in zip(ends_R.tolist(), self.items_R.tolist(), strict=True)
        ]

    @cached_property
    def propensities_R(self) -> list[tuple[float, ...]]:  # noqa: N802
        """Of the items, empty where the log has none."""
        first_R = self.number_starts_R + HEAD + self.items_R
        bounds = zip(first_R.tolist(), self.numbers[self.number_starts_R + HEAD - 1].tolist(), strict=True)
        bits = self.numbers.view(np.float64)
        return [tuple(bits[first : first + count].tolist()) for first, count in bounds]

    def propensities(self, record_B: Integers, positions_B: Integers) -> npt.NDArray[np.float32]:
        """[B], 1 where the log has none."""
        known_B = self.numbers[self.number_starts_R + HEAD - 1][record_B] > 0
        at_B = (self.number_starts_R + HEAD + self.items_R)[record_B] + positions_B
        found_B = np.ones(len(record_B), np.float32)
        found_B[known_B] = self.numbers.view(np.float64)[at_B[known_B]]
        return found_B

    @cached_property
    def features_R(self) -> list[Features]:  # noqa: N802
        """Raises LogCorruptedError when they cannot be decoded: they were checked before they were logged."""
        return self._decoded("features", _features)

    @cached_property
    def item_features_R(self) -> list[ItemFeatures]:  # noqa: N802
        """As `features_R`."""
        return self._decoded("item_features", _item_features)

    def _decoded(self, name: str, decoder: msgspec.json.Decoder[Any]) -> list[Any]:
        decode, nothing, found = decoder.decode, dict[str, Any](), list[Any]()
        try:
            for text in self.spans(name).pieces():
                found.append(decode(text) if text else nothing)
        except msgspec.DecodeError as error:
            id_ = self.spans("id").strings()[len(found)]
            raise LogCorruptedError(f"impression {id_!r} in the log has unreadable features: {error}") from error
        return found

    def opened(self) -> list[OpenImpression]:
        """As plain data; of what is known of them only the number."""
        features, item_features = (
            [text or None for text in self.spans(name).pieces()] for name in ("features", "item_features")
        )
        columns = zip(
            self.spans("id").strings(),
            self.times_R.tolist(),
            self.spans("user").strings(),
            self.all_items_R,
            features,
            item_features,
            self.propensities_R,
            self.spans("experiment").strings(),
            self.spans("arm").strings(),
            self.spans("model").strings(),
            strict=True,
        )
        return [OpenImpression(*row) for row in columns]
