"""Instance-wise hierarchical architecture search: which dimensions which rows of a log need."""
