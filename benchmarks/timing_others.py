"""Seconds of a network in OpenCV or PyTorch.

A script for an interpreter that has one of them, which knows nothing of retorch: ``timing_others.py opencv MODEL.t7
INPUT RUNS`` reads the Torch7 file with ``readNetFromTorch``, ``timing_others.py pytorch FOLDER INPUT RUNS`` loads
``model.py``. The last line is JSON: seconds and CPU seconds of the fastest run after one that warms up, and the output.
"""

import json
import sys
import time

import numpy as np


def opencv(path, data):
    import cv2

    net = cv2.dnn.readNetFromTorch(path, isBinary=True, evaluate=True)

    def run():
        net.setInput(data)
        return net.forward()

    return run, cv2.__version__


def pytorch(folder, data):
    import torch

    sys.path.insert(0, folder)
    from model import load

    net = load().eval()
    given = torch.from_numpy(data)

    def run():
        with torch.inference_mode():
            return net(given).numpy()

    return run, torch.__version__


def main():
    """Time it."""
    data, runs = np.load(sys.argv[3]), int(sys.argv[4])
    run, version = {"opencv": opencv, "pytorch": pytorch}[sys.argv[1]](sys.argv[2], data)
    np.save(sys.argv[5], run())
    seconds, cpu = [], []
    for _ in range(runs):
        started, used = time.perf_counter(), time.process_time()
        run()
        seconds.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    print(json.dumps({"seconds": min(seconds), "cpu": min(cpu), "version": version}))


if __name__ == "__main__":
    main()
