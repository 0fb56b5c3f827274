"""Cells of a column from further on in a file, for what its first rows do not show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.proposal.files import first_records, libsvm_sample
from recsys.proposal.files.sample import Sample
from recsys.proposal.files.text_encoding import Decoded
from streaming.ingest.formats.columnar import in_micros
from streaming.ingest.formats.compression import content_suffix, open_content
from streaming.ingest.formats.dialect import RowReader
from streaming.ingest.formats.open_source import Format, dialect

_PLACES: Final = 8
_PIECE: Final = 1 << 18
"""Bytes of text at each place."""
_ROWS: Final = 2000
"""Rows of Parquet at each place."""
_REACH: Final = 1 << 25
"""Bytes of compressed content up to which the places lie: nothing there can be read without all that is before."""
_DELIMITED: Final = ("delimiter", "quote", "escape", "comment")


def further_cells(sample: Sample, name: str) -> list[Any]:
    """Cells of the column at places over the whole file, the last rows among them; none if the sample is the file."""
    if sample.whole:
        return []
    if sample.settings.get("format") == "parquet" or content_suffix(sample.path) == ".parquet":
        return _parquet(sample.path, name)
    encoding = sample.settings.get("encoding", "utf-8")
    if encoding.startswith(("utf-16", "utf-32")):  # a place may be the middle of a character
        return []
    try:
        texts = [piece.decode(encoding, "replace") for piece in _pieces(sample.path)]
    except (OSError, pa.ArrowException):  # damaged further on: `recsys ingest` says so
        texts = []
    return [cell for text in texts for cell in _columns(sample, text).get(name, ())]


def _parquet(path: Path, name: str) -> list[Any]:
    """Of a column by its path."""
    with pq.ParquetFile(path) as file:
        groups = sorted({int(n) for n in np.linspace(0, file.num_row_groups - 1, _PLACES)})
        table = file.read_row_groups(groups, columns=[name.partition(".")[0]])
    starts = np.linspace(0, max(table.num_rows - _ROWS, 0), _PLACES).astype(int).tolist()
    table = table.cast(in_micros(table.schema), safe=False)
    rows = [row for start in starts for row in table.slice(start, _ROWS).to_pylist()]
    return list(first_records.columns_of(rows).get(name, ()))


def _pieces(path: Path) -> Iterator[bytes]:
    """Whole lines at each place."""
    packed = path.suffix.lower() in (".gz", ".bz2", ".zst", ".xz")
    for piece in _packed(path) if packed else _plain(path):
        yield piece[piece.find(b"\n") + 1 : piece.rfind(b"\n") + 1]


def _plain(path: Path) -> Iterator[bytes]:
    last = max(path.stat().st_size - _PIECE, 0)
    with path.open("rb") as file:
        for n in range(1, _PLACES + 1):
            file.seek(last * n // _PLACES)
            yield file.read(_PIECE)


def _packed(path: Path) -> Iterator[bytes]:
    """At twice the distance each time, and the last two."""
    last: list[bytes] = []
    content = open_content(path)
    for n in range(_REACH // _PIECE):
        if not (piece := bytes(content.read(_PIECE))):
            break
        last = [*last[-1:], piece]
        if not n & (n - 1):
            yield piece
    yield from last


def _columns(sample: Sample, text: str) -> Mapping[str, Sequence[Any]]:
    lines = [line.removesuffix("\r") for line in text.split("\n") if line.strip()]
    settings, suffix = sample.settings, content_suffix(sample.path)
    format_ = settings.get("format", suffix.lstrip("."))
    if format_ in ("jsonl", "ndjson", "json"):
        return first_records.columns_of(list(_objects(lines)))
    if format_ in ("libsvm", "svm", "libfm"):
        return libsvm_sample.columns(Decoded(text, "", whole=False), len(lines))[0]
    base = cast("Format", {"inter": "recbole"}.get(format_, format_))
    read = dialect(base, {name: settings[name] for name in _DELIMITED if name in settings})
    rows, _ = RowReader(read, len(sample.columns), lambda _: True).rows(lines, more=False)
    good = [row.cells for row in rows if not row.fault]
    return {name: [cells[n] for cells in good] for n, name in enumerate(sample.columns)}


def _objects(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            found = msgspec.json.decode(line.strip().strip(","))
        except msgspec.DecodeError:
            continue
        if isinstance(found, dict):
            yield found
