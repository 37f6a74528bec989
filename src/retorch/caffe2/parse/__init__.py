"""What each Caffe2 operator means, in ONNX operators: one family per file, read by ``retorch.caffe2.parse.net``."""
