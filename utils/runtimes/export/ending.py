"""What to do with the files of an export: the commands that follow it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...command.words.next_step import Words
from ...detection.inputs import model_words
from ..options import THEIRS, target_files
from .options import ExportOptions

EXAMPLES = Path("examples")  # twenty lines each from a picture to boxes


def what_next(options: ExportOptions) -> dict[str, Words]:
    """Commands by their purpose; none for files that ours do not run."""
    files = target_files(options.stem, options.format)
    if options.format == "opencv":
        words: Words = ["darknet_opencv.py", *files, "NAMES", "PICTURE"]
        if len(files) == 1:  # OpenCV 5; it does not tell the size that a file is made for
            words = ["onnx_opencv.py", *files, "NAMES", "PICTURE", "WIDTHxHEIGHT"]
        return {"run it in a program of yours": ["python", EXAMPLES / str(words[0]), *words[1:]]}
    if options.nms or options.format in THEIRS:
        return {}
    made = replace(options.inputs, weights=str(files[-1 if options.format == "darknet" else 0]))
    if options.format == "darknet":
        made = replace(made, cfg=str(files[0]), img_size=None)
    words = model_words(made)
    if options.data:
        return {"score what was written": ["python", "val.py", *words, "--data", options.data]}
    return {"see what it finds": ["python", "detect.py", *words, "--source", "PICTURES"]}
