"""What a translation is asked for, as plain values: nothing here needs a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from ..command.errors import UserError

BnExport = Literal["native", "pow2", "fused"]  # see bn_export.py
BN_EXPORTS: tuple[BnExport, ...] = get_args(BnExport)
# As it is; decoded in sections (yolo_head.py); of a head with two sets of branches, one or both.
HeadForm = Literal["raw", "yolo", "one2many", "one2one", "both"]
HEAD_FORMS: tuple[HeadForm, ...] = get_args(HeadForm)

# Below it a value before a swish may come too near to -88 on other images: see guard.py.
DANGER = -60.0


@dataclass(frozen=True)
class TranslateOptions:
    """From which files to which, and in what form.

    `weights` is a checkpoint of ultralytics; with a `cfg`, a model of this program. `output` names
    the cfg to write. With `data`, a `.data` file, the network is for its classes. `img_size` is
    (height, width) in pixels; None takes the cfg's own, or ultralytics' 640. `samples` are images
    to look for deep values on; without any, drawn ones are used.
    """

    weights: str
    output: str
    cfg: str = ""
    data: str = ""
    img_size: tuple[int, int] | None = None
    bn_export: BnExport = "pow2"
    head: HeadForm = "raw"
    guard: bool = False
    samples: tuple[str, ...] = ()
    strict_darknet: bool = False
    force: bool = False


class Outputs(NamedTuple):
    """The files; names None where the user has them already."""

    cfg: Path
    weights: Path
    names: Path | None


def output_paths(cfg: str | Path, with_names: bool, force: bool) -> Outputs:
    """`x.cfg`, `x.weights`, `x.names`. Raises UserError if one is there, without `force`."""
    outputs = named_paths(cfg, with_names)
    if not outputs.cfg.parent.is_dir():
        raise UserError(f"--output {outputs.cfg}: {outputs.cfg.parent} is no folder")
    for found in outputs:
        if found is not None and found.exists() and not force:
            raise UserError(f"{found}: exists already; --force overwrites it")
    return outputs


def named_paths(cfg: str | Path, with_names: bool) -> Outputs:
    """The same, whatever is there. Raises UserError for a name that is no cfg's."""
    path = Path(cfg)
    if path.suffix != ".cfg":
        raise UserError(f"--output {path}: must end in .cfg; the weights go beside it")
    names = path.with_suffix(".names") if with_names else None
    return Outputs(path, path.with_suffix(".weights"), names)
