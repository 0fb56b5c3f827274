"""What is said of a checkpoint that training cannot go on from, with what to do. Does not import torch."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from recsys.errors import InvalidValueError

ANEW: Final = (
    "name another folder in [training] checkpoints, and another checkpoint_url if there is one, in which a new model "
    "learns from the beginning of the log"
)


def unusable(path: Path, error: Exception) -> str:
    """The reason, and the remedy for it: settings differ where `error` is an InvalidValueError, else files do."""
    if isinstance(error, InvalidValueError):
        return f"{path} cannot be resumed from: {error}\nPut the settings back, or {ANEW}"
    if ANEW in str(error):
        return f"{path} cannot be resumed from: {error}"
    return f"{path} cannot be resumed from: {error}\nRestore the folder from a copy, or {ANEW}"
