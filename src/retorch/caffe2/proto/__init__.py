"""Caffe2's messages: our own text of the format (``caffe2.proto``) and the module generated from it.

Comes in: ``caffe2.proto``. Goes out: ``caffe2_pb2.py``, which is generated and not edited. Open first:
``caffe2.proto``.
"""
