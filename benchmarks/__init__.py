"""Benchmarks of this project against the usual alternatives. `python -m benchmarks NAME [--quick]`."""
