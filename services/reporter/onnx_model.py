"""A model as an ONNX graph from raw features to the probability of fraud, for any ONNX runtime.

Input `features`, float32 (rows, features) in the manifest's units and order; output `probability`, float32 (rows,).
Standardisation is inside, in float64 as the banks do it; so are the layers, the pooled log-odds where the recipe
trains with logit adjustment, and the sigmoid. The same model gives the same bytes.
"""

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from fedfraud.manifest import Manifest
from fedfraud.model import RunState, Vector, named_tensors

INPUT, OUTPUT = "features", "probability"
_OPSET, _IR = 17, 8
"""Of 2022: what runtimes have had since."""
_Array = NDArray[np.float32] | NDArray[np.float64] | NDArray[np.int64]


def to_onnx(manifest: Manifest, run_state: RunState, vector: Vector, *, logit_adjustment: bool) -> bytes:
    """The serialised graph; no time and no run id is in it."""
    constants: dict[str, _Array] = {
        "means": np.asarray(run_state.means, np.float64),
        "deviations": np.asarray(run_state.deviations, np.float64),
        "row": np.asarray([-1], np.int64),
        **named_tensors(manifest, vector),
    }
    nodes = [
        helper.make_node("Cast", [INPUT], ["raw"], to=TensorProto.DOUBLE),
        helper.make_node("Sub", ["raw", "means"], ["centred"]),
        helper.make_node("Div", ["centred", "deviations"], ["scaled"]),
        helper.make_node("Cast", ["scaled"], ["hidden_0"], to=TensorProto.FLOAT),
        *_layers(len(manifest.layer_sizes)),
        helper.make_node("Reshape", ["column", "row"], ["logit"]),
    ]
    logit = "logit"
    if logit_adjustment:
        constants["log_odds"] = np.asarray(run_state.log_odds, np.float32)
        nodes.append(helper.make_node("Add", [logit, "log_odds"], ["calibrated"]))
        logit = "calibrated"
    nodes.append(helper.make_node("Sigmoid", [logit], [OUTPUT]))
    return _model(nodes, constants, manifest).SerializeToString(deterministic=True)


def _layers(count: int) -> list[NodeProto]:
    """(rows, features) `hidden_0` to (rows, 1) `column`: linear layers, ReLU between them."""
    nodes = []
    for layer in range(count):
        inputs = [f"hidden_{layer}", f"layers.{layer}.weight", f"layers.{layer}.bias"]
        last = layer == count - 1
        nodes.append(helper.make_node("Gemm", inputs, ["column" if last else f"linear_{layer}"], transB=1))
        if not last:
            nodes.append(helper.make_node("Relu", [f"linear_{layer}"], [f"hidden_{layer + 1}"]))
    return nodes


def _model(nodes: Sequence[NodeProto], constants: dict[str, _Array], manifest: Manifest) -> ModelProto:
    features = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["rows", len(manifest.features)])
    probability = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["rows"])
    held = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(list(nodes), "fraud", [features], [probability], held)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR, producer_name="fedfraud"
    )
    named = [{"name": feature.name, "unit": feature.unit} for feature in manifest.features]
    helper.set_model_props(model, {"features": json.dumps(named)})
    return model
