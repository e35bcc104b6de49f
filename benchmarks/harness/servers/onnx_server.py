"""A server around onnxruntime: `python -m harness.servers.onnx_server FILE PORT`."""

import json
import sys

import numpy as np
import onnxruntime

from harness.servers.answers import run

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1  # faster than the default for single rows
session = onnxruntime.InferenceSession(sys.argv[1], options)
name = session.get_inputs()[0].name
class_names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
run(lambda rows: session.run(["probabilities"], {name: rows.astype(np.uint8).reshape(-1, 28, 28)})[0], class_names)
