"""What one column is like: its values, times among them, and what its name says."""
