"""Caffe2: its files, its operators (one table out, one table back), and the real thing in a process of its own.

Comes in: an ONNX model, or Caffe2's files. Goes out: the other of the two. Open first: ``emit/net.py`` for the way
out, ``parse/net.py`` for the way back.
"""
