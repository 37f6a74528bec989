"""What each Caffe2 operator means, in ONNX operators, one family per file.

Comes in: a Caffe2 net. Goes out: an ONNX model. Open first: :mod:`retorch.caffe2.parse.net`.
"""
