"""Rankings over HTTP from rows in Redis and an exported graph. Imports `embedding` and `streaming`,
never model code.
"""
