"""Random numbers of torch's own operations, from a generator that belongs to one learner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def randomness(generator: torch.Generator) -> Iterator[None]:
    """Let torch draw dropout masks from `generator` (on the CPU); none of its operations that drop takes one."""
    outside = torch.get_rng_state()
    torch.set_rng_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(torch.get_rng_state())
        torch.set_rng_state(outside)
