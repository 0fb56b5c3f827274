"""Whether clients that were written for an earlier OpenAPI document get on with a later one.

    python -m serving.api.messages.compatibility docs/openapi.v1.json

writes the document of now into the file, unless it takes something from the one that the file has.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from serving.api.messages.openapi import document

_Schema = Mapping[str, Any]
_LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_SAME = ("pattern", "uniqueItems", "format")
REMEDY = (
    "Clients of /v1 rely on it. Add beside it instead; or serve the new form as /v2, with a document of its own, and "
    "keep /v1 as it is until nobody asks for it"
)


def broken(before: _Schema, now: _Schema) -> list[str]:
    """What clients of the document `before` would miss, or see refused, in that of `now`: places with the change.

    A client may send all that it might before, and ignores fields of answers that it does not know.
    """
    found: list[str] = []
    for path, methods in before["paths"].items():
        for method, operation in methods.items():
            kept = now["paths"].get(path, {}).get(method)
            place = f"{method.upper()} {path}"
            found += [f"{place} is gone"] if kept is None else _of_operation(place, operation, kept, before, now)
    return found


def _of_operation(place: str, old: _Schema, new: _Schema, before: _Schema, now: _Schema) -> Iterator[str]:
    for name in ("security", "parameters"):
        if new.get(name) != old.get(name):
            yield f"{place}: other {name}"
    requests = _SchemaComparison(before, now, request=True)
    yield from requests.of(_body(old.get("requestBody")), _body(new.get("requestBody")), f"{place}, request")
    answers = _SchemaComparison(before, now, request=False)
    for status, response in old["responses"].items():
        kept = new["responses"].get(status)
        if kept is None:
            yield f"{place}: no answer {status}"
        else:
            yield from answers.of(_body(response), _body(kept), f"{place}, answer {status}")


def _body(of: _Schema | None) -> _Schema:
    """The schema of a body; that of nothing if there is none."""
    return next((content["schema"] for content in (of or {}).get("content", {}).values()), {"type": "null"})


class _SchemaComparison:
    """Of schemas of two documents: those of a request must take all that they took, those of an answer must give
    nothing else than they gave. No schema may contain itself."""

    def __init__(self, before: _Schema, now: _Schema, *, request: bool) -> None:
        self._before, self._now, self._request = before, now, request

    def of(self, old: _Schema, new: _Schema, place: str) -> Iterator[str]:
        """Every alternative of the narrower schema must be like one of the wider."""
        olds, news = _alternatives(old, self._before), _alternatives(new, self._now)
        if self._request:
            found = [[list(self._unlike(one, other, place)) for other in news] for one in olds]
        else:
            found = [[list(self._unlike(other, one, place)) for other in olds] for one in news]
        for changes in found:
            yield from min(changes, key=len)

    def _unlike(self, old: _Schema, new: _Schema, place: str) -> Iterator[str]:
        wide, narrow = (new, old) if self._request else (old, new)
        types = narrow.get("type"), wide.get("type")
        if types[1] not in (None, types[0]) and types != ("integer", "number"):
            yield f"{place}: {old.get('type', 'anything')} before, {new.get('type', 'anything')} now"
            return
        for name in _narrower(wide, narrow):
            yield f"{place}: {name} {old.get(name)} before, {new.get(name)} now"
        yield from self._of_fields(old, new, place)
        for name in ("items", "additionalProperties"):
            if isinstance(wide.get(name), dict):
                yield from self.of(old.get(name) or {}, new.get(name) or {}, f"{place}[]")
        for number, parts in enumerate(zip(old.get("prefixItems", ()), new.get("prefixItems", ()), strict=False)):
            yield from self.of(*parts, f"{place}[{number}]")

    def _of_fields(self, old: _Schema, new: _Schema, place: str) -> Iterator[str]:
        olds, news = old.get("properties", {}), new.get("properties", {})
        required = set(old.get("required", ())), set(new.get("required", ()))
        yield from (f"{place}.{name} is gone" for name in olds.keys() - news.keys())
        if self._request:
            yield from (f"{place}.{name} is required now" for name in required[1] - required[0])
        else:
            yield from (f"{place}.{name} may be missing now" for name in (required[0] - required[1]) & news.keys())
        for name in sorted(olds.keys() & news.keys()):
            yield from self.of(olds[name], news[name], f"{place}.{name}")


def _narrower(wide: _Schema, narrow: _Schema) -> Iterator[str]:
    """Names of the bounds that the narrow schema does not keep."""
    for name in _LEAST:
        if name in wide and narrow.get(name, -math.inf) < wide[name]:
            yield name
    for name in _MOST:
        if name in wide and narrow.get(name, math.inf) > wide[name]:
            yield name
    yield from (name for name in _SAME if name in wide and wide[name] != narrow.get(name))
    if "enum" in wide and not set(narrow.get("enum", (None,))) <= set(wide["enum"]):
        yield "enum"


def _alternatives(schema: _Schema, document: _Schema) -> list[_Schema]:
    """The kinds of value that it has, without references."""
    name = schema.get("$ref", "").rpartition("/")[2]
    if name:
        return _alternatives(document["components"]["schemas"][name], document)
    return [kind for one in schema["anyOf"] for kind in _alternatives(one, document)] if "anyOf" in schema else [schema]


def main(path: Path) -> None:
    """Write the document of now into the file, unless it takes something from the one there: then exit with 1."""
    now = document("1")
    changes = broken(json.loads(path.read_text(encoding="utf-8")), now) if path.exists() else []
    if changes:
        sys.exit("\n".join([*changes, REMEDY]))
    path.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
