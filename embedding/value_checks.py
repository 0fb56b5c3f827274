"""Checks of the value of one argument: paths, and numbers of Python's own, which kernels are compiled for."""

from __future__ import annotations

import math
from pathlib import Path

from recsys.errors import InvalidValueError


def check_int(what: str, value: object, least: int | None = None) -> None:
    """Raises InvalidValueError unless the value is a Python int, of at least `least`.

    >>> check_int("capacity", "7")
    Traceback (most recent call last):
        ...
    recsys.errors.InvalidValueError: capacity is '7', write a Python int, as int(...) gives it
    """
    if type(value) is not int:
        raise InvalidValueError(f"{what} is {value!r}, write a Python int, as int(...) gives it")
    if least is not None and value < least:
        raise InvalidValueError(f"{what} is {value}, choose {least} or more")


def check_folder(what: str, value: object) -> None:
    """Raises InvalidValueError unless the value is a path.

    >>> check_folder("folder", 5)
    Traceback (most recent call last):
        ...
    recsys.errors.InvalidValueError: folder is 5, write the path of a folder
    """
    if not isinstance(value, str | Path):
        raise InvalidValueError(f"{what} is {value!r:.80}, write the path of a folder")


def check_float(what: str, value: object) -> None:
    """Raises InvalidValueError unless the value is a finite Python float or int.

    >>> check_float("lr", float("nan"))
    Traceback (most recent call last):
        ...
    recsys.errors.InvalidValueError: lr is nan, write a finite Python float, as float(...) gives it
    """
    if isinstance(value, bool) or not isinstance(value, float | int) or not math.isfinite(value):
        raise InvalidValueError(f"{what} is {value!r}, write a finite Python float, as float(...) gives it")
