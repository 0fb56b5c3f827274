"""Lists that pandas and NumPy write into one cell of text: `[1, 2]`, `['a', 'b']`, `["a","b"]`, `['a' 'b']`."""

from __future__ import annotations

import re
from ast import literal_eval
from typing import Final

from recsys.errors import InvalidValueError

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)|(?P<comma>,)
    |(?:np\.\w+\()?(?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\)?(?=[\s,]|$|['"])
    |np\.\w+\((?P<scalar>[^'"()]*)\)
    |(?P<bare>[^\s,\[\]{}]+)""",
    re.VERBOSE | re.DOTALL,
)

_WHOLE: Final = re.compile(r"-?\d+\.")
"""How NumPy writes whole numbers of a type with fractions."""


def is_bracketed(text: str, separator: str) -> bool:
    """Whether text is such a list, and not one whose first and last element have brackets.

    >>> is_bracketed("[1, 2]", "|"), is_bracketed("[a]|[b]", "|"), is_bracketed("a|b", "|")
    (True, False, False)
    """
    return text[:1] == "[" and text[-1:] == "]" and f"]{separator}" not in text


def bracketed(text: str) -> list[str]:
    """The elements as text, without their quotes, of a cell for which `is_bracketed`.

    Commas separate elements, and where there are none spaces. Raises InvalidValueError for lists in lists, objects, and
    an array that NumPy has cut short.

    >>> bracketed("['a b' 'c']"), bracketed("[1, 2.5]"), bracketed("[np.int64(1), np.str_('x')]"), bracketed("[]")
    (['a b', 'c'], ['1', '2.5'], ['1', 'x'], [])
    """
    inner = text[1:-1].strip()
    parts: list[tuple[str, str]] = []
    at = 0
    while at < len(inner):
        token = _TOKEN.match(inner, at)
        if token is None:
            raise InvalidValueError("has lists or objects in the list; write its elements as text or numbers")
        at = token.end()
        kind = token.lastgroup or "bare"
        parts.append((kind, _plain(kind, token[kind])))
    if ("bare", "...") in parts:
        raise InvalidValueError("was cut short ('...') when it was written, as NumPy does with long arrays")
    return _at_commas(parts) if ("comma", ",") in parts else _at_spaces(parts)


def _at_spaces(parts: list[tuple[str, str]]) -> list[str]:
    return [part.strip() for kind, part in parts if kind != "space"]


def _plain(kind: str, text: str) -> str:
    if kind != "quoted":
        return text[:-1] if _WHOLE.fullmatch(text) else text
    if "\\" not in text:
        return text[1:-1]
    try:
        return str(literal_eval(text))
    except (ValueError, SyntaxError):
        return text[1:-1]


def _at_commas(parts: list[tuple[str, str]]) -> list[str]:
    """Elements between commas, whose words are joined: `[New York, Rome]` has two."""
    elements = [""]
    for kind, part in parts:
        if kind == "comma":
            elements.append("")
        else:
            elements[-1] += part
    return [element.strip() for element in elements]
