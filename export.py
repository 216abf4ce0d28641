"""Export a model for Darknet, OpenCV or another runtime, in float or int8, or for ultralytics.

    python export.py --weights runs/train/tuned/best.pt --format opencv --data data/my.data
    python export.py --weights runs/train/tuned/best.pt --format onnx --data data/my.data
    python export.py --cfg cfg/my.cfg --weights my.weights --format openvino --half
    python export.py --weights best.pt --format onnx --int8 --data data/my.data

The result lies beside the weights (best.cfg and best.weights; best.onnx; best.xml and best.bin;
best.ncnn.param, .bin, .json; best.mnn; best.tflite; best.pte) or where --output says. Before files
are put in place, their own runtime runs them on real images (of --data, else on docs/demo.png), and
the results are compared with PyTorch's: float32 within 1e-3, float16 within 2e-2, the same
detections. --int8 calibrates on training images of --data and prints the mAP of float32 and int8
instead; of weights that train.py --int8 finetuned it takes the ranges (onnx, openvino, executorch).
An int8 ONNX file is also compared with its own graph in float.

darknet and opencv are the same pair, each checked by what reads it; its weights suit the epsilon of
either (OpenCV 5 reads no cfg: opencv makes an ONNX file there). The other graphs take `images` (B,
3, H, W), RGB in 0..1, and give `predictions` (B, N, 5 + classes): box centre and size in input
pixels, objectness, class probabilities; class names, anchors and preprocessing are in the file.
ncnn's and ExecuTorch's files, and LiteRT's in int8, end before the decoding. --layout
yolov5|yolov8|deepstream names and lays the boxes of an ONNX file as programs for those families
expect them.

ultralytics is the way back of a network that translate.py read: best-ultralytics.pt, made by your
own installation of the library (--ultralytics-python PATH if another environment has it) and
checked by it. Its modules hold what a prune with --form ultralytics leaves.

espdl is for ESP32 chips (--chip): best.espdl and best.espdl.json, in int8, by esp-ppq, which has an
environment of its own (--espdl-python PATH), and with the mAP of its simulation of the chip.
"""

from __future__ import annotations

from collections.abc import Sequence

from utils.command.cli import run_main
from utils.command.words.next_step import next_steps
from utils.detection.inputs import require_inputs
from utils.runtimes.export.ending import what_next
from utils.runtimes.export.flags import read_options
from utils.runtimes.export.results import Exported


def main(argv: Sequence[str] | None = None) -> Exported:
    """Export as the flags say; returns the files and how they compare."""
    options = read_options(__doc__, argv)
    options.require_possible()
    require_inputs(options.inputs.cfg, options.inputs.weights, options.data)
    from models import Darknet  # from here on there is work to do
    from utils.annotations.ready import with_ready_data
    from utils.runtimes.export.run import export_model

    done = export_model(with_ready_data(options), Darknet)
    print(f"{options.format} against PyTorch on {done.checked} images: {done.agreement}")
    if done.integers is not None:
        print(done.integers)
    for path in done.files:
        print(f"written: {path} ({path.stat().st_size:,} bytes)")
    if done.median_ms is not None:
        print(f"OpenCV runs one image in {done.median_ms:.1f} ms (median of some passes)")
    if done.worth:
        print("8 bits move boxes and scores by nature; what they cost is the mAP:")
        print(done.worth_table())
    steps = what_next(options)
    print(next_steps(steps), end="\n" if steps else "")
    return done


if __name__ == "__main__":
    run_main(main)
