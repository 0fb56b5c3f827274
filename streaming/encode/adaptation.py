"""Encoded rows of other fields: what waits for its batch when fields are added or removed.

Shape suffixes: B rows, N numeric fields.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from streaming.encode.encoded_rows import EncodedRows
from streaming.encode.encoder import Encoder
from streaming.encode.feature_spec import FeatureSpec


def adapted(rows: EncodedRows, written: FeatureSpec, encoder: Encoder) -> EncodedRows:
    """The rows, which were encoded by `written`, with the fields of `encoder`: a field not in `written` is missing."""
    spec, count = encoder.spec, len(rows)
    ids = {
        field.name: rows.ids[field.name] if field in written.sparse else encoder.missing(field, count)
        for field in spec.sparse
    }
    numeric_BN = np.empty((count, len(spec.numeric)), np.float32)
    for n, field in enumerate(spec.numeric):
        if field in written.numeric:
            numeric_BN[:, n] = rows.numeric_BN[:, written.numeric.index(field)]
        else:
            numeric_BN[:, n] = np.nan if field.scale == "standard" else 0
    return replace(rows, ids=ids, numeric_BN=numeric_BN)
