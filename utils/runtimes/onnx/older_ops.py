"""An ONNX graph without operators that are too new for a converter."""

from __future__ import annotations

from pathlib import Path

from ...command.optional import load


def spell_out_mish(source: Path, target: Path) -> int:
    """Copy a file with x * tanh(softplus(x)) for each Mish (opset 18); returns their number."""
    onnx = load("onnx")
    model = onnx.load(str(source))
    nodes, replaced = [], 0
    for node in model.graph.node:
        if node.op_type != "Mish":
            nodes.append(node)
            continue
        replaced += 1
        (given,), (made,) = node.input, node.output
        soft, bound = f"{made}/softplus", f"{made}/tanh"
        nodes += [
            onnx.helper.make_node("Softplus", [given], [soft], name=soft),
            onnx.helper.make_node("Tanh", [soft], [bound], name=bound),
            onnx.helper.make_node("Mul", [given, bound], [made], name=node.name),
        ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, str(target))
    return replaced
