"""Intervals and tests over persons. Pure: numpy and scipy only, no files, no model."""
