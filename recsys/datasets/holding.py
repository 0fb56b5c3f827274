"""What is said of a path that does not hold the data set that is read from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from recsys.errors import InvalidValueError, RecsysError


@contextmanager
def holding(name: str, path: Path) -> Iterator[None]:
    """Raise InvalidValueError where the block, which reads the data set `name`, finds other files, or none."""
    try:
        yield
    except RecsysError:
        raise
    except (OSError, pa.ArrowException, LookupError, ValueError) as error:
        raise InvalidValueError(f"{path} does not hold the data set {name}: {_said(error)}") from error


def _said(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no {error.filename or error}"
    return f"{type(error).__name__}: {error}" if isinstance(error, LookupError) else str(error)
