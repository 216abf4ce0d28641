"""An export's files run on real images beside the network that they were made of."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path

import torch
from torch import Tensor

from ...command.optional import load
from ...network.darknet import Network
from ..agreement import compare_outputs
from ..files import FileOptions, open_file
from ..onnx.best import contradictions as contradictions_of_best
from ..onnx.best import needs_no_nms, run_between
from ..onnx.export import INPUT_NAME, OUTPUT_NAME
from ..onnx.layouts import as_in
from ..onnx.nms_rule import contradictions
from ..options import NmsOptions, target_files
from ..real_images import Images, as_batch
from ..results import Agreement


@torch.no_grad()
def check_files(network: Network, stem: Path, options: FileOptions, images: Images) -> Agreement:
    """Run STEM's files and the network on the same images, at two sizes where they take any."""
    fused: Network = copy.deepcopy(network).eval().fuse()
    batch = as_batch(images)
    expected = as_in(options.layout, fused(batch))
    if options.nms:
        return _check_nms(target_files(stem, "onnx")[0], batch, expected, options.nms)
    made = target_files(stem, options.kind)[0]
    in_int8 = options.calibration or options.trained
    if options.kind == "onnx" and not in_int8 and needs_no_nms(network):
        return _check_best(made, _sizes(batch, network, options), fused)
    run = open_file(options.kind, made, network)
    agreement = compare_outputs(run(batch), expected)
    for smaller in _sizes(batch, network, options)[1:]:
        other = compare_outputs(run(smaller), as_in(options.layout, fused(smaller)))
        agreement = _worse(agreement, other)
    return agreement


def _sizes(batch: Tensor, network: Network, options: FileOptions) -> list[Tensor]:
    """The images, and where any size is taken at another than the one that was traced."""
    if not options.dynamic:
        return [batch]
    stride = network.stride
    return [batch, batch[..., : max(stride, batch.shape[2] - stride), :]]


def _worse(agreement: Agreement, other: Agreement) -> Agreement:
    difference = max(agreement.difference, other.difference)
    return replace(agreement, difference=difference, moved=agreement.moved + other.moved)


def _check_best(path: Path, batches: Sequence[Tensor], fused: Network) -> Agreement:
    """The graph's boxes against PyTorch's, and its best ones against those."""
    found: list[Agreement] = []
    for images in batches:
        rows, boxes = run_between(path, images)
        wrong = sum(contradictions_of_best(*pair) for pair in zip(rows, boxes, strict=True))
        agreement = compare_outputs(boxes, fused(images))
        found.append(replace(agreement, moved=agreement.moved + wrong))
    return reduce(_worse, found)


def _check_nms(path: Path, images: Tensor, expected: Tensor, chosen: NmsOptions) -> Agreement:
    """The graph's boxes against PyTorch's, and what it keeps of them by the rule of NMS."""
    onnx = load("onnx")
    model = onnx.load(str(path))
    between = onnx.helper.make_tensor_value_info(OUTPUT_NAME, onnx.TensorProto.FLOAT, None)
    model.graph.output.append(between)
    providers = ["CPUExecutionProvider"]
    session = load("onnxruntime").InferenceSession(model.SerializeToString(), providers=providers)
    boxes, wrong = [], 0
    for image in images:
        rows, found = map(torch.from_numpy, session.run(None, {INPUT_NAME: image[None].numpy()}))
        boxes.append(found)
        limits = chosen.conf_thres, chosen.iou_thres, chosen.max_per_class
        wrong += contradictions(rows[:, 1:], found[0], *limits)
    agreement = compare_outputs(torch.cat(boxes), expected)
    return replace(agreement, moved=agreement.moved + wrong)
