"""The published way from Torch7 to Caffe2, as a person would write it for VGG-16.

A script for an interpreter that has Caffe2 (Python 3.9) and torchfile, which knows nothing of retorch:
``recipe.py PACKAGES MODEL OUT`` takes torchfile from the folder PACKAGES, reads MODEL, rebuilds the network layer by
layer with ``model_helper`` and ``brew``, and writes the three files into OUT. Its last line is JSON: the seconds of
each step, imports not counted.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, sys.argv[1])

import torchfile
from caffe2.python import brew, model_helper, workspace
from caffe2.python.predictor import mobile_exporter


class Rebuilt:
    """The network as far as it has been rebuilt."""

    def __init__(self):
        self.model = model_helper.ModelHelper(name="vgg16")
        self.weights = {}
        self.counts = {}
        self.blob = "data"

    def name(self, kind):
        """conv1, conv2, ..."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return kind + str(self.counts[kind])

    def keep(self, name, module):
        self.weights[name + "_w"] = module.weight
        self.weights[name + "_b"] = module.bias

    def add(self, module):
        """One layer of Torch as one call of brew."""
        kind = module.torch_typename().decode()
        if kind == "nn.SpatialConvolution":
            name = self.name("conv")
            brew.conv(self.model, self.blob, name, module.nInputPlane, module.nOutputPlane, module.kW, pad=module.padW)
            self.keep(name, module)
        elif kind == "nn.ReLU":
            name = self.name("relu")
            brew.relu(self.model, self.blob, name)
        elif kind == "nn.SpatialMaxPooling":
            name = self.name("pool")
            brew.max_pool(self.model, self.blob, name, kernel=module.kW, stride=module.dW)
        elif kind == "nn.Linear":
            name = self.name("fc")
            outputs, inputs = module.weight.shape
            brew.fc(self.model, self.blob, name, inputs, outputs)
            self.keep(name, module)
        elif kind == "nn.SoftMax":
            name = self.name("softmax")
            brew.softmax(self.model, self.blob, name)
        elif kind in ("nn.View", "nn.Dropout"):
            return  # FC flattens by itself, and nothing is dropped at evaluation
        else:
            raise ValueError(kind)
        self.blob = name


def main():
    """Read, rebuild, feed, export, write."""
    steps, cpu = {}, time.process_time()
    clock = time.perf_counter()

    def done(step):
        nonlocal clock
        steps[step] = time.perf_counter() - clock
        clock = time.perf_counter()

    net = torchfile.load(sys.argv[2])
    done("read")
    rebuilt = Rebuilt()
    for module in net.modules:
        rebuilt.add(module)
    workspace.RunNetOnce(rebuilt.model.param_init_net)
    for name, array in rebuilt.weights.items():
        workspace.FeedBlob(name, array)
    done("build")
    init, predict = mobile_exporter.Export(workspace, rebuilt.model.net, rebuilt.model.GetAllParams(""))
    done("export")
    out = Path(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    (out / "init_net.pb").write_bytes(init.SerializeToString())
    (out / "predict_net.pb").write_bytes(predict.SerializeToString())
    (out / "predict_net.pbtxt").write_text(str(predict))
    done("write")
    print(json.dumps({"seconds": sum(steps.values()), "cpu": time.process_time() - cpu, "steps": steps}))


if __name__ == "__main__":
    main()
