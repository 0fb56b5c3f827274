"""What every section of `recsys.toml` is built from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

Unit = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A table of the file. Unknown keys are errors, so that a typing error never becomes a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def rooted(self, folder: Path) -> Self:
        """The same section with its paths absolute below `folder`."""
        paths = {name: folder / value for name, value in self if isinstance(value, Path)}
        return self.model_copy(update=paths)


def error_at(key: tuple[str | int, ...], message: str) -> PydanticCustomError:
    """An error for `key` inside the section that raises it, so that the message names its line in the file."""
    return PydanticCustomError("value_error", "{message}", {"at": key, "message": message})
