"""The dense weights while they learn."""
