"""Learning from feedback that was not collected at random: propensities, balanced weights, estimators, diagnostics.

Shape suffixes: R observed pairs (rows), U users, I items, J anchors, F covariates.
"""
