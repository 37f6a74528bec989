"""Rules by family: how layers are said in PyTorch; see ``retorch.pytorch.rule``.

Comes in: a layer and the runs that a trace saw of it. Goes out: a part of ``model.py``. Open first: ``../rule.py``.
"""
