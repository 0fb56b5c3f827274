"""What every section of `recsys.toml` is built from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from dataclasses import Field as DataclassField
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model
from pydantic_core import PydanticCustomError

from recsys.config.units import milliseconds
from recsys.errors import InvalidValueError
from serving.settings import MILLISECONDS

_T = TypeVar("_T")

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A table of the file.

    Unknown keys are errors, so that a typing error never becomes a silent default. A value must have the type of its
    setting: text is not a number, and true is not 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    def rooted(self, folder: Path) -> Self:
        """The same section with its paths absolute below `folder`."""
        paths = {name: folder / value for name, value in self if isinstance(value, Path)}
        return self.model_copy(update=paths)


def error_at(key: tuple[int | str, ...], message: str) -> PydanticCustomError:
    """An error for `key` inside the section that raises it, so that the message names its line in the file."""
    return PydanticCustomError("value_error", "{message}", {"at": key, "message": message})


def section_of(settings: type[Any]) -> type[Section]:
    """The section whose settings are the fields of a dataclass, with their defaults and bounds.

    >>> from serving.settings import ServingSettings
    >>> section_of(ServingSettings).model_validate({"deadline": "2s"}).deadline
    2000
    """
    hints = get_type_hints(settings, include_extras=True)
    declared: dict[str, Any] = {one.name: (_as_written(hints[one.name]), _default(one)) for one in fields(settings)}
    return create_model(settings.__name__, __base__=Section, __doc__=settings.__doc__, **declared)


def _default(one: DataclassField[Any]) -> Any:
    return one.default if one.default_factory is MISSING else Field(default_factory=one.default_factory)


def _as_written(hint: Any) -> Any:
    return Annotated[hint, BeforeValidator(milliseconds)] if MILLISECONDS in get_args(hint) else hint


def reader(settings: type[_T], section: type[Section]) -> Callable[[Any], _T]:
    """Validates a table of the file as the section, and builds the settings from it.

    A contradiction that the settings name by their field's name first is an error of its key.
    """

    def read(table: Any) -> _T:
        if isinstance(table, settings):
            return table
        values = dict(section.model_validate(table))
        try:
            return settings(**values)
        except InvalidValueError as error:
            name, _, message = str(error).partition(": ")
            raise error_at((name,), message) if name in values else error from None

    return read
