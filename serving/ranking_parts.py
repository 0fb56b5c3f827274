"""What finds candidates and ranks them, made of settings and what a replica keeps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

from serving.event_writer import EventWriter
from serving.process_settings import Settings
from serving.ranking.boost import Boosts
from serving.ranking.diversity import Diversity
from serving.ranking.group_scores import GroupScores
from serving.ranking.mean_logits import MeanLogits
from serving.ranking.named_exploration import exploration
from serving.ranking.popularity import PopularityScores
from serving.ranking.preranker import Preranker
from serving.ranking.ranker import Ranker
from serving.ranking.task_score import TaskScore
from serving.ranking.thompson import Posterior
from serving.ranking.tower_products import TowerProducts
from serving.replica import Replica
from serving.retrieval.attribute_filter import AttributeFilter
from serving.retrieval.available_times import AvailableTimes
from serving.retrieval.basket_items import BasketItems
from serving.retrieval.catalog_sources import PopularItems, RecentItems
from serving.retrieval.merged import MergedRetriever
from serving.retrieval.mined_sets import MinedSets
from serving.retrieval.retriever import Retriever
from serving.retrieval.two_tower_items import TwoTowerItems
from serving.retrieval.visit_sources import HistoryItems, ItemToItem
from serving.shadow import Shadow


def candidates(settings: Settings, replica: Replica) -> Retriever:
    """Where `/v1/recommend` gets its candidates from."""
    sources: dict[str, Retriever] = {
        "two_tower": TwoTowerItems(replica.models, replica.entities),
        "popular": PopularItems(replica.catalog),
        "recent": RecentItems(replica.catalog),
        "item_to_item": ItemToItem(replica.visited),
        "history": HistoryItems(replica.visited),
        "basket": MinedSets(replica.visited)
        if settings.mined_sets
        else BasketItems(settings.item_sets, replica.entities, replica.item_sets),
    }
    merged = MergedRetriever(sources, settings.shares, settings.minimums, replica.entities, settings.merge)
    return AttributeFilter(merged, replica.entities, AvailableTimes(*settings.available_times))


def ranker(settings: Settings, replica: Replica, deadline: float) -> Ranker:
    """What ranks candidates, in at most `deadline` seconds."""
    return Ranker(
        replica.models,
        replica.entities,
        PopularityScores(replica.catalog),
        exploration(settings.exploration, settings.temperature, settings.epsilon),
        deadline,
        GroupScores(TaskScore(settings.score), settings.score_by, settings.scores),
        Boosts(settings.boosts, replica.entities),
        settings.seed,
        Diversity(settings.diversity_by, settings.diversity) if settings.diversity_by else None,
        preranker(settings, replica),
        Posterior(settings.evidence) if settings.exploration == "thompson" else None,
    )


def preranker(settings: Settings, replica: Replica) -> Preranker | None:
    """What chooses the candidates that the model scores; None if it scores all."""
    if not settings.prerank:
        return None
    return Preranker(settings.prerank, settings.prerank_checked, [TowerProducts(replica.entities), MeanLogits()])


def shadow_scoring(settings: Settings, replica: Replica, events: EventWriter, idle: Callable[[], bool]) -> Shadow:
    """What scores answers with challengers, while `idle`."""
    greedy = replace(
        settings,
        exploration="none",
        temperature=1.0,
        epsilon=0.1,
        thompson_by="",
        diversity_by="",
        diversity=0.0,
        boosts=[],
    )
    own, patience = ranker(greedy, replica, math.inf), settings.shadow_patience / 1000
    return Shadow(settings.shadow, replica.models, own, events, idle, replica.is_behind, time.perf_counter, patience)
