"""Mish in other operators: for a converter that does not know it, and for speed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...command.optional import load

_LARGEST = 20.0  # beyond it mish(x) is x in float32, and e^2x would overflow in the end
_NUMBERS = {"mish/2": 2.0, "mish/20": _LARGEST}


def mish_by_softplus(path: Path) -> int:
    """Write x * tanh(softplus(x)) for each Mish (opset 18) of a file; returns their number."""
    return _replaced(path, _softplus_nodes, {})


def mish_by_exp(path: Path) -> int:
    """Write x * n / (n + 2), n = e^x (e^x + 2), for each Mish of a file; returns their number.

    The same function, since tanh(log(1 + e)) = ((1 + e)^2 - 1) / ((1 + e)^2 + 1). ONNX Runtime
    computes Mish by softplus, number by number, which takes two fifths of YOLOv4's time
    (docs/runtimes.md); float32 only.
    """
    return _replaced(path, _exp_nodes, _NUMBERS)


def _softplus_nodes(helper: Any, x: str, y: str) -> list[Any]:
    return [
        helper.make_node("Softplus", [x], [f"{y}/softplus"]),
        helper.make_node("Tanh", [f"{y}/softplus"], [f"{y}/tanh"]),
        helper.make_node("Mul", [x, f"{y}/tanh"], [y]),
    ]


def _exp_nodes(helper: Any, x: str, y: str) -> list[Any]:
    return [
        helper.make_node("Min", [x, "mish/20"], [f"{y}/bounded"]),
        helper.make_node("Exp", [f"{y}/bounded"], [f"{y}/exp"]),
        helper.make_node("Add", [f"{y}/exp", "mish/2"], [f"{y}/exp+2"]),
        helper.make_node("Mul", [f"{y}/exp", f"{y}/exp+2"], [f"{y}/n"]),
        helper.make_node("Add", [f"{y}/n", "mish/2"], [f"{y}/n+2"]),
        helper.make_node("Div", [f"{y}/n", f"{y}/n+2"], [f"{y}/share"]),
        helper.make_node("Mul", [x, f"{y}/share"], [y]),
    ]


def _replaced(
    path: Path, nodes_of: Callable[[Any, str, str], list[Any]], numbers: dict[str, float]
) -> int:
    onnx = load("onnx")
    model = onnx.load(str(path))
    nodes, replaced = [], 0
    for node in model.graph.node:
        if node.op_type != "Mish":
            nodes.append(node)
            continue
        replaced += 1
        spelled = nodes_of(onnx.helper, node.input[0], node.output[0])
        for each in spelled:
            each.name = each.output[0]
        nodes += spelled
    if not replaced:
        return 0
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for name, value in numbers.items():
        held = onnx.numpy_helper.from_array(np.array(value, np.float32), name)
        model.graph.initializer.append(held)
    onnx.save(model, str(path))
    return replaced
