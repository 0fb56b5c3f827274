"""The gradients of a batch without the rows that would break the weights.

Shape suffixes: B training rows, S = fields * embedding dimension, N numeric fields, T tasks.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from recsys.training.dense.model import DenseModel
from recsys.training.dense.peers import Peers
from recsys.training.dense.soundness import UnsoundRows
from recsys.training.embedding_layer import Embedded
from streaming.encode.batch import TrainingBatch
from streaming.encode.feature_spec import FeatureSpec


class SoundGradients:
    """Finds gradients with `dense`; rows that make them unsound are left out and counted, over all `peers`."""

    def __init__(self, spec: FeatureSpec, dense: DenseModel, peers: Peers) -> None:
        self.unsound = UnsoundRows(spec, peers)
        self._dense = dense
        self._peers = peers

    def find(self, batch: TrainingBatch, embedded: Embedded, numeric_BN: torch.Tensor) -> tuple[bool, torch.Tensor]:
        """Gradients of the batch, and the logits [B, T]; False if they may not be applied.

        The inputs of rows that make them unsound become zeros, here and for the caller. Batch norm's running means
        learn nothing of a batch with such rows.
        """
        before = self._dense.statistics()
        logits_BT, is_sound = self._dense.gradients(batch, embedded, numeric_BN)
        if not is_sound:
            is_sound, logits_BT = self._find_others(batch, embedded, numeric_BN, logits_BT)
            self._dense.restore_statistics(before)
        return is_sound, logits_BT

    def _find_others(
        self, batch: TrainingBatch, embedded: Embedded, numeric_BN: torch.Tensor, logits_BT: torch.Tensor
    ) -> tuple[bool, torch.Tensor]:
        """As `find`, after a pass over all rows gave `logits_BT` and unsound gradients."""
        gradient_BS = embedded.gradient_BS
        assert gradient_BS is not None
        out_B = self.unsound.find(logits_BT, embedded.embedded_BFD, gradient_BS, numeric_BN)
        if self._peers.any(bool(out_B.any())):
            fields = self.unsound.fields(out_B, embedded.embedded_BFD, numeric_BN)
            embedded.blank(out_B)
            numeric_BN[out_B] = 0
            weights_B = np.where(out_B, np.float32(0), batch.weights_B)
            logits_BT, is_sound = self._dense.gradients(replace(batch, weights_B=weights_B), embedded, numeric_BN)
            if is_sound:
                self.unsound.count(batch, out_B, fields)
                return True, logits_BT
        self.unsound.count_all(batch)
        return False, logits_BT
