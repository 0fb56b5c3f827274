"""The dense part of a model as a graph that servers run."""
