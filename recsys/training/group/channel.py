"""From the leading process to the others."""

from __future__ import annotations

import numpy as np
import torch

from embedding.torchrec.processes.ranks import Ranks
from recsys.errors import WorkerError
from recsys.training.group.calls import Call, decode, encode


class Channel:
    """Carries the calls of rank 0 to all other ranks, in order. Raises WorkerError when a process has gone."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks

    def send(self, call: Call) -> None:
        data = torch.from_numpy(np.frombuffer(bytearray(encode(call)), np.uint8))
        self._broadcast(torch.tensor([len(data)]))
        self._broadcast(data)

    def receive(self) -> Call:
        """Wait for the next call."""
        size = torch.zeros(1, dtype=torch.int64)
        self._broadcast(size)
        data = torch.empty(int(size), dtype=torch.uint8)
        self._broadcast(data)
        return decode(data.numpy().tobytes())

    def _broadcast(self, tensor: torch.Tensor) -> None:
        try:
            self.ranks.broadcast(tensor)
        except RuntimeError as error:
            raise WorkerError(f"another training process has gone: {error}") from error
