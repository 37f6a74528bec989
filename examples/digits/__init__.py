"""A digit reader trained in Torch7, run from the Caffe2 files it was converted to."""
