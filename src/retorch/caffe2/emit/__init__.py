"""The rules from ONNX operators to Caffe2 operators, one family per file."""
