"""What every rule touches: the base class and its registry, the reading of fields, Torch's memory, windows, randomness.

Comes in: stored objects. Goes out: layers that can run and be lowered. Open first: :mod:`retorch.layers.base.layer`,
then :mod:`retorch.layers.base.memory`.
"""
