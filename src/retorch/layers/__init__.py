"""What Torch's classes mean: one class per Torch layer, one family per file or folder.

Comes in: objects as ``torch7`` read them. Goes out: layers that run in NumPy and can be lowered to ONNX. Open first:
``activation.py`` for what a rule looks like, then ``base/layer.py``.
"""

from retorch.layers.base.layer import Layer, layer, registered

__all__ = ["Layer", "layer", "registered"]
