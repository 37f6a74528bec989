"""Views, reorderings and selections.

Comes in: a stored module that names sizes or dimensions, counted from 1. Goes out: a layer that gives a view where
Torch does, so that writes into it are seen. Open first: ``view.py``.
"""
