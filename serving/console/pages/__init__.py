"""One page a file: what it shows, in terms of figures and tables; templates draw it."""
