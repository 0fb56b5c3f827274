"""Search for settings: a fit for each trial, chosen by Optuna from the trials before."""
