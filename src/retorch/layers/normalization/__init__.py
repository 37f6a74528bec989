"""Normalization by stored statistics, and over neighbours.

Comes in: a stored module with its statistics or the size of its neighbourhood. Goes out: a layer that normalizes as at
evaluation. Open first: ``batch.py``.
"""
