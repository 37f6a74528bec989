"""Tables of tensors.

Comes in: a stored module that takes or gives a table. Goes out: a layer that joins, splits, picks or calculates with
its entries. Open first: ``arithmetic.py``.
"""
