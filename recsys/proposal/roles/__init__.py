"""Which column is what: the roles of columns, labels among them, and the features that are left."""
