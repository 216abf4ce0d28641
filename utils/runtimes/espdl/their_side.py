"""What runs in the interpreter that has esp-ppq: quantizes, writes, and then simulates on demand.

    python their_side.py

Beside it lie model.onnx, calibration.npy and job.json; it makes model.espdl and says "ready". For
each line it then reads images.npy, runs the quantized graph, writes heads.npz and says "done".
Nothing of this program is imported here: that interpreter need not have it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch


def main() -> None:
    """Do the job of the current folder, until nothing more is asked."""
    # The library prints to what is called stdout; our answers go by a way of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    torch.manual_seed(0)
    executor = quantized(json.loads(Path("job.json").read_text(encoding="utf-8")))
    say(answers, "ready")
    for _ in sys.stdin:
        simulate(executor, torch.from_numpy(np.load("images.npy")))
        say(answers, "done")


def say(answers: TextIO, word: str) -> None:
    """One line to who asked."""
    print(word, file=answers, flush=True)


def quantized(job: dict[str, Any]) -> Any:
    """The executor of the graph that was written."""
    images = torch.from_numpy(np.load("calibration.npy"))
    graph = importlib.import_module(
        "esp_ppq.api"
    ).espdl_quantize_onnx(
        onnx_import_file="model.onnx",  # which it overwrites with a simplified one
        espdl_export_file="model.espdl",
        calib_dataloader=list(torch.split(images, 1)),
        calib_steps=len(images),
        input_shape=[1, *images.shape[1:]],
        inputs=[images[:1]],
        target=job["chip"],
        quant_type="w8a8",
        device="cpu",
        error_report=False,
        export_config=False,
        metadata_props=job["metadata"],
    )
    return importlib.import_module("esp_ppq.executor").TorchExecutor(graph=graph, device="cpu")


@torch.no_grad()
def simulate(executor: Any, images: torch.Tensor) -> None:
    """The heads of each image, one by one as on the chip."""
    found = [executor(image) for image in torch.split(images, 1)]
    heads = [torch.cat(parts).numpy() for parts in zip(*found, strict=True)]
    np.savez("heads.npz", *heads)


if __name__ == "__main__":
    main()
