"""Which of the other columns a model may read, and as what."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from recsys.proposal.columns.column import Column, is_number
from recsys.proposal.columns.time_columns import time_reading
from recsys.proposal.columns.vocabulary import AFTER, POSITION, TEXTS, tokens
from recsys.proposal.roles.leaks import tells_item, tells_label
from recsys.proposal.roles.roles import Guess, Roles

_MOST: Final = 24
"""Most fields that are proposed."""
_KINDS: Final = 5
_CATEGORIES: Final = 100
"""Integers with more values are taken as quantities."""
_CLOCK: Final = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")
"""A time of day, beside the day in another column."""
Kind = Literal["categorical", "multi", "numeric"]


@dataclass(frozen=True)
class Feature:
    """A column that becomes a field: `field` of the mapping, `source` and `kind` of the model's input."""

    name: str
    field: str
    source: str
    kind: Kind
    transform: str
    column: Column
    note: str


def features(kind: str, roles: Roles) -> list[Feature]:
    """The features in the columns without a role, at most so many as a first model should have."""
    if kind == "interaction":
        return []
    after = kind in ("impression", "shown", "feedback")
    found: list[Feature] = []
    keys = {column.name for column in roles.others}
    for column in roles.others:
        beside = kind == "impression" and _per_item(column, roles.column("shown"))
        seen = Column(column.name, list(_elements(column))) if beside else column
        as_kind = _kind(seen)
        if as_kind is None or (after and (AFTER | POSITION).intersection(tokens(column.name))):
            continue
        if any(_tells(column, guess) for guess in roles.found.get("label", ())):
            continue
        if column.listed and (tokens(column.name)[-1:] == ["key"] or f"{column.name.partition('.')[0]}.key" in keys):
            continue  # of lists of keys and values, as analytics has them
        name = _name(column.name, {one.name for one in found} | {"user", "item", "hour"})
        field, source = _place(kind, name, column, roles)
        found.append(Feature(name, field, source, as_kind, _transform(as_kind, seen), column, _note(as_kind, seen)))
    return found[:_MOST]


def _tells(column: Column, label: Guess) -> bool:
    """Whether a column tells the label: in few values as another one for each, such as `not_clicked`, or else."""
    pairs = {(str(cell), str(label.column.cells[n])) for n, cell in enumerate(column.cells)}
    if 1 < len(pairs) == len({one for one, _ in pairs}) <= _KINDS and len({of for _, of in pairs}) > 1:
        return True
    return not column.listed and tells_label(column, label.positive[: len(column.cells)])


def event_features(columns: Mapping[str, Sequence[Any]]) -> list[Feature]:
    """The features of events of this project, whose cells are given by path."""
    found: dict[str, Feature] = {}
    types = columns["type"]
    for path, cells in columns.items():
        parent, _, name = path.partition(".")
        if parent not in ("features", "item_features") or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            continue
        for of_item in (True, False):
            own = [cell for cell, type_ in zip(cells, types, strict=True)
                   if (parent == "item_features" or type_ == "item") is of_item]  # fmt: skip
            if parent == "item_features":
                own = [value for cell in own for value in cell or ()]
            column = Column(name, own)
            kind = _kind(column)
            if kind is not None and name not in found:
                source = f"{'item' if of_item else 'request'}.{name}"
                found[name] = Feature(name, path, source, kind, _transform(kind, column), column, _note(kind, column))
    return list(found.values())[:_MOST]


