"""The rules from ONNX operators to Caffe2 operators, one family per file.

Comes in: an ONNX model. Goes out: a Caffe2 net and its parameters. Open first: :mod:`retorch.caffe2.emit.net`.
"""
