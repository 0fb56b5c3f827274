"""Measurements of this project against what a user would otherwise run. `python -m benchmarks NAME [--quick]`."""
