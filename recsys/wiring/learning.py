"""What learns: embedding tables, the dense model, the learner over both, and its exporter."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, TypeVar

from recsys.config.schema import Config
from recsys.config.sections.features import TableSection
from recsys.wiring.stream import spec, tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from embedding.store import EmbeddingStore, Table
    from recsys.models import RankingModel
    from recsys.training.debiasing.debiasing import Debiasing
    from recsys.training.debiasing.kernel_balance import KernelBalance
    from recsys.training.export.exporter import Exporter
    from recsys.training.learner import Learner
    from recsys.training.retrieval.retrieval_learner import RetrievalLearner
    from recsys.training.retrieval.tower_fields import TowerFields
    from recsys.training.ssl.item_contrast import ItemContrast
    from recsys.training.tensorboard import TensorBoard


_Learner = TypeVar("_Learner", bound="Learner")


def tables(config: Config) -> list[Table]:
    """The embedding tables that the fields read, in a fixed order, then those of the two-tower model.

    These have capacity, admission and time to live of the ranker's table with the same ids.
    """
    names = dict.fromkeys(field.table for field in spec(config).sparse)
    ranker = [_table(name, config, _section(name, config), config.features.dim_of(name)) for name in names]
    if not config.retrieval.two_tower:
        return ranker
    own = tower_fields(config).tables.items()
    return ranker + [_table(name, config, _section(like, config), config.retrieval.dim) for name, like in own]


def tower_fields(config: Config) -> TowerFields:
    """The fields of the two-tower model. Raises InvalidValueError if it cannot be built over the configured ones."""
    from recsys.training.retrieval.tower_fields import TowerFields

    return TowerFields(spec(config))


def _section(table: str, config: Config) -> TableSection:
    return config.features.tables.get(table, config.features.defaults)


def _table(name: str, config: Config, section: TableSection, dim: int) -> Table:
    from embedding.store import Admission, Optimizer, Table

    training = config.training
    return Table(
        name,
        dim,
        capacity=section.capacity,
        cold_capacity=section.cold_capacity,
        optimizer=Optimizer(training.optimizer, training.sparse_lr, l2=training.l2, max_norm=training.max_norm),
        admission=Admission(section.admission, section.threshold),
        ttl=section.ttl,
        init_scale=training.init_scale,
        fallback=section.fallback,
        fallback_rows=section.shared_rows,
    )


def store(config: Config) -> EmbeddingStore:
    from embedding.local.store import LocalStore

    return LocalStore(tables(config), seed=config.training.seed, cold_folder=config.training.cold_folder)


def model(config: Config) -> RankingModel:
    from recsys.models import build

    fields = spec(config)
    return build(
        config.model,
        n_sparse=len(fields.sparse),
        n_numeric=len(fields.numeric),
        dim=config.features.dim,
        tasks=1 + len(config.tasks),
        seed=config.training.seed,
        histories=fields.histories,
    )


def set_threads(config: Config) -> None:
    """Set the number of PyTorch's threads in this process. A command that trains calls it once."""
    import torch

    torch.set_num_threads(config.training.threads)


def learner(config: Config, rows: EmbeddingStore | None = None) -> Learner:
    """A new learner, over the store `rows` or else over the configured one."""
    from recsys.training.learner import Learner

    return made(Learner, config, store(config) if rows is None else rows)


def made(kind: Callable[..., _Learner], config: Config, rows: EmbeddingStore) -> _Learner:
    """A learner of some `kind` over `rows`."""
    import torch

    from recsys.training.companions import Companions
    from recsys.training.loss import WeightedLogLoss
    from recsys.training.negative_sampling import NegativeRates, NegativeSampling

    training = config.training
    sampled = training.negatives
    generator = torch.Generator().manual_seed(training.seed)
    return kind(
        spec(config),
        model(config),
        rows,
        dense_lr=training.dense_lr,
        averaging=training.averaging,
        generator=generator,
        tasks=[task.name for task in tasks(config)],
        loss=WeightedLogLoss([1.0, *(task.weight for task in config.tasks)]),
        beside=Companions(
            debiasing=debiasing(config),
            negatives=NegativeSampling(NegativeRates(**sampled.model_dump()), training.seed) if sampled.on else None,
            retrieval=retrieval(config, rows),
            ssl=self_supervision(config, rows),
        ),
    )


def debiasing(config: Config) -> Debiasing:
    """What corrects batches for what was shown, and where."""
    from recsys.training.debiasing.debiasing import NoDebiasing

    options = config.training.debiasing
    if not options.on:
        return NoDebiasing()
    from recsys.training.debiasing.propensity_debiasing import LoggedDebiasing, PropensityDebiasing

    how = LoggedDebiasing(options.method, options.min_propensity, options.positions)
    return PropensityDebiasing(how, kernel_balance(config))


def kernel_balance(config: Config) -> KernelBalance | None:
    options = config.training.debiasing
    if options.balance == "none":
        return None
    from recsys.debiasing.balance import Balancing
    from recsys.training.debiasing.balanced_weights import KernelBalancing
    from recsys.training.debiasing.kernel_balance import KernelBalance

    how = Balancing(options.gamma, options.tolerance)
    chosen = KernelBalancing(options.balance, options.kernel, options.functions, how)
    return KernelBalance(spec(config), chosen, config.training.seed)


def self_supervision(config: Config, rows: EmbeddingStore) -> ItemContrast | None:
    """What learns the ranker's item fields without clicks, over the store `rows`; None if nothing does."""
    from recsys.training.ssl.item_contrast import ItemContrast

    training = config.training
    if not training.ssl.on:
        return None
    return ItemContrast(spec(config), rows, training.ssl, lr=training.dense_lr, seed=training.seed)


def retrieval(config: Config, rows: EmbeddingStore) -> RetrievalLearner | None:
    """What learns the two-tower model, over the store `rows`; None if there is none."""
    from recsys.training.retrieval.retrieval_learner import RetrievalLearner

    if not config.retrieval.two_tower:
        return None
    return RetrievalLearner(spec(config), rows, config.retrieval, config.training.seed)


@contextmanager
def tensorboard(config: Config, run: str) -> Iterator[TensorBoard | None]:
    """What writes the curves of one `run`, if `[training] tensorboard` names a folder."""
    if config.training.tensorboard is None:
        yield None
        return
    from recsys.training.tensorboard import TensorBoard

    with closing(TensorBoard(config.training.tensorboard / run)) as board:
        yield board


def exporter(config: Config, model: RankingModel) -> Exporter:
    from recsys.training.export.exporter import Exporter

    return Exporter(model, spec(config), cache=config.training.checkpoints / "graphs")
