"""The processes that share a store."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist

from recsys.errors import InvalidValueError

Array = npt.NDArray[Any]


def usable_device(device: str | torch.device) -> torch.device:
    """The device of that name. Raises InvalidValueError for one that is not there.

    >>> usable_device("cpu")
    device(type='cpu')
    """
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, TypeError, AssertionError) as error:  # PyTorch has no class of its own for them
        reason = str(error).partition("\n")[0]
        message = f'device is {device!r}, write "cpu" or, where there is one, "cuda:0": {reason}'
        raise InvalidValueError(message) from None
    return found


class Ranks:
    """A process group, and the exchange of arrays over it (by gloo, whatever the group's backend).

    Without an initialised group this process forms a group alone. Raises InvalidValueError for what is no group, and if
    there is none.

    >>> Ranks(None, torch.device("cpu")).total({"live": 2})
    {'live': 2}
    """

    def __init__(self, group: dist.ProcessGroup | None, device: torch.device) -> None:
        if group is not None and not isinstance(group, dist.ProcessGroup):
            raise InvalidValueError(f"group is {group!r:.80}, write what dist.new_group() returned, or None")
        if group is None and not dist.is_initialized():
            backend = "nccl" if device.type == "cuda" else "gloo"
            alone = dist.HashStore()  # type: ignore[attr-defined]
            dist.init_process_group(backend, store=alone, rank=0, world_size=1)
        world = dist.group.WORLD
        chosen = group or world
        if chosen is None:
            raise InvalidValueError("no process group: call torch.distributed.init_process_group first")
        self.group: dist.ProcessGroup = chosen
        self.rank, self.size = dist.get_rank(chosen), dist.get_world_size(chosen)
        alone_or_gloo = self.size == 1 or dist.get_backend(chosen) == "gloo"
        members = dist.get_process_group_ranks(chosen)
        self._control: Any = chosen if alone_or_gloo else dist.new_group(members, backend="gloo")

    def gather(self, array: Array) -> list[Array]:
        """This array of every process, in order of rank; lengths may differ. Collective."""
        if self.size == 1:
            return [array]
        row = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(sizes, torch.tensor([len(row)]), group=self._control)
        longest = max(int(size) for size in sizes)
        mine = torch.zeros(longest, dtype=torch.uint8)
        mine[: len(row)] = torch.from_numpy(row)
        everyone = [torch.empty(longest, dtype=torch.uint8) for _ in range(self.size)]
        dist.all_gather(everyone, mine, group=self._control)
        cut = [part.numpy()[: int(size)] for part, size in zip(everyone, sizes, strict=True)]
        return [part.view(array.dtype).reshape(-1, *array.shape[1:]) for part in cut]

    def together(self, array: Array) -> Array:
        """The arrays of all processes, concatenated by rank. Collective."""
        return np.concatenate(self.gather(array))

    def exchange(self, array: Array, sent_R: Array, got_R: Array) -> Array:
        """The first `sent_R[0]` values to the first process, and so on; what they sent here, by rank. Collective."""
        if self.size == 1:
            return array
        got = np.empty(int(got_R.sum()), array.dtype)
        theirs, mine = (torch.from_numpy(each.view(np.uint8)) for each in (got, array))  # gloo has no unsigned 64 bits
        got_bytes, sent_bytes = ((each_R * array.itemsize).tolist() for each_R in (got_R, sent_R))
        dist.all_to_all_single(theirs, mine, got_bytes, sent_bytes, group=self._control)
        return got

    def total(self, numbers: dict[str, int]) -> dict[str, int]:
        """Sums over all processes, which give the same names. Collective."""
        if self.size == 1:
            return numbers
        sums = np.sum(self.gather(np.array(list(numbers.values()), np.int64)[None, :]), axis=0)
        return dict(zip(numbers, sums[0].tolist(), strict=True))

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, with the same bits in each, in place of `tensor`. Collective."""
        if self.size > 1:
            dist.all_reduce(tensor, dist.ReduceOp.SUM, group=self._control)
        return tensor

    def broadcast(self, tensor: torch.Tensor) -> None:
        """Fill `tensor` with that of the first process. Collective."""
        dist.broadcast(tensor, dist.get_global_rank(self.group, 0), group=self._control)

    def largest(self, number: int) -> int:
        """The largest number of any process. Collective."""
        if self.size == 1:
            return number
        most = torch.tensor([number])
        dist.all_reduce(most, dist.ReduceOp.MAX, group=self._control)
        return int(most)
