"""Frames of pandas, Polars and Arrow as sources of events: read as Parquet files are, by the same mappings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from recsys import wiring
from recsys.config.log import Mapping as LogMapping
from recsys.config.schema import Config
from recsys.errors import InvalidValueError
from streaming.events.columns import EVENT_TYPES, KINDS
from streaming.ingest.formats.sources import Source

_FIELDS: Final = {kind: struct.__struct_fields__ for kind, struct in zip(KINDS, EVENT_TYPES, strict=True)}
_SIGNS: Final = (("impression", "items"), ("interaction", "impression"), ("user", "user"), ("item", "item"))
"""Kinds by a column that tells them."""
_NAME: Final = "frame.parquet"
_OF_PANDAS: Final = "__index_level_"


def is_frame(value: Any) -> bool:
    """Whether it speaks Arrow: a frame of pandas or Polars, a table or batch of Arrow."""
    return any(hasattr(value, name) for name in ("__arrow_c_stream__", "__arrow_c_array__", "__dataframe__"))


def sources(
    config: Config, frame: Any, mapping: str | Mapping[str, Any] | LogMapping | None, folder: Path
) -> list[Source]:
    """The sources of one frame, which is written into `folder`.

    Without a `mapping` the columns have the names of events' fields. Raises InvalidValueError when they do not fit.
    """
    table = to_table(frame)
    if not table.num_rows:
        return []
    named = mapped(config, standard(table.column_names) if mapping is None else mapping)
    path = folder / _NAME
    pq.write_table(table, path, compression="none")
    return wiring.sources(named, path)


def mapped(config: Config, mapping: str | Mapping[str, Any] | LogMapping | None) -> Config:
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


def standard(columns: list[str]) -> LogMapping:
    """The mapping of a frame whose columns have the names of events' fields; all others are features.

    >>> standard(["item", "time", "price"]).columns
    {'item': 'item', 'time': 'time', 'features.price': 'price'}
    """
    named = set(columns)
    kind = next((kind for kind, sign in _SIGNS if sign in named), None)
    if kind in ("user", "item") and {"user", "item"} <= named:
        kind = None
    if kind is None:
        raise InvalidValueError(
            f"a frame with the columns {', '.join(columns)} is no event by its names: impressions have `items`, "
            "interactions `impression`, updates of features `user` or `item`. Rename them, or give a mapping"
        )
    known = _FIELDS[kind]
    chosen = {}
    for column in columns:
        if column in known or column.startswith(("features.", "item_features.")):
            chosen[column] = column
        elif "features" in known and not column.startswith(_OF_PANDAS):
            chosen[f"features.{column}"] = column
    return _checked({"kind": kind, "columns": chosen})


def to_table(frame: Any) -> pa.Table:
    """The frame in Arrow. Raises InvalidValueError for values that Arrow has no type for."""
    try:
        if hasattr(frame, "__arrow_c_stream__") or hasattr(frame, "__arrow_c_array__"):
            table = pa.table(frame)
        else:
            from pyarrow.interchange import from_dataframe

            table = from_dataframe(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InvalidValueError(f"the frame does not become an Arrow table: {error}") from error
    return table.cast(pa.schema([_in_micros(field) for field in table.schema]), safe=False)


def _in_micros(field: pa.Field) -> pa.Field:
    """Python has no nanoseconds, and events have milliseconds."""
    if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
        return field.with_type(pa.timestamp("us", field.type.tz))
    return field


def _checked(mapping: Mapping[str, Any] | LogMapping) -> LogMapping:
    if isinstance(mapping, LogMapping):
        return mapping.model_copy(update={"files": "*"})
    try:
        return LogMapping.model_validate({**mapping, "files": "*"})
    except ValidationError as error:
        found = error.errors()[0]
        where = ".".join(map(str, found["loc"]))
        raise InvalidValueError(f"mapping: {where + ': ' if where else ''}{found['msg']}") from None
