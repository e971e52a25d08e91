"""Metrics: how good a model is, measured by name."""
