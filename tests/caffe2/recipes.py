"""Networks as users of Caffe2 write them, layer by layer, with ``model_helper``, ``brew`` and ``mobile_exporter``.

A script for an interpreter that has Caffe2 (Python 3.6 or 3.9), which knows nothing of retorch: ``recipes.py FOLDER``
takes the parameters of each network from ``FOLDER/{network}.npz`` and writes ``{network}_init.pb``, ``{network}.pb``
and ``{network}.pbtxt`` there.
"""

import importlib
import sys
from pathlib import Path

import numpy as np


def lenet(brew, m):
    brew.conv(m, "data", "conv1", 1, 6, 5)
    brew.max_pool(m, "conv1", "pool1", kernel=2, stride=2)
    brew.conv(m, "pool1", "conv2", 6, 8, 3)
    brew.max_pool(m, "conv2", "pool2", kernel=2, stride=2)
    m.net.Reshape("pool2", ["view1", "_view1_dims"], shape=[0, 200])
    brew.fc(m, "view1", "fc1", 200, 12)
    brew.relu(m, "fc1", "relu1")
    brew.fc(m, "relu1", "fc2", 12, 10)
    brew.softmax(m, "fc2", "softmax1")


def flow(brew, m):
    brew.conv(m, "data", "conv1", 8, 6, 7, pad=3)
    brew.relu(m, "conv1", "relu1")
    brew.conv(m, "relu1", "conv2", 6, 4, 7, pad=3)
    brew.relu(m, "conv2", "relu2")
    brew.conv(m, "relu2", "conv3", 4, 2, 7, pad=3)


def in_place(brew, m):
    brew.conv(m, "data", "conv1", 3, 4, 3, pad=1)
    brew.relu(m, "conv1", "conv1")
    brew.conv(m, "conv1", "conv2", 4, 4, 3, pad=1)
    brew.tanh(m, "conv2", "conv2")
    brew.conv(m, "conv2", "conv3", 4, 2, 1)


def alexnet(brew, m):
    brew.conv(m, "data", "conv1", 3, 8, 11, stride=4, pad=2)
    brew.relu(m, "conv1", "relu1")
    brew.lrn(m, "relu1", "lrn1", size=5, alpha=1e-4, beta=0.75, bias=2.0)
    brew.max_pool(m, "lrn1", "pool1", kernel=3, stride=2)
    brew.conv(m, "pool1", "conv2", 8, 6, 5, pad=2)


def residual(brew, m):
    brew.conv(m, "data", "conv1", 4, 8, 3, stride=2, pad=1, no_bias=1)
    brew.spatial_bn(m, "conv1", "bn1", 8, is_test=True, epsilon=1e-3)
    brew.relu(m, "bn1", "relu1")
    brew.conv(m, "relu1", "conv2", 8, 8, 3, pad=1, no_bias=1)
    brew.spatial_bn(m, "conv2", "bn2", 8, is_test=True, epsilon=1e-5)
    brew.conv(m, "data", "conv3", 4, 8, 1, stride=2, no_bias=1)
    brew.sum(m, ["bn2", "conv3"], "add1")
    brew.relu(m, "add1", "relu2")
    brew.average_pool(m, "relu2", "pool1", kernel=7, stride=7)


def inception(brew, m):
    brew.conv(m, "data", "conv1", 4, 3, 1)
    brew.conv(m, "data", "conv2", 4, 5, 3, pad=1)
    brew.relu(m, "conv2", "relu1")
    brew.max_pool(m, "data", "pool1", kernel=3, pad=1)
    brew.concat(m, ["conv1", "relu1", "pool1"], "concat1", axis=1)
    brew.conv(m, "concat1", "conv3", 12, 2, 1)


