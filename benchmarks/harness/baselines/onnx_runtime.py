"""onnxruntime on the network as an ONNX model."""

from __future__ import annotations

import numpy as np

from harness.workloads import Run, Workload, repeated_calls, scaled_splits, start_weights


def onnx_runtime(workload: Workload, threads: int) -> Run | None:
    """Prepare predictions; onnxruntime does not train."""
    if workload.kind != "predict":
        return None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if threads:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(_graph(workload), options, providers=["CPUExecutionProvider"])
    images = scaled_splits(np.float32)[0][0][: workload.n]
    return repeated_calls(lambda: session.run(None, {"x": images}), workload)


def _graph(workload: Workload) -> bytes:
    """Return the network with the write-up's initial parameters as an ONNX model."""
    from onnx import TensorProto, helper, numpy_helper

    names = ("w_h", "b_h", "w_o", "b_o")
    tensors = [
        numpy_helper.from_array(value.astype(np.float32), name)
        for name, value in zip(names, start_weights(workload), strict=True)
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "w_h", "b_h"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["g"]),
        helper.make_node("Gemm", ["g", "w_o", "b_o"], ["o"], transB=1),
        helper.make_node("Softmax", ["o"], ["p"], axis=1),
    ]
    x_info, p_info = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, size]) for name, size in (("x", 784), ("p", 10))
    )
    graph = helper.make_graph(nodes, "g", [x_info], [p_info], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    serialized: bytes = model.SerializeToString()
    return serialized