def _kind(column: Column) -> Kind | None:
    """How a model reads the column; None for text, row numbers, times, constants and what is of another type."""
    count = len(column.distinct)
    if count < 2 or column.type in ("empty", "other") or time_reading(column.values) is not None:
        return None
    if column.listed and not (column.separator and TEXTS.intersection(tokens(column.name))):
        if any(isinstance(one, Mapping) for value in column.values if isinstance(value, list) for one in value):
            return None
        fractions = all(is_number(text) for text in column.elements) and not all(map(str.isdigit, column.elements))
        return "multi" if 1 < len(column.elements) < sum(column.elements.values()) and not fractions else None
    if column.type == "boolean":
        return "categorical"
    if column.type == "text" and all(map(_CLOCK.fullmatch, column.distinct)):
        return None
    if column.unique and (column.type == "text" or (column.type == "integer" and _numbering(column))):
        return None
    if column.type == "number":
        return "numeric"
    if column.type == "integer":
        return "numeric" if count > _CATEGORIES and "id" not in tokens(column.name) else "categorical"
    return "categorical" if count <= len(column.values) / 2 and max(map(len, column.distinct)) <= 128 else None


def _numbering(column: Column) -> bool:
    """Whether numbers that are all different are names or row numbers, and no quantities."""
    numbers = column.numbers
    return "id" in tokens(column.name) or max(numbers) - min(numbers) < 2 * len(numbers)


def _transform(kind: Kind, column: Column) -> str:
    if kind != "numeric" or min(column.numbers) < 0 or max(column.numbers) <= 100:
        return "none"
    return "log1p"


def _note(kind: Kind, column: Column) -> str:
    if kind == "numeric":
        return f"{min(column.numbers):g} to {max(column.numbers):g}"
    values = column.elements if kind == "multi" else column.distinct
    examples = ", ".join(text[:20] for text, _ in values.most_common(3))
    return f"{len(values):,} values, such as {examples}"


def _name(column: str, taken: set[str]) -> str:
    own = column.strip().removeprefix("features.").removeprefix("item_features.")  # of events with numbers as ids
    apart = unicodedata.normalize("NFKD", own)
    latin = all(letter.isascii() or unicodedata.combining(letter) for letter in apart)
    plain = apart.encode("ascii", "ignore").decode() if latin else unicodedata.normalize("NFC", own)
    name = re.sub(r"\W+", "_", plain).strip("_").lower()
    name = name if re.match(r"[^\W\d]", name) else f"column_{name}".rstrip("_")
    while name in taken:
        name += "_"
    return name


def _place(kind: str, name: str, column: Column, roles: Roles) -> tuple[str, str]:
    """The field of the mapping, and the source of the model's field."""
    if kind == "item":
        return f"features.{name}", f"item.{name}"
    if kind == "user":
        return f"features.{name}", f"request.{name}"
    if kind == "impression":
        beside = _per_item(column, roles.column("shown"))
    else:
        lists, items = roles.column("request"), roles.column("item")
        repeated = items is not None and len(items.distinct) <= 0.8 * len(items.values)
        beside = (repeated and _depends(column, items)) or (kind == "shown" and not _depends(column, lists))
        users = roles.column("user")
        if kind == "feedback" and items is not None and users is not None:
            beside = beside or tells_item(column, items, users)
    return (f"item_features.{name}", f"item.{name}") if beside else (f"features.{name}", f"request.{name}")


def _depends(column: Column, on: Column | None) -> bool:
    """Whether rows with the same value of the other column have the same value; true without another column."""
    seen: dict[str, str] = {}
    return on is None or all(
        seen.setdefault(str(key), str(cell)) == str(cell) for key, cell in zip(on.cells, column.cells, strict=True)
    )


def _elements(column: Column) -> Iterator[Any]:
    """The elements of all lists, one after the other."""
    for value in column.values:
        yield from value if isinstance(value, list | tuple) else str(value).split(column.separator)


def _per_item(column: Column, items: Column | None) -> bool:
    """Whether each list has as many values as items."""
    if items is None or not column.listed or "" != column.separator != items.separator:
        return False
    pairs = list(zip(column.cells, items.cells, strict=True))
    return all(_length(cell, column) == _length(shown, items) for cell, shown in pairs)


def _length(cell: object, column: Column) -> int:
    if isinstance(cell, Sequence) and not isinstance(cell, str):
        return len(cell)
    return len(str(cell).split(column.separator)) if column.separator else 1
