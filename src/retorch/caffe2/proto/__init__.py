"""Caffe2's messages: our own text of the format (``caffe2.proto``) and the module generated from it."""
