"""The optional dependencies that a command needs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec

from recsys.errors import RecsysError

P = ParamSpec("P")

OURS = ("recsys", "serving", "embedding", "streaming")


def needs(extra: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Decorate a command whose dependencies are those of `extra` in `pyproject.toml`.

    If one of them is not installed, the command raises `RecsysError`, which says what to install.
    """

    def decorate(command: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(command)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                command(*args, **kwargs)
            except ModuleNotFoundError as error:
                module = (error.name or "").partition(".")[0]
                if not module or module in OURS:  # a mistake in this project, not in its installation
                    raise
                install = f"pip install 'recsys[{extra}]'"
                raise RecsysError(f"recsys {command.__name__} needs `{install}`: no module named {module}") from error

        return wrapped

    return decorate
