"""Rows beyond memory: files on disk that hold ids which were not seen for longest."""
