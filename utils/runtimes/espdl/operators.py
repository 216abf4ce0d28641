"""What ESP-DL can run of a graph. Its quantizer writes files with anything else without a word."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...command.errors import UserError
from ...command.optional import load

# Of what ESP-DL 3.3.14 has a module for (its operator_support_state.md), what a detector may hold.
_KNOWN = frozenset((
    "Add", "AveragePool", "Clip", "Concat", "Conv", "Div", "Elu", "Exp", "Flatten", "Gemm",
    "GlobalAveragePool", "Greater", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Less",
    "MatMul", "MaxPool", "Mul", "Neg", "PRelu", "Pad", "ReduceMax", "ReduceMean", "ReduceSum",
    "Relu", "Reshape", "Resize", "Sigmoid", "Slice", "Softmax", "Split", "Squeeze", "Sub", "Tanh",
    "Transpose", "Unsqueeze", "Constant",
))  # fmt: skip


def require_operators(graph: Path, source: str) -> None:
    """Raise UserError for an ONNX file with what ESP-DL lacks; `source` is where it came from."""
    model = load("onnx").load(str(graph))
    unknown = sorted({node.op_type for node in model.graph.node} - _KNOWN)
    if unknown:
        raise UserError(
            f"{source}: ESP-DL has no {', '.join(unknown)}: replace the activation "
            "(make_cfg.py --replace-activation mish=swish) and train what that writes"
        )
    groups = next(_uneven_groups(model.graph), 0)
    if groups:
        raise UserError(
            f"{source}: a convolution has groups={groups}: ESP-DL knows one group, or one for "
            "each channel with as many filters"
        )


def _uneven_groups(graph: Any) -> Iterator[int]:
    """Groups of convolutions that are neither whole nor depthwise: ESP-DL takes them for these."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        groups = next((at.i for at in node.attribute if at.name == "group"), 1)
        if node.op_type == "Conv" and groups != 1:
            filters, per_group = shapes[node.input[1]][:2]
            if per_group != 1 or filters != groups:
                yield groups
