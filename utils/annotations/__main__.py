"""Turn annotations of other tools into Darknet's layout, and back to COCO's JSON.

    python data/convert.py auto my-set data/my        # finds out which of these it is
    python data/convert.py voc VOCdevkit/VOC2012 data/voc
    python data/convert.py coco coco2017 data/coco --images link
    python data/convert.py ultralytics my-set/data.yaml data/my
    python data/convert.py oxford-hand hand_dataset data/hand          # needs scipy
    python data/convert.py to-coco data/my/my.data my-valid.json --split valid

DST is a new folder: images, labels, train.txt and valid.txt, NAME.names and NAME.data, where NAME
is the folder's own, and labelled.jpg, the first labelled images with their boxes: look at it. Boxes
are clipped to the image; those without an area, and images that do not open, are left out and
counted. Where the source has no validation images, --valid-share of the training images become
that.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..command.cli import Parser, ratio, run_main, seed
from ..command.errors import UserError
from ..command.files import alone
from ..command.folders import require_free
from ..data.darknet_files import load_names

FORMATS = ("auto", "yolo", "voc", "coco", "ultralytics", "oxford-hand")  # those of forms.READERS
TO_COCO = "to-coco"


def build_parser() -> Parser:
    """The command's flags."""
    parser = Parser(__doc__, prog="data/convert.py")
    add = parser.add_argument
    add("format", choices=(*FORMATS, TO_COCO), help="what the annotations are")
    add("source", metavar="SRC", type=Path, help="their folder, or YAML or .data file")
    add("target", metavar="DST", type=Path, help="a new folder; for to-coco, a new .json file")
    add("--names", help="class names in the order wanted; other classes are left out")
    add("--images", choices=("copy", "link"), default="copy", help="copy images, or link to them")
    add("--valid-share", type=ratio, default=0.2, help="of the images, where none validate")
    add("--seed", type=seed, default=0, help="of that choice")
    add("--split", choices=("train", "valid"), default="valid", help="to-coco: which list")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Write the data set, or the JSON file. Raises UserError."""
    args = build_parser().parse_args(argv)
    if not args.source.exists():
        raise UserError(f"{args.source}: no such file or folder")
    if args.format == TO_COCO:
        if args.target.exists():
            raise UserError(f"{args.target}: is there already; name a new file")
        from .coco import write_coco

        with alone(args.target):
            counts = write_coco(args.source, args.split, args.target)
        print(", ".join(f"{count} {what}" for what, count in counts.items()), "->", args.target)
        return
    require_free(args.target, "DST")
    names = load_names(args.names) if args.names else None
    from .forms import READERS
    from .write import LABELLED, summary, write_darknet

    with alone(args.target):
        collected = READERS[args.format](args.source, names)
        collected.split_off_valid(args.valid_share, args.seed)
        collected.require_images(args.source)
        data = write_darknet(collected, args.target, args.images == "link")
    print(summary(collected))
    print(f"{len(collected.names)} classes; the data set: {data}")
    if (data.parent / LABELLED).exists():
        print(f"look whether the boxes lie right: {data.parent / LABELLED}")


if __name__ == "__main__":
    run_main(main)
