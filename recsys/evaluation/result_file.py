"""The result file of a command: the same bytes for the same result."""

from __future__ import annotations

from collections.abc import Sequence
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
        """Raises InvalidValueError if `data` is not a result of this format."""
        try:
            result = msgspec.json.decode(data, type=cls)
        except msgspec.DecodeError as error:
            raise InvalidValueError(f"this is not a result of `{cls.made_by}`: {error}") from None
        if result.format != FORMAT:
            raise InvalidValueError(
                f"this result has format {result.format}, this version reads {FORMAT}: run it again"
            )
        return result


def check_settings(found: object, asked: object, what: str = "settings") -> None:
    """Raises InvalidValueError if a result that is to go on was made with other settings."""
    if found != asked:
        raise InvalidValueError(f"the result there is of other {what}: name another folder in --out")


def markdown_table(rows: Sequence[Sequence[str]], *, words: int) -> str:
    """A table for a document: the head and the rows, whose first columns are `words`, and all others numbers.

    >>> print(markdown_table([["model", "AUC"], ["LR", "0.77"]], words=1), end="")
    | model | AUC |
    | --- | ---: |
    | LR | 0.77 |
    """
    head, *rest = rows
    lines = [head, ["---"] * words + ["---:"] * (len(head) - words), *rest]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
