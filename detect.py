"""Show what a model detects: pictures and videos with boxes drawn, label files, JSON.

    python detect.py --weights runs/train/my/best.pt --source photos/
    python detect.py --cfg cfg/my.cfg --weights my.weights --names data/my.names --source film.mp4
    python detect.py --cfg cfg/my.cfg --weights my.weights --source 0 --backend opencv

--source is a picture, a video, a folder of them, a pattern ('photos/*.jpg', in quotes), a list
(.txt, a path per line), a camera's number, or a stream's URL. A picture gives a picture, a video a
video with as many frames. What cannot be read is reported and skipped. Ctrl-C ends a camera or
stream; what it gave until then stays.

--names is a file with one class name per line, or a data set; without it, classes are called as the
checkpoint of a training (or an ONNX file) says, else by number.
--save-txt writes a line per box: class, centre and size in shares of the picture, score.
--save-json writes all boxes, in pixels, with the times, into detections.json.
Images are fitted, and boxes suppressed, as the cfg says (--fit, --nms overrule it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from utils.command.cli import run_main
from utils.detection.inputs import require_inputs
from utils.detection.sources import find_sources
from utils.runtimes.detect.flags import read_options
from utils.runtimes.detect.tally import Tally


def main(argv: Sequence[str] | None = None) -> Tally:
    """Detect as the flags say; returns the counts that it prints."""
    options = read_options(__doc__, argv)
    require_inputs(options.inputs.cfg, options.inputs.weights)
    find_sources(options.source)  # an error, unless there are some
    from models import Darknet  # from here on there is work to do
    from utils.annotations.ready import ready_data
    from utils.runtimes.detect.run import detect_files

    if options.names:  # a data set may be of any form
        options = replace(options, names=ready_data(options.names))
    tally = detect_files(options, Darknet)
    print(tally.table())
    print(f"Results: {tally.folder} (boxes of a score from {options.conf_thres:g} on)")
    print(tally.hint(), end="\n" if tally.hint() else "")
    return tally


if __name__ == "__main__":
    run_main(main)
