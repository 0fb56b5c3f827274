"""The exported user tower: a user's vector, by ONNX Runtime.

Shape suffixes: F fields, D embedding dimension, N numeric fields, E coordinates of the vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from recsys.errors import ArtefactError, InvalidValueError
from serving.cache.row_cache import RowCache
from serving.cache.row_store import Floats
from serving.index.item_index import ItemIndex
from serving.model.artefact import USER_TABLE, USER_TOWER, Artefact
from serving.model.graph_inputs import SparseField, embed
from streaming.encode.batch import Jagged


class UserTower:
    """The tower of `artefact`. Raises ArtefactError if its graph cannot be run. Not thread-safe."""

    def __init__(self, artefact: Artefact) -> None:
        fields = [field for field in artefact.spec.sparse if not field.of_item]
        self._fields = tuple(SparseField(field.name, USER_TABLE + field.table) for field in fields)
        self._dim = max((artefact.dims[field.table] for field in self._fields), default=0)
        self._session = _session(artefact.graphs[USER_TOWER])
        self._inputs = {port.name for port in self._session.get_inputs()}
        self.size = int(self._session.get_outputs()[0].shape[1])

    def vector(self, rows: RowCache, ids: Mapping[str, Jagged], numeric_1N: Floats) -> Floats:
        """[E], of length 1. Raises InvalidValueError when it is not finite, because a row or a weight has diverged."""
        rows_1FD = embed(rows, (self._fields, ids), ((), {}), 0, self._dim).request_1FD
        given = {"rows": rows_1FD, "numeric": np.ascontiguousarray(numeric_1N, np.float32)}
        inputs = {name: value for name, value in given.items() if name in self._inputs}
        vector_E: Floats = self._session.run(["vector"], inputs)[0][0]
        if not np.isfinite(vector_E).all():
            raise InvalidValueError("the user's vector is not finite: a row or a weight has diverged")
        return vector_E


def _session(graph: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no closer base class
        raise ArtefactError(f"ONNX Runtime cannot read the user tower: {error}") from None


class TwoTowerModel:
    """The user tower of one version, and the item vectors of its run."""

    def __init__(self, tower: UserTower, items: ItemIndex) -> None:
        self.tower, self.items = tower, items
