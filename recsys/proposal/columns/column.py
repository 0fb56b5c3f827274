"""What the values of one column are like."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, Final, Literal

from recsys.proposal.columns.vocabulary import FALSE_WORDS, TRUTHS
from streaming.ingest.mapping.column_mapping import NULLS

Type = Literal["empty", "boolean", "integer", "number", "text", "list", "other"]
_NUMBER: Final = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_NULL_WORDS: Final = frozenset(
    ("-", "?", "NA", "N/A", "n/a", "na", "none", "NONE", "nil", "#N/A", "<NA>", "<null>", "(null)", "undefined")
) | {"inf", "-inf", "Infinity", "-Infinity"}
"""Words that stand for a missing value in some exports, if the other values are numbers."""
LEVELS: Final = 101
"""Most different numbers on a scale, such as per cents."""
_SEPARATORS: Final = ("|", ";", ",", " ")


def is_number(text: str) -> bool:
    """Whether text is a decimal number."""
    return _NUMBER.fullmatch(text) is not None


@dataclass(frozen=True)
class Column:
    """A column of the sample and what can be said of its values. Missing ones are None, NaN and null words."""

    name: str
    cells: Sequence[Any]

    @cached_property
    def values(self) -> list[Any]:
        """The cells that are not missing."""
        return [cell for cell in self.cells if not self.is_missing(cell)]

    def is_missing(self, cell: Any) -> bool:
        """Whether a cell has no value."""
        if isinstance(cell, float | Decimal):
            return not math.isfinite(cell)
        return cell is None or (isinstance(cell, str) and (cell in NULLS or cell in self.null_words))

    @cached_property
    def null_words(self) -> frozenset[str]:
        """Words beyond the usual ones that stand for a missing number."""
        words = Counter(cell for cell in self.cells if isinstance(cell, str) and cell not in NULLS)
        odd = {word for word in words if not is_number(word)}
        return frozenset(odd) if odd and odd <= _NULL_WORDS and len(odd) < len(words) else frozenset()

    @property
    def missing(self) -> int:
        return len(self.cells) - len(self.values)

    @cached_property
    def texts(self) -> list[str]:
        """The values as text, of numbers that are whole without a decimal point."""
        return [_text(value) for value in self.values]

    @cached_property
    def distinct(self) -> Counter[str]:
        """Different values with how often each occurs."""
        return Counter(self.texts)

    @cached_property
    def numbers(self) -> list[float]:
        """The values as numbers; empty if one is none."""
        if self.type == "boolean":
            return [float(text.lower() in TRUTHS) for text in self.texts]
        return [float(text) for text in self.texts] if self.type in ("integer", "number") else []

    @cached_property
    def type(self) -> Type:
        values = self.values
        if not values:
            return "empty"
        if any(isinstance(value, list | tuple) for value in values):
            return "list"
        if all(isinstance(value, bool) for value in values) or self._truths:
            return "boolean"
        if all(isinstance(value, int | float | Decimal) or (isinstance(value, str) and is_number(value))
               for value in values):  # fmt: skip
            return "integer" if all(_whole(text) for text in self.distinct) else "number"
        written = all(isinstance(value, str | bytes | int | float | Decimal) for value in values)
        return "text" if written and not any(isinstance(value, bool) for value in values) else "other"

    @cached_property
    def _truths(self) -> bool:
        words = {text.lower() for text in self.distinct}
        return len(words) == 2 and len(words & TRUTHS.keys()) == len(words & FALSE_WORDS) == 1

    @cached_property
    def separator(self) -> str:
        """What stands between the values of a list in one cell of text; empty if the cells are no lists."""
        if self.type != "text":
            return ""
        texts = [text for text in self.texts[:1000] if text]
        for separator in _SEPARATORS:
            cut = [[part for part in text.split(separator) if part.strip()] for text in texts]
            if sum(len(parts) > 1 for parts in cut) < len(cut) * 0.3:
                continue
            elements = Counter(part.strip() for parts in cut for part in parts)
            words = separator != " " or not any(part.isalpha() or ":" in part for part in elements)
            if words and len(elements) < 0.9 * sum(elements.values()):
                return separator
        return ""

    @cached_property
    def elements(self) -> Counter[str]:
        """Different elements of lists, with how often each occurs."""
        if self.type == "list":
            return Counter(_text(one) for value in self.values for one in (value or ()))
        if self.separator:
            return Counter(part.strip() for text in self.texts for part in text.split(self.separator) if part.strip())
        return self.distinct

    @property
    def continuous(self) -> bool:
        """Whether the values are numbers without levels."""
        return bool(self.numbers) and len(self.distinct) > LEVELS

    @property
    def listed(self) -> bool:
        return self.type == "list" or bool(self.separator)

    @property
    def unique(self) -> bool:
        """Whether no value occurs twice."""
        return len(self.values) > 1 and len(self.distinct) == len(self.values)


def _whole(text: str) -> bool:
    try:
        return float(text).is_integer() and "." not in text and "e" not in text.lower()
    except (ValueError, OverflowError):
        return False


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        return str(int(value))
    text = str(value)
    return text[:-2] if text.endswith(".0") and text[:-2].removeprefix("-").isdigit() else text
