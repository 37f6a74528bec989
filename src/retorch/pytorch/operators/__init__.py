"""ONNX operators as PyTorch expressions, for layers without a rule of their own.

Comes in: a node of the graph, and how to name its operands. Goes out: an expression of ``torch`` and
``torch.nn.functional`` as source text. Open first: ``table.py``, then the family of the operator.
"""
