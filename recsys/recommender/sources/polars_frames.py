"""Frames of Polars in types of Arrow that every reader has; Polars is not imported here."""

from __future__ import annotations

import sys
from typing import Any

from recsys.errors import InvalidValueError


def is_lazy(value: Any) -> bool:
    """Whether it is a LazyFrame, which has no values until it is computed."""
    polars = sys.modules.get("polars")
    return polars is not None and isinstance(value, polars.LazyFrame)


def computed(frame: Any) -> Any:
    """A frame of Polars as an Arrow table, after the computing of a lazy one; any other as it is.

    Polars' own choice of types for Arrow has views of text in dictionaries, which PyArrow cannot read. Raises
    InvalidValueError for Python objects, of which Arrow would have the addresses, and for a LazyFrame that fails.
    """
    polars = sys.modules.get("polars")
    if polars is None or not isinstance(frame, polars.DataFrame | polars.LazyFrame):
        return frame
    if isinstance(frame, polars.LazyFrame):
        try:
            frame = frame.collect()
        except (polars.exceptions.PolarsError, OSError) as error:
            raise InvalidValueError(f"the LazyFrame cannot be computed: {error}") from error
    objects = [name for name, dtype in frame.schema.items() if dtype == polars.Object]
    if objects:
        raise InvalidValueError(f"column {objects[0]!r} has Python objects: make it text, numbers or lists of these")
    return frame.to_arrow(compat_level=polars.CompatLevel.oldest())
