"""The text of `recsys.toml`, with a comment on each guess."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from recsys.config.sections.learning.training import TrainingSection
from recsys.config.units import written
from recsys.proposal.mappings.mapping import Noted, ProposedMapping
from recsys.proposal.roles.feature_columns import Feature

_COLUMN: Final = 48
_HEAD: Final = """\
# Proposed from the first rows of the files: compare each guess with what you know. What is not here has its default;
# `recsys init all.toml` writes every setting.
"""


def toml_text(
    mappings: Sequence[ProposedMapping],
    training: Mapping[str, Noted],
    fields: Sequence[Feature],
    model: Mapping[str, Noted],
) -> str:
    """The configuration for mappings, `[training]` and `[model]`, and fields beside user, item and hour.

    Further labels of mappings are further tasks.
    """
    parts = [_HEAD]
    parts += [_mapping(one) for one in mappings]
    for section, settings in (("training", training), ("model", model)):
        if settings:
            parts.append(f"[{section}]\n" + "".join(_line(name, noted) for name, noted in settings.items()))
    tasks = {name: noted for one in mappings for name, noted in one.tasks.items()}
    parts += [_task(name, noted, n == 0) for n, (name, noted) in enumerate(tasks.items())]
    parts.append(_features(mappings, fields))
    return "\n".join(parts)


def _task(name: str, actions: Noted, first: bool) -> str:
    note = "learned beside the first, `click`, of [training]; [serving] score says what each counts" if first else ""
    wait = Noted(written(TrainingSection().wait), "how long a shown item waits for it")
    return "[[tasks]]\n" + _line("name", Noted(name, note)) + _line("actions", actions) + _line("wait", wait)


def _mapping(one: ProposedMapping) -> str:
    lines = [
        "[[log.mapping]]\n",
        _line("files", Noted(one.of.pattern)),
        _line("kind", Noted(one.kind, _KINDS[one.kind])),
    ]
    lines += [_line(name, noted) for name, noted in one.settings.items()]
    lines.append("\n[log.mapping.columns]\n")
    notes = {feature.field: feature.note for feature in one.features}
    for name, noted in one.columns.items():
        lines.append(_line(name, Noted(noted.value, noted.note or notes.get(name, ""))))
    return "".join(lines)


_KINDS: Final = {
    "impression": "a row is a list of items that was shown",
    "interaction": "a row is what a user did with an item of a list",
    "shown": "a row is one item that was shown, with what became of it",
    "feedback": "a row is what a user did; what was not chosen is drawn from the rows of others",
    "user": "a row has properties of a user",
    "item": "a row has properties of an item",
}


def _features(mappings: Sequence[ProposedMapping], fields: Sequence[Feature]) -> str:
    anonymous = bool(mappings) and not any("user" in one.columns for one in mappings)
    timeless = bool(mappings) and not any(_hours(one) for one in mappings)
    rows = [] if anonymous else [("user", "categorical", "user", "none", "")]
    rows.append(("item", "categorical", "item", "none", ""))
    if not timeless:
        rows.append(("hour", "categorical", "time.hour", "none", ""))
    rows += [(one.name, one.kind, one.source, one.transform, one.note) for one in fields]
    parts = []
    for name, kind, source, transform, note in rows:
        lines = ["[[features.fields]]\n", _line("name", Noted(name)), _line("kind", Noted(kind, note))]
        lines.append(_line("source", Noted(source)))
        if transform != "none":
            lines.append(_line("transform", Noted(transform, "the numbers are spread widely")))
        parts.append("".join(lines))
    return "\n".join(parts)


def _hours(one: ProposedMapping) -> bool:
    """Whether events have a time of day."""
    reading = one.of.roles.reading
    return reading is not None and (bool(reading.resolution) or "time_of_day" in one.columns)


def _line(name: str, noted: Noted) -> str:
    value = noted.value if name in ("start", "origin") else toml_value(noted.value)
    text = f"{_key(name)} = {value}"
    note = " ".join(noted.note.split())
    return f"{text:<{_COLUMN}}  # {note}\n" if note else f"{text}\n"


def toml_value(value: Any) -> str:
    """A text, number, truth or list as TOML writes it.

    >>> toml_value(['a"b', True, 4.0])
    '["a\\\\"b", true, 4.0]'
    """
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\\x7f", "\\\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(name)} = {toml_value(one)}' for name, one in value.items())} }}"
    return repr(value)


def _key(name: str) -> str:
    plain = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if plain else toml_value(name)
