"""Pooling: windows, adaptive bins, sequences, and putting maxima back.

Comes in: a stored module with the sizes of its window. Goes out: a layer that takes the maximum, the mean or a norm of
each window. Open first: ``window.py``; where windows lie is in ``layers/base/window.py``.
"""
