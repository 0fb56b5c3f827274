"""What the model reads from an event, and how it becomes ids and numbers. Training and serving share this code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import msgspec

from recsys.errors import InvalidValueError
from streaming.windows.streamed_source import FORMS, RECENT, StreamedSource, streamed_source

Kind = Literal["categorical", "multi", "numeric"]
Transform = Literal["none", "log", "log1p"]
Scale = Literal["standard", "none"]
Pooling = Literal["mean", "self-attention", "attention"]

_WHOLE_SOURCES = ("user", "item", "time.hour", "time.weekday")
_NAMED_SOURCES = ("request.", "item.")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the model's input.

    `source` is `user` or `item` (the id itself), `request.NAME` (the impression's feature, else the user's latest
    update), `item.NAME` (the impression's item feature, else the item's latest update), `time.hour` or `time.weekday`
    (of the impression, UTC; Monday is 0), or a value that the stream computes, such as `item.rate(click, 1h)` (see
    `streaming.windows.streamed_source`). Fields with the same `table` share rows: equal values get equal ids; the
    default is the field's name.
    `transform`: for numbers, `log` is AutoInt's log^2(z) for z > 2 (section 5.1.2), `log1p` is sign(z)*log(1+|z|).
    `pooling`: how the rows of several values become one; by `attention` the model pools a history for each candidate,
    by `self-attention` in its order.
    `scale`, after it: `standard` subtracts the mean and divides by the standard deviation (see
    `streaming.encode.scaling`), a missing number is the mean; with `none` numbers stay, and a missing one is 0.
    Raises InvalidValueError naming the field when it cannot be read.
    """

    name: str
    kind: Kind
    source: str
    table: str = ""
    transform: Transform = "none"
    scale: Scale = "standard"
    pooling: Pooling = "mean"

    def __post_init__(self) -> None:
        if not self.name:
            raise InvalidValueError(f"the field with source {self.source!r} has no name; give it one")
        if self.kind not in get_args(Kind):
            raise InvalidValueError(
                f"field {self.name!r}: kind {self.kind!r} is not one of {', '.join(get_args(Kind))}"
            )
        for option, default, kinds in (("transform", "none", Transform), ("scale", "standard", Scale)):
            value = getattr(self, option)
            if value not in get_args(kinds):
                allowed = ", ".join(get_args(kinds))
                raise InvalidValueError(f"field {self.name!r}: {option} {value!r} is not one of {allowed}")
            if value != default and self.kind != "numeric":
                raise InvalidValueError(
                    f"field {self.name!r}: only numeric fields have a {option}, not {self.kind} ones"
                )
        self._check_streamed()
        self._check_pooling()
        if not _readable(self.source):
            raise InvalidValueError(
                f"field {self.name!r}: source {self.source!r} is not one of {', '.join(_WHOLE_SOURCES)}, "
                f"request.NAME, item.NAME; nor is it computed by the stream, which has {FORMS}"
            )
        if not self.table:
            object.__setattr__(self, "table", self.name)

    @property
    def of_item(self) -> bool:
        """Whether the value differs between the items of one impression."""
        return self.source == "item" or self.source.startswith(("item.", "pair."))

    @property
    def names_item(self) -> bool:
        """Whether the value is the item's id, by itself."""
        return self.source == "item" and self.kind == "categorical"

    @property
    def streamed(self) -> StreamedSource | None:
        """What the stream computes for this field, if it does."""
        return streamed_source(self.source)

    @property
    def feature(self) -> str:
        """The feature of an event that is read: NAME of a source `request.NAME` or `item.NAME`, the whole source where
        the stream computes it; empty for the others."""
        if self.streamed is not None:
            return self.source
        return self.source.partition(".")[2] if self.source.startswith(_NAMED_SOURCES) else ""

    @property
    def most(self) -> int | None:
        """Most values of a history, None where the field is none."""
        return streamed.length if (streamed := self.streamed) is not None and streamed.function == RECENT else None

    def _check_pooling(self) -> None:
        if self.pooling not in get_args(Pooling):
            allowed = ", ".join(get_args(Pooling))
            raise InvalidValueError(f"field {self.name!r}: pooling {self.pooling!r} is not one of {allowed}")
        if self.pooling != "mean" and self.most is None:
            raise InvalidValueError(
                f"field {self.name!r}: only a history, user.recent(ACTION, N), is pooled by {self.pooling}; "
                "others by their mean"
            )

    def _check_streamed(self) -> None:
        try:
            streamed = self.streamed
        except InvalidValueError as error:
            raise InvalidValueError(f"field {self.name!r}: {error}") from None
        if streamed is None:
            return
        wanted, what = ("multi", "a list of items") if streamed.function == RECENT else ("numeric", "a number")
        if self.kind != wanted:
            raise InvalidValueError(
                f'field {self.name!r}: {self.source} is {what}, not {self.kind}: write kind = "{wanted}"'
            )
        object.__setattr__(self, "source", streamed.name)


