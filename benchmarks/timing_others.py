"""Seconds of a network in one engine.

A script for an interpreter that has the engine: ``timing_others.py ENGINE SOURCE INPUTS OUTPUTS THREADS SECONDS`` reads
the network, runs it on the arrays ``x0``, ``x1``, … of the ``.npz`` file INPUTS and writes those of OUTPUTS. ENGINE is

``caffe2``    a folder with Caffe2 nets, in the real Caffe2
``embedded``  the same folder, in retorch's own engine
``pytorch``   the folder of a twin
``opencv``    a Torch7 file, read by OpenCV's own ``readNetFromTorch``

The process keeps to the first THREADS processors. The last line is JSON: seconds to read the network, of the first run,
and of the fastest of those after it, which are as many as fit into SECONDS, one at least.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


def caffe2(source, given, threads):
    from caffe2.python import workspace
    from timing import load

    workspace.GlobalInit(["caffe2", "--caffe2_log_level=3", f"--caffe2_omp_num_threads={threads}"])
    net = load(source, given)

    def run():
        workspace.RunNet(net.name)

    return run, lambda: [workspace.FetchBlob(name) for name in net.external_output]


def embedded(source, given, threads):
    import onnxruntime  # noqa: F401

    import retorch

    net = retorch.Network.load(source)
    return lambda: net.run(*given), lambda: net.run(*given)


def opencv(source, given, threads):
    import cv2

    cv2.setNumThreads(threads)
    net = cv2.dnn.readNetFromTorch(source, isBinary=True, evaluate=True)

    def run():
        net.setInput(given[0])
        return [net.forward()]

    return run, run


def pytorch(source, given, threads):
    import torch

    sys.path.insert(0, str(ROOT / "src" / "retorch" / "engines"))
    import pytorch_worker as worker

    torch.set_num_threads(threads)
    worker.provide_safetensors()
    net = worker.ready(str(Path(source) / "model.py"))
    tensors = [torch.from_numpy(array) for array in given]

    def run():
        with torch.inference_mode():
            return worker.flat(net(*tensors))

    return run, lambda: [y.numpy() for y in run()]


def main():
    """Time it."""
    engine, source, inputs, outputs, threads, seconds = sys.argv[1:]
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])
    with np.load(inputs) as stored:
        given = [stored[f"x{i}"] for i in range(len(stored.files))]
    begun = time.perf_counter()
    run, fetch = globals()[engine](source, given, int(threads))
    read = time.perf_counter() - begun
    found = []
    while len(found) < 2 or sum(found) < float(seconds) + found[0]:
        begun = time.perf_counter()
        run()
        found.append(time.perf_counter() - begun)
    np.savez(outputs, **{f"y{i}": y for i, y in enumerate(fetch())})
    print(json.dumps({"read": read, "first": found[0], "steady": min(found[1:])}))


if __name__ == "__main__":
    main()
