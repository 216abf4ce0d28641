#!/usr/bin/env bash
# torch-pruning 1.6.1, torch 2.13.0, numpy 2.2.6 (PyPI), Python 3.11 or later.
#
# MagnitudePruner with one ratio for every layer and round_to=8, which by its docstring goes to the nearest
# multiple. The layers have 80, 160 and 320 channels, and a tenth of each is a multiple of 8 as well: how
# many channels does a ratio of .9 leave?
#
# Guess before running: 8, 16 and 32, and the same without round_to.
# Seen: 80, 8 and 24; without round_to 7, 15 and 31. What stays is cut down to an integer from
# channels * (1 - ratio), and 1 - .9 is a little under .1. round_to then takes the next multiple below:
# 24 for 31, and for 7 none at all. A layer that would be left with nothing is passed over without a
# word, so the layer of 80 channels keeps every one. At .8 it is the same (15, 31, 63 for 16, 32, 64;
# 8, 24, 56 with round_to); at .5 and .7 the counts are as guessed.
#
# Exits with 0 while that is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 torch-pruning==1.6.1 numpy==2.2.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import torch
import torch_pruning

torch.set_num_threads(1)


def left(channels, ratio, round_to):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, channels, 1), torch.nn.ReLU(), torch.nn.Conv2d(channels, 5, 1)
    )
    pruner = torch_pruning.pruner.MagnitudePruner(
        net, torch.rand(1, 3, 4, 4), torch_pruning.importance.MagnitudeImportance(),
        pruning_ratio=ratio, round_to=round_to, ignored_layers=[net[2]],
    )
    pruner.step()
    return net[0].out_channels


seen = {
    (ratio, round_to): [left(channels, ratio, round_to) for channels in (80, 160, 320)]
    for ratio in (0.5, 0.7, 0.8, 0.9)
    for round_to in (None, 8)
}
print("torch-pruning", version("torch-pruning"), "channels left of 80, 160, 320:")
for case, counts in seen.items():
    print("  ratio %s round_to %s:" % case, *counts)
assert seen == {
    (0.5, None): [40, 80, 160], (0.5, 8): [40, 80, 160],
    (0.7, None): [24, 48, 96], (0.7, 8): [24, 48, 96],
    (0.8, None): [15, 31, 63], (0.8, 8): [8, 24, 56],
    (0.9, None): [7, 15, 31], (0.9, 8): [80, 8, 24],
}, seen
PYTHON
