"""Sources of records: JSON lines, delimited text and Parquet, plain or compressed, with the position of each record."""
