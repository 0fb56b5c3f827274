"""Processes that train together over gloo on loopback, for a bounded time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tests.forking import SECONDS, context


def run(world: int, work: Callable[..., None], folder: Path, *arguments: Any) -> None:
    """work(rank, world, folder, *arguments) in `world` processes. Raises AssertionError when one of them fails."""
    meeting = folder / f"meeting-{world}-{work.__name__}"
    members = [
        context.Process(target=_member, args=(rank, world, meeting, work, folder, *arguments)) for rank in range(world)
    ]
    try:
        for member in members:
            member.start()
        deadline = time.monotonic() + SECONDS
        for member in members:
            member.join(max(0.0, deadline - time.monotonic()))
        assert [member.exitcode for member in members] == [0] * world, "see the processes' own errors above"
    finally:
        for member in members:
            member.kill()
            member.join()


def _member(rank: int, world: int, meeting: Path, work: Callable[..., None], folder: Path, *arguments: Any) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=meeting.as_uri(), rank=rank, world_size=world)
    try:
        work(rank, world, folder, *arguments)
        dist.barrier()
    finally:
        dist.destroy_process_group()
