"""SpyNet: optical flow from a pyramid of small Torch7 networks, in Caffe2 and ONNX.

>>> from examples.spynet import SpyNet
>>> spynet = SpyNet("models", family="F")     # doctest: +SKIP
>>> flow = spynet.flow(frame1, frame2)        # doctest: +SKIP
"""

from examples.spynet.application import SpyNet
from examples.spynet.flofile import read_flo, write_flo

__all__ = ["SpyNet", "read_flo", "write_flo"]