def upsampling(brew, m):
    brew.conv(m, "data", "conv1", 3, 8, 3, stride=2, pad=1)
    brew.prelu(m, "conv1", "prelu1", 8)
    brew.conv_transpose(m, "prelu1", "conv2", 8, 4, 4, stride=2, pad=1)
    brew.conv_transpose(m, "conv2", "conv3", 4, 3, 3, stride=2, pad=1, adj=1)
    brew.tanh(m, "conv3", "tanh1")


def dilated(brew, m):
    brew.conv(m, "data", "conv1", 3, 4, 3, pad=2, dilation=2)
    m.net.LeakyRelu("conv1", "leakyrelu1", alpha=0.2)
    brew.conv(m, "leakyrelu1", "conv2", 4, 2, 3, pad=4, dilation=4)


def oblong(brew, m):
    brew.conv(m, "data", "conv1", 3, 4, [3, 5], stride_h=1, stride_w=2, pad_t=1, pad_l=2, pad_b=1, pad_r=2)
    brew.max_pool(m, "conv1", "pool1", kernel_h=2, kernel_w=3, stride_h=2, stride_w=1)
    brew.average_pool(m, "pool1", "pool2", kernel_h=1, kernel_w=2, stride_h=1, stride_w=2)


def video(brew, m):
    brew.conv_nd(m, "data", "conv1", 2, 4, [3, 3, 3], pads=[1, 1, 1, 1, 1, 1])
    brew.relu(m, "conv1", "relu1")
    brew.max_pool(m, "relu1", "pool1", kernels=[1, 2, 2], strides=[1, 2, 2])
    brew.conv_nd(m, "pool1", "conv2", 4, 3, [2, 3, 3], strides=[2, 1, 1])


def perceptron(brew, m):
    brew.fc(m, "data", "fc1", 6, 8)
    brew.spatial_bn(m, "fc1", "bn1", 8, is_test=True, epsilon=1e-5)
    m.net.Sigmoid("bn1", "sigmoid1")
    brew.fc(m, "sigmoid1", "fc2", 8, 4)
    brew.tanh(m, "fc2", "tanh1")


def two_inputs(brew, m):
    m.net.AddExternalInput("data_1", "data_2")
    brew.conv(m, "data_2", "conv1", 3, 4, 3, pad=1)
    brew.conv(m, "data_1", "conv2", 3, 4, 3, pad=1)
    brew.sum(m, ["conv1", "conv2"], "add1")
    m.net.Elu("add1", "elu1", alpha=1.0)


def turned(brew, m):
    brew.conv(m, "data", "conv1", 3, 4, 3)
    brew.transpose(m, "conv1", "transpose1", axes=[0, 1, 3, 2])
    brew.relu(m, "transpose1", "relu1")


NETWORKS = (lenet, flow, in_place, alexnet, residual, inception, upsampling, dilated, oblong, video, perceptron)
NETWORKS += (two_inputs, turned)


def export(folder, recipe):
    """Builds one network, puts the given weights into the workspace and writes what the exporter makes of it."""
    workspace = importlib.import_module("caffe2.python.workspace")
    exporter = importlib.import_module("caffe2.python.predictor.mobile_exporter")
    model_helper = importlib.import_module("caffe2.python.model_helper")
    workspace.ResetWorkspace()
    model = model_helper.ModelHelper(name=recipe.__name__)
    recipe(importlib.import_module("caffe2.python.brew"), model)
    workspace.RunNetOnce(model.param_init_net)
    weights = np.load(str(folder / (recipe.__name__ + ".npz")))
    for blob in model.GetAllParams(""):
        workspace.FeedBlob(blob, weights[str(blob)])
    init, predict = exporter.Export(workspace, model.net, model.GetAllParams(""))
    (folder / (recipe.__name__ + "_init.pb")).write_bytes(init.SerializeToString())
    (folder / (recipe.__name__ + ".pb")).write_bytes(predict.SerializeToString())
    (folder / (recipe.__name__ + ".pbtxt")).write_text(str(predict))


if __name__ == "__main__":
    for network in NETWORKS:
        export(Path(sys.argv[1]), network)
