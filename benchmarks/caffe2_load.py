"""A script for an interpreter that has Caffe2, which knows nothing of retorch: ``caffe2_load.py FOLDER OUT``.

Runs the init net in FOLDER and prints the seconds of CPU as JSON in its last line; then runs the network on an image
of noise, from a fixed seed, and keeps what it gives in OUT, a ``.npy`` file.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import workspace

workspace.GlobalInit(["caffe2", "--caffe2_log_level=3"])
folder = Path(sys.argv[1])
started = time.process_time()
if not workspace.RunNetOnce((folder / "init_net.pb").read_bytes()):
    raise SystemExit("the init net failed")
seconds = time.process_time() - started
net = caffe2_pb2.NetDef()
net.ParseFromString((folder / "predict_net.pb").read_bytes())
workspace.FeedBlob("data", np.random.RandomState(0).randn(1, 3, 224, 224).astype(np.float32))
workspace.RunNetOnce(net)
np.save(sys.argv[2], workspace.FetchBlob(net.external_output[0]))
print(json.dumps({"load": seconds}))
