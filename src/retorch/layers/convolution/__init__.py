"""Convolutions: over images, sequences and volumes, and the transposed ones.

Comes in: a stored module with its weight and bias. Goes out: a layer whose lowering is one ``Conv`` or
``ConvTranspose`` where ONNX has it. Open first: ``spatial.py``, whose helpers the others use.
"""
