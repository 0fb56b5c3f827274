"""Search of embedding dimensions: what each table, id or group of rows needs, and whether it beats its controls."""
