"""The ONNX graph as intermediate representation.

Comes in: layers and an example of the input. Goes out: an ``onnx_ir.Model``, which is simplified, run, read and written
here too. Open first: :mod:`retorch.graph.lowering`.
"""
