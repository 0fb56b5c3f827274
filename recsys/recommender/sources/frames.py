"""Frames of pandas, Polars and Arrow as sources of events: read as Parquet files are, by the same mappings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from xxhash import xxh3_128_hexdigest

from recsys import wiring
from recsys.config.messages import told
from recsys.config.schema import Config
from recsys.config.sections.log import MappingSection
from recsys.errors import ConfigError, InvalidValueError
from recsys.recommender.sources.frame_doubts import frame_doubts
from recsys.recommender.sources.near_names import check_near_names
from recsys.recommender.sources.polars_frames import computed, is_lazy
from streaming.ingest.formats.columnar import in_micros
from streaming.ingest.formats.sources import Source
from streaming.ingest.mapping.column_mapping import Shape, fields_of

_TAKEN: Final[Mapping[Shape, str]] = {
    "impression": "lists that were shown",
    "interaction": "what users did with lists",
    "shown": "items that were shown, with their label",
    "feedback": "all taken as something that a user did",
    "user": "new features of users",
    "item": "new features of items",
}
_UPDATES: Final[tuple[Shape, ...]] = ("user", "item")


def is_frame(value: Any) -> bool:
    """Whether it speaks Arrow: a frame of pandas or Polars (also a lazy one), a table or batch of Arrow."""
    return is_lazy(value) or any(
        hasattr(value, name) for name in ("__arrow_c_stream__", "__arrow_c_array__", "__dataframe__")
    )


def sources(
    config: Config,
    frame: Any,
    mapping: str | Mapping[str, Any] | MappingSection | None,
    folder: Path,
    doubts: list[str],
    *,
    sort: bool = False,
) -> list[Source]:
    """The sources of one frame, which is written into `folder`; what should be said of it is added to `doubts`.

    Without a `mapping` the columns have the names of events' fields. Raises InvalidValueError when they do not fit.
    """
    table = to_table(frame)
    if not table.num_rows:
        return []
    if mapping is None:
        mapping = standard(config, table.column_names)
        rules = wiring.rules(config)
        known = {*(rules.request or {}), *(rules.item or {})}  # features that the model reads
        read = [
            str(column) for key, column in mapping.columns.items() if key != f"features.{column}" or column in known
        ]
        check_near_names(table, read, _TAKEN[mapping.kind])
        doubts += frame_doubts(table, mapping)
    named = mapped(config, mapping)
    path = folder / "frame.parquet"
    try:
        pq.write_table(table, path, compression="none")
    except pa.ArrowException as error:
        raise InvalidValueError(f"the frame has a column of a type that Parquet does not have: {error}") from error
    content = xxh3_128_hexdigest(path.read_bytes())  # by which the same frame is known again
    return wiring.sources(named, path, f"frame {content}", sort=sort)


def mapped(config: Config, mapping: str | Mapping[str, Any] | MappingSection | None) -> Config:
    """The configuration with this mapping for everything, by the name of a file that it is for, or as it is."""
    if mapping is None:
        return config
    if isinstance(mapping, str):
        found = config.log.mappings(Path(mapping))
        if not found:
            raise InvalidValueError(f"no [[log.mapping]] is for {mapping!r}: name a file that one of them fits")
        update = [one.model_copy(update={"files": "*"}) for one in found]
    else:
        update = [_checked(mapping)]
    return config.model_copy(update={"log": config.log.model_copy(update={"mapping": update})})


def standard(config: Config, columns: list[str]) -> MappingSection:
    """The mapping of a frame whose columns have the names of events' fields.

    A column with the name of a feature that the model reads is that feature; of updates every other column is one.

    >>> standard(Config(), ["item", "time", "price"]).columns
    {'item': 'item', 'time': 'time', 'features.price': 'price'}
    """
    kind = _kind(columns)
    known = fields_of(kind)
    rules = wiring.rules(config)
    chosen = {}
    for column in columns:
        if column == "label" and kind == "shown":
            chosen[f"actions.{config.training.positive[0]}"] = column
        elif column in known or column.startswith(("features.", "item_features.", "actions.")):
            chosen[column] = column
        elif column in (rules.request or {}) or (kind in _UPDATES and not column.startswith("__index_level_")):
            chosen[f"features.{column}"] = column
        elif column in (rules.item or {}):
            chosen[f"item_features.{column}"] = column
    return _checked({"kind": kind, "columns": chosen})


def _kind(columns: list[str]) -> Shape:
    named = {column.partition(".")[0] for column in columns}
    if "items" in named:
        return "impression"
    if "impression" in named:
        return "interaction"
    if {"user", "item"} <= named:
        return "shown" if named & {"label", "actions"} else "feedback"
    for kind in _UPDATES:
        if kind in named:
            return kind
    raise InvalidValueError(
        f"a frame with the columns {', '.join(columns)} has none of `items`, `impression`, `user` and `item`, which "
        "tell what a row is: rename them, or give a mapping"
    )


def to_table(frame: Any) -> pa.Table:
    """The frame in Arrow. Raises InvalidValueError for values that Arrow has no type for."""
    try:
        frame = computed(frame)
        if hasattr(frame, "__arrow_c_stream__") or hasattr(frame, "__arrow_c_array__"):
            table = pa.table(frame)
        else:
            from pyarrow.interchange import from_dataframe

            table = from_dataframe(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InvalidValueError(f"the frame does not become an Arrow table: {error}") from error
    for field in table.schema:
        if getattr(field.type, "extension_name", "") == "pandas.period":  # numbers, taken for milliseconds
            raise InvalidValueError(
                f"column {field.name!r} has periods: give their beginnings, with .dt.to_timestamp()"
            )
    return table.cast(in_micros(table.schema), safe=False)


def _checked(mapping: Mapping[str, Any] | MappingSection) -> MappingSection:
    if isinstance(mapping, MappingSection):
        return mapping.model_copy(update={"files": "*"})
    if not isinstance(mapping, Mapping) or not all(isinstance(name, str) for name in mapping):
        raise ConfigError(
            f"mapping: {mapping!r} is none: give the settings of a [[log.mapping]] as a dict, or a file's name"
        )
    given = {**mapping, "files": "*"}
    try:
        return MappingSection.model_validate(given)
    except ValidationError as error:
        place = ("log", "mapping", 0)
        found = [ErrorDetails(**{**one, "loc": (*place, *one["loc"])}) for one in error.errors()]
        words = str(told({"log": {"mapping": [given]}}, found))
        raise ConfigError(words.replace("log.mapping, mapping 1: ", "mapping: ")) from None
