"""An export's files run on real images beside the network that they were made of."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ...command.optional import load
from ...network.darknet import Network
from ..agreement import compare_outputs
from ..files import FileOptions, open_file
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
    run = open_file(options.kind, target_files(stem, options.kind)[0], network)
    agreement = compare_outputs(run(batch), expected)
    if options.dynamic:  # another size than the one that was traced
        stride = network.stride
        smaller = batch[..., : batch.shape[2] - stride, :] if batch.shape[2] > stride else batch
        other = compare_outputs(run(smaller), as_in(options.layout, fused(smaller)))
        difference = max(agreement.difference, other.difference)
        moved = agreement.moved + other.moved
        agreement = replace(agreement, difference=difference, moved=moved)
    return agreement


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
