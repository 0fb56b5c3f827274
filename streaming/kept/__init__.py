"""Training batches as they were learned from, in files, to be learned from again without joining."""
