"""Runs in an interpreter that has torch and onnx: a twin through ``torch.export`` and ``torch.onnx.export``.

Prints how far the exported program is from the twin; the ONNX file goes where the last argument says.
"""

import json
import sys

import judge
import numpy as np
import torch


def main():
    torch.set_num_threads(1)  # sums of several threads come out in another order each time
    worker = judge.load_worker(sys.argv[1])
    sys.dont_write_bytecode = True
    model = worker.ready(sys.argv[2]).eval()
    tensors, arguments = judge.inputs(worker, dict(np.load(sys.argv[3])))
    given = tuple(arguments(tensors))
    with torch.no_grad():
        want = worker.flat(model(*given))
        made = worker.flat(torch.export.export(model, given).module()(*given))
        torch.onnx.export(model, given, sys.argv[4], dynamo=False)
    wrong = [
        e for i, (got, y) in enumerate(zip(made, want, strict=True)) for e in judge.off(f"output {i}", got, y, 1e-6)
    ]
    print(json.dumps(wrong))


if __name__ == "__main__":
    main()
