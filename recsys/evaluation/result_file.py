"""What the results of commands have in common: a file that gives the same bytes for the same result."""

from __future__ import annotations

from typing import ClassVar, Self

import msgspec

from recsys.errors import InvalidValueError

FORMAT = 2


class ResultFile(msgspec.Struct, frozen=True, kw_only=True):
    """Plain data of a subclass, as indented JSON.

    >>> class Answer(ResultFile, frozen=True):
    ...     made_by = "recsys ask"
    ...     figure: int
    >>> Answer.from_json(Answer(figure=42).to_json()).figure
    42
    """

    made_by: ClassVar[str]
    """The command that writes it."""
    format: int = FORMAT

    def to_json(self) -> bytes:
        """The same result gives the same bytes."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Raises ValueError for what is not a result of this format."""
        try:
            result = msgspec.json.decode(data, type=cls)
        except msgspec.DecodeError as error:
            raise InvalidValueError(f"this is no result of `{cls.made_by}`: {error}") from None
        if result.format != FORMAT:
            raise InvalidValueError(
                f"this result has format {result.format}, this version reads {FORMAT}: run it again"
            )
        return result
