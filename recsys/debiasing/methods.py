"""The methods that the Coat table compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recsys.debiasing import authors_form
from recsys.debiasing.anchors import Choice
from recsys.debiasing.authors_form import AuthorsForm
from recsys.debiasing.kernel_functions import KernelName

PropensityName = Literal["none", "logged", "logistic", "naive bayes"]
EstimatorName = Literal["ips", "snips", "dr", "mrdr"]


@dataclass(frozen=True, slots=True)
class Method:
    """An estimator with base weights, and kernel functions to balance if `anchors` is given.

    `gamma` bounds the multipliers of kernel balancing. `shrink` multiplies the weights of DR. With `authors` it is the
    form of their code, which has anchors, gamma and weights of its own.
    """

    name: str
    estimator: EstimatorName
    propensity: PropensityName
    anchors: Choice | None = None
    kernel: KernelName = "gaussian"
    gamma: float = 1.0
    shrink: float = 1.0
    authors: AuthorsForm | None = None


def methods(propensity: PropensityName) -> list[Method]:
    """Every method of the table by base weights 1 / p, with its controls."""
    plain = [
        Method("MF", "snips", "none"),
        Method("IPS", "ips", propensity),
        Method("SNIPS", "snips", propensity),
        Method("DR-JL", "dr", propensity),
        Method("MRDR", "mrdr", propensity),
    ]
    kernels: tuple[KernelName, ...] = ("gaussian", "exponential")
    choices: dict[str, Choice] = {"RKB": "random", "WKB": "worst", "AKB": "adaptive"}
    estimators: tuple[EstimatorName, ...] = ("snips", "dr")
    balanced = [
        Method(f"{name}-{'DR' if estimator == 'dr' else 'IPS'} {kernel}", estimator, propensity, choice, kernel)
        for kernel in kernels
        for name, choice in choices.items()
        for estimator in estimators
    ]
    controls = [
        Method("RKB-IPS gamma 0", "snips", propensity, "random", gamma=0.0),
        Method("RKB-DR gamma 0", "dr", propensity, "random", gamma=0.0),
        Method("DR-JL weights x 0.5", "dr", propensity, shrink=0.5),
        Method("DR-JL weights x 0.08", "dr", propensity, shrink=0.08),
        Method("DR, all weights equal", "dr", "none"),
    ]
    return plain + balanced + controls


def authors_methods(propensity: PropensityName) -> list[Method]:
    """For comparison, on the same propensities; without biases."""
    return [
        Method("RKB-IPS, authors' form", "snips", propensity, authors=authors_form.IPS),
        Method("RKB-DR, authors' form", "dr", propensity, authors=authors_form.DR),
    ]
