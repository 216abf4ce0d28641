"""Draw the embedded data set: discs, triangles and stars on cluttered backgrounds.

    python data/shapes.py --output data/shapes --images 400 --seed 0

It takes seconds and makes a data set in Darknet's layout: images/, labels/, train.txt, valid.txt,
shapes.names and shapes.data. Objects vary in size, turn, colour and texture and may hide each other
in part; bars, crosses and half discs are there to be told apart; some images hold no object. Image
number i depends on the seed and i alone, so that more images only extend the set; every fifth image
is for validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...command.cli import Parser, positive_int, run_main, seed


def build_parser() -> Parser:
    """The command's flags."""
    parser = Parser(__doc__, prog="shapes.py")
    add = parser.add_argument
    add("--output", type=Path, default=Path("data/shapes"), help="folder to fill")
    add("--images", type=positive_int, default=400, help="how many")
    add("--seed", type=seed, default=0, help="another seed, another set")
    add("--img-size", type=positive_int, default=320, help="longer side in pixels")
    add("--overwrite", action="store_true", help="write into a folder that holds other files")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the set. Raises UserError for a folder that is someone else's."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.seed < 0 or args.img_size < 32:
        parser.error("--seed must not be negative and --img-size must be at least 32")
    from .draw import NAMES, make_shapes

    make_shapes(args.output, args.images, args.seed, args.img_size, args.overwrite)
    print(f"{args.images} images of {', '.join(NAMES)}: {args.output / 'shapes.data'}")


if __name__ == "__main__":
    run_main(main)
