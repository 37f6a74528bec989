"""Who computes: the formulas in NumPy, the written files in onnxruntime or the real Caffe2, Torch7 itself.

Comes in: files on disk, and the Torch network where an engine needs it. Goes out: arrays, of outputs and of the values
inside. Open first: :mod:`retorch.engines.interface`, then :mod:`retorch.engines.choice`.
"""
