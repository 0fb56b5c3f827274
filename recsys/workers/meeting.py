"""How the workers of one start find each other: a process group of PyTorch, on one address only."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import ray
import torch.distributed as dist
from ray.train.backend import Backend
from ray.train.collective import broadcast_from_rank_zero
from ray.train.torch import TorchConfig
from torch._C._distributed_c10d import TCPStore

_LONG = timedelta(days=365)
"""How long a worker waits for another one, which may be waiting for events. Of one that dies it learns at once."""


class NoGroup(TorchConfig):
    """Workers without a process group of Ray's making: its store would listen on all interfaces."""

    @property
    def backend_cls(self) -> type[Backend]:
        return Backend


@contextmanager
def process_group(rank: int, size: int) -> Iterator[None]:
    """PyTorch's default process group (gloo) over the workers. Its store listens on this node's own address in Ray."""
    host: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    listening = socket.create_server((host, 0)) if rank == 0 else None
    host, port = broadcast_from_rank_zero(listening.getsockname()[:2] if listening is not None else None)
    descriptor = None if listening is None else listening.detach()
    store = TCPStore(host, port, size, is_master=rank == 0, timeout=_LONG, master_listen_fd=descriptor)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=_LONG)
    try:
        yield
    finally:
        dist.destroy_process_group()
