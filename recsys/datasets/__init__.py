"""Public data sets as event streams. What a log does not contain is made by a rule that its data card states."""

from recsys.datasets.card import Card, Dataset
from recsys.datasets.globo import globo
from recsys.datasets.ml1m import ml1m
from recsys.datasets.movielens import movielens_small

__all__ = ["Card", "Dataset", "globo", "ml1m", "movielens_small"]
