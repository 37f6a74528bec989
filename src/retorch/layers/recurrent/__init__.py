"""Recurrent layers: cells, whole sequences, and modules that are called once a step.

Comes in: a stored module, often with the steps that it was unrolled to. Goes out: a layer that runs one step or a
whole sequence, and keeps its state as Torch does. Open first: ``state.py``, then ``recursor.py``.
"""
