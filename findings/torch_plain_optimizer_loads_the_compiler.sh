#!/usr/bin/env bash
# torch 2.13.0 (CPU), Python 3.11.
#
# A script trains a small module with torch.optim.SGD, and never mentions torch.compile. Is the compiler
# loaded?
#
# Guess before looking: no; `import torch` leaves torch._dynamo for those who call torch.compile, since
# it is large.
# Seen: the constructor loads it (Optimizer.add_param_group is wrapped so that the compiler leaves it
# alone, and asks the compiler for that at the first call), and with it sympy and torch.distributed.fsdp:
# 1.8 s of processor time and 72 MB there, a third of a short training's start. Where the wrapper is
# told that it has asked already, the first optimizer.step() loads it all the same.
#
# Exits with 0 while that is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.2.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import resource
import sys
import time

import torch

WATCHED = ("torch._dynamo", "sympy", "torch.distributed.fsdp")


def loaded():
    return [name for name in WATCHED if name in sys.modules]


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


module = torch.nn.Linear(4, 4)
module(torch.rand(2, 4)).sum().backward()
before = loaded()
began, memory = time.process_time(), peak_mb()
optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
print(f"torch {torch.__version__}: before the optimizer {before}, after {loaded()}, "
      f"{time.process_time() - began:.1f} s, {peak_mb() - memory:.0f} MB")
assert not before, before
assert loaded() == list(WATCHED), loaded()
PYTHON
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch

method = torch.optim.Optimizer.add_param_group.__wrapped__
setattr(method, "__dynamo_disable", method)
module = torch.nn.Linear(4, 4)
module(torch.rand(2, 4)).sum().backward()
optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
made = "torch._dynamo" in sys.modules
optimizer.step()
print("told beforehand: after the optimizer", made, "after its first step", "torch._dynamo" in sys.modules)
assert not made
assert "torch._dynamo" in sys.modules
PYTHON
