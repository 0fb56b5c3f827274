"""Put collision-free, expiring ids into an existing TorchRec model. Runs on a CPU in seconds:

    python examples/torchrec_drop_in.py

A small model learns, rating by rating, who likes which film, first as TorchRec users write it (ids modulo the size of
the table), then with the lines marked `+`. Progressive log loss: each batch is scored before it is learned.
"""

from __future__ import annotations

import csv
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.optim import _apply_optimizer_in_backward as apply_optimizer_in_backward
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor
from torchrec.distributed import DistributedModelParallel
from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
from torchrec.optim import RowWiseAdagrad

from embedding.hashing import mix
from embedding.torchrec.collection import (  # +
    CollisionFreeEmbeddingBagCollection,  # +
    CollisionFreeSharder,  # +
    counters,  # +
    expire,  # +
    set_time,  # +
)

RATINGS = Path(__file__).parent / "ml-latest-small" / "ratings.csv"
YEAR = 365 * 24 * 3600 * 1000  # ms
ROWS = {"user": 256, "film": 2048}  # fewer than there are: 671 users, 9,066 films
BATCH = 500


class Likes(nn.Module):
    """Does this user like this film? A dot product of their embeddings, and a bias of each."""

    def __init__(self) -> None:
        super().__init__()
        tables = [
            EmbeddingBagConfig(
                name=name,
                embedding_dim=16,
                num_embeddings=rows,
                feature_names=[name],
                weight_init_min=-0.01,
                weight_init_max=0.01,
            )
            for name, rows in ROWS.items()
        ]
        self.sparse = EmbeddingBagCollection(tables=tables, device=torch.device("meta"))
        apply_optimizer_in_backward(RowWiseAdagrad, self.sparse.parameters(), {"lr": 0.15})
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, ids: KeyedJaggedTensor) -> torch.Tensor:
        embedded = self.sparse(ids)
        user, film = embedded["user"], embedded["film"]
        return self.bias + user[:, 0] + film[:, 0] + (user[:, 1:] * film[:, 1:]).sum(1)


def ratings(limit: int | None) -> Iterator[tuple[KeyedJaggedTensor, torch.Tensor, int]]:
    """Batches in order of time: ids (64 bits, as a hash of a name gives them), liked or not, and the time (ms)."""
    with RATINGS.open(newline="", encoding="utf-8") as file:
        rows = sorted(
            (int(r["timestamp"]), int(r["userId"]), int(r["movieId"]), float(r["rating"]) >= 4)
            for r in csv.DictReader(file)
        )
    for begin in range(0, len(rows[:limit]) - BATCH + 1, BATCH):
        time, user, film, liked = zip(*rows[begin : begin + BATCH], strict=True)
        ids = mix(np.array(user + film, np.uint64)).view(np.int64)
        lengths = torch.ones(2 * BATCH, dtype=torch.int32)
        features = KeyedJaggedTensor(["user", "film"], torch.from_numpy(ids), lengths=lengths)
        yield features, torch.tensor(liked, dtype=torch.float32), time[-1] * 1000


def modulo(ids: KeyedJaggedTensor) -> KeyedJaggedTensor:
    """The usual way into a table: ids that meet in a row share it."""
    sizes = torch.tensor(list(ROWS.values())).repeat_interleave(BATCH)
    return KeyedJaggedTensor(ids.keys(), ids.values() % sizes, lengths=ids.lengths())


def distributed(model: nn.Module, *sharders: object) -> DistributedModelParallel:
    """As in any TorchRec program; here with one process."""
    if not dist.is_initialized():
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    return DistributedModelParallel(model, device=torch.device("cpu"), sharders=list(sharders))


def learn(collision_free: bool, limit: int | None = None) -> dict[str, float]:
    """Train once over the ratings. Returns the mean progressive log loss, and what became of the films' ids."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # small batches
    model: nn.Module = Likes()
    if collision_free:
        model.sparse = CollisionFreeEmbeddingBagCollection(model.sparse, ttl=YEAR)  # +
        model = distributed(model, CollisionFreeSharder())  # +
    else:
        model = distributed(model, EmbeddingBagCollectionSharder())
    dense = torch.optim.Adagrad([p for name, p in model.named_parameters() if name.endswith("bias")], lr=0.1)
    losses = []
    for ids, liked, now in ratings(limit):
        if collision_free:
            set_time(model, now)  # +
            expire(model, now)  # +
        logits = model(ids if collision_free else modulo(ids))
        loss = nn.functional.binary_cross_entropy_with_logits(logits, liked)
        dense.zero_grad()
        loss.backward()
        dense.step()
        losses.append(loss.item())
    result = {"log loss": float(np.mean(losses))}
    return result | {name: float(n) for name, n in counters(model, "film").items()} if collision_free else result


def main() -> None:
    """Both ways, side by side."""
    warnings.filterwarnings("ignore")  # TorchRec's and FBGEMM's own
    logging.disable(logging.WARNING)
    shared, own = learn(collision_free=False), learn(collision_free=True)
    print(f"tables of {ROWS['user']} users and {ROWS['film']} films; 671 users rate 9,066 films over 21 years")
    print(f"ids modulo table size       log loss {shared['log loss']:.4f}   ids that meet share a row for ever")
    print(f"collision-free, expiring    log loss {own['log loss']:.4f}   no two live ids share a row")
    print("films: " + ", ".join(f"{name} {own[name]:,.0f}" for name in ("admitted", "expired", "evicted", "live")))


if __name__ == "__main__":
    main()