class PooledHistory(NamedTuple):
    """A field that the model pools itself: its name, its place and its candidate's among the sparse fields, the most
    items. One that is pooled without a candidate has no target."""

    name: str
    field: int
    target: int | None
    length: int


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """All fields; those of the request come before those of the item, as the exported graph takes them.

    Of those of the request the ones pooled by attention come last: each candidate has a value of its own.

    >>> spec = FeatureSpec.of([Field("price", "numeric", "item.price"), Field("user", "categorical", "user")])
    >>> [field.name for field in spec.fields], FeatureSpec.from_json(spec.to_json()) == spec
    (['user', 'price'], True)
    """

    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        for name in names:
            if names.count(name) > 1:
                raise InvalidValueError(f"duplicate field {name!r}; names must differ")
        if not names:
            raise InvalidValueError("the feature specification has no fields; name at least one")
        ordered = sorted(self.fields, key=lambda field: (field.of_item, field.pooling == "attention"))
        object.__setattr__(self, "fields", tuple(ordered))
        _ = self.histories  # raises if one has no candidate

    @staticmethod
    def of(fields: Sequence[Field]) -> FeatureSpec:
        """Raises InvalidValueError naming the field when two have the same name."""
        return FeatureSpec(tuple(fields))

    @property
    def sparse(self) -> tuple[Field, ...]:
        return tuple(f for f in self.fields if f.kind != "numeric")

    @property
    def numeric(self) -> tuple[Field, ...]:
        return tuple(f for f in self.fields if f.kind == "numeric")

    @property
    def item_key(self) -> str | None:
        """The name of the first field whose value is the item's id; None without one."""
        return next((field.name for field in self.fields if field.names_item), None)

    @property
    def streamed(self) -> tuple[StreamedSource, ...]:
        """What the stream computes for the fields, each once."""
        found = (field.streamed for field in self.fields)
        return tuple(dict.fromkeys(source for source in found if source is not None))

    @property
    def histories(self) -> tuple[PooledHistory, ...]:
        """The fields that the model pools. Raises InvalidValueError if one has no candidate to attend to."""
        return tuple(self._history(n, field) for n, field in enumerate(self.sparse) if field.pooling != "mean")

    def _history(self, place: int, field: Field) -> PooledHistory:
        if field.pooling == "self-attention":
            return PooledHistory(field.name, place, None, field.most or 0)
        for target, other in enumerate(self.sparse):
            if other.names_item and other.table == field.table:
                return PooledHistory(field.name, place, target, field.most or 0)
        raise InvalidValueError(
            f"field {field.name!r} is pooled by its attention for the candidate, but no field of source `item` has its "
            f"table {field.table!r}: name the table of one"
        )

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)

    @staticmethod
    def from_json(data: bytes | str) -> FeatureSpec:
        """Raises InvalidValueError saying what is wrong when `data` is not a feature specification."""
        try:
            return msgspec.json.decode(data, type=FeatureSpec)
        except msgspec.DecodeError as error:
            raise InvalidValueError(f"not a feature specification: {error}") from error


def _readable(source: str) -> bool:
    return (
        source in _WHOLE_SOURCES
        or streamed_source(source) is not None
        or any(source.startswith(p) and source != p for p in _NAMED_SOURCES)
    )
