#!/usr/bin/env bash
# torch 2.13.0 (the CPU of an x86-64 machine), Python 3.11.
#
# A 1x1 convolution, float32, one thread. Does the kernel that runs it depend on how many images are in
# the batch?
#
# Guess before running: no. oneDNN runs float convolutions on x86 processors; two images or twenty, the
# same kernel, and so the same bits for an image in any batch from two on.
# Seen: up to 15 images it is the old im2col kernel (_slow_conv2d), from 16 on oneDNN's, forwards and
# backwards; with two threads it is oneDNN's from two images on. The first image's bits are the same in
# both here. 32 -> 32 channels of 80 x 80, channels last, ran at 26 GFLOP/s in a batch of 4 and at 41
# in one of 16 (one core, AVX2), the gradients at 20 and 31: with one thread and a small batch every
# 1x1 layer takes half as long again for each image.
#
# Exits with 0 while the kernels are those.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.2.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torch.profiler import ProfilerActivity, profile

torch.manual_seed(0)
kernel = torch.rand(32, 32, 1, 1, requires_grad=True)
images = torch.rand(16, 32, 20, 20)


def kernels(batch, threads):
    torch.set_num_threads(threads)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        torch.nn.functional.conv2d(images[:batch], kernel).sum().backward()
    names = {event.key for event in seen.key_averages()}
    slow = {"aten::_slow_conv2d_forward", "aten::_slow_conv2d_backward"}
    return "im2col" if slow <= names else "oneDNN" if "aten::mkldnn_convolution" in names else "?"


found = {(b, t): kernels(b, t) for t in (1, 2) for b in (2, 15, 16)}
print("torch", torch.__version__, found)
torch.set_num_threads(1)
with torch.no_grad():
    few, many = (torch.nn.functional.conv2d(images[:n], kernel)[0] for n in (15, 16))
print("first image in 15 and in 16: largest difference", float((few - many).abs().max()))
assert found == {
    (2, 1): "im2col", (15, 1): "im2col", (16, 1): "oneDNN",
    (2, 2): "oneDNN", (15, 2): "oneDNN", (16, 2): "oneDNN",
}, found
PYTHON
