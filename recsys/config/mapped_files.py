"""Whether a mapping can have an effect, from the suffix that its pattern asks for."""

from __future__ import annotations

from pathlib import PurePath

from recsys.config.sections.log import MappingSection
from recsys.errors import InvalidValueError

_WILD = frozenset("*?[")
_TABLES_OF_TEXT = ("csv", "tsv", "recbole")


def unused_mapping(mapping: MappingSection) -> str:
    """What is wrong when no file that the pattern fits can be read, or not with these settings; empty if nothing is."""
    from streaming.ingest.formats.open_source import format_of  # here, because it needs Arrow

    suffix = PurePath(mapping.files).suffix
    if mapping.format is not None or not suffix or _WILD & set(suffix):
        return ""
    try:
        found = format_of(mapping.files)
    except InvalidValueError as error:
        return str(error)
    if mapping.text and found not in _TABLES_OF_TEXT:
        return (
            f"{', '.join(mapping.text)} are for CSV and TSV; {mapping.files} is {found}: delete them, or name a format"
        )
    return ""
