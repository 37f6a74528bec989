"""The seconds of a net in the real Caffe2.

A script for an interpreter that has Caffe2, which knows nothing of retorch: ``timing.py RUNS INPUT FOLDER...`` runs the
net of each folder on the array in the ``.npy`` file INPUT, RUNS times in a row and that twice, with the others in
between, and saves its output as ``FOLDER/y.npy``. One net is in memory at a time: its convolutions keep buffers of
gigabytes. The last line is JSON: the fastest run of each.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import workspace

ROUNDS = 2


def load(folder, given):
    """The net in a fresh workspace, its inputs, which it names before its weights, fed in that order."""
    workspace.ResetWorkspace()
    net = caffe2_pb2.NetDef()
    net.ParseFromString((Path(folder) / "predict_net.pb").read_bytes())
    workspace.RunNetOnce((Path(folder) / "init_net.pb").read_bytes())
    for at, array in enumerate(given):
        workspace.FeedBlob(net.external_input[at], array)
    workspace.CreateNet(net.SerializeToString())
    return net


def main():
    """Time all nets."""
    workspace.GlobalInit(["caffe2", "--caffe2_log_level=3"])
    runs, data = int(sys.argv[1]), np.load(sys.argv[2])
    folders = sys.argv[3:]
    seconds, cpu = dict.fromkeys(folders, float("inf")), dict.fromkeys(folders, float("inf"))
    for _ in range(ROUNDS):
        for folder in folders:
            net = load(folder, [data])
            for _ in range(runs):
                started, used = time.perf_counter(), time.process_time()
                workspace.RunNet(net.name)
                seconds[folder] = min(seconds[folder], time.perf_counter() - started)
                cpu[folder] = min(cpu[folder], time.process_time() - used)
            np.save(str(Path(folder) / "y.npy"), workspace.FetchBlob(net.external_output[0]))
    print(json.dumps({"seconds": [seconds[f] for f in folders], "cpu": [cpu[f] for f in folders]}))


if __name__ == "__main__":
    main()
