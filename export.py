"""Export a model for another runtime: ONNX, OpenVINO or ncnn; in float32, float16 or int8.

    python export.py --cfg cfg/my.cfg --weights weights/best.pt --format onnx --data data/my.data
    python export.py --cfg cfg/my.cfg --weights weights/best.pt --format openvino --half
    python export.py --cfg cfg/my.cfg --weights weights/best.pt --format onnx --int8 --data my.data

The result lies beside the weights (best.onnx; best.xml and best.bin; best.ncnn.param, .bin, .json)
or where --output says. The graph takes `images` (B, 3, H, W), RGB in 0..1, and gives `predictions`
(B, N, 5 + classes): box centre and size in input pixels, objectness, class probabilities. Class
names, anchors and preprocessing are in the file. ncnn's files end before the decoding.

Before the files are put in place, their own runtime runs them on real images (of --data, else on
docs/demo.png), and the results are compared with PyTorch's: float32 within 1e-3, float16 within
2e-2, the same detections. --int8 calibrates on training images of --data and prints the mAP of
float32 and int8 instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from utils.command.cli import run_main
from utils.detection.inputs import require_inputs
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
    for path in done.files:
        print(f"written: {path} ({path.stat().st_size:,} bytes)")
    if done.worth:
        print(done.worth_table())
    return done


if __name__ == "__main__":
    run_main(main)
