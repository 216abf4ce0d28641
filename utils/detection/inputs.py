"""Are the files there that a command was given, and is the cfg's text right? Asked before work."""

from __future__ import annotations

from pathlib import Path

from ..cfg import Cfg, load_cfg
from ..command.errors import UserError
from ..command.files import require_file
from ..data.darknet_files import read_data_text


def require_inputs(
    cfg: str | Path, weights: str | Path | None = None, data: str | Path | None = None
) -> Cfg:
    """The parsed cfg, after a look at the other files; '' and None are those not given.

    Light: no tensor is needed. What the sections mean, and what stands in the other files, is
    checked by those who read them. Raises UserError for a missing file, and CfgError (`file:line`)
    for a cfg whose text is wrong.
    """
    parsed = load_cfg(cfg)
    if weights:
        require_file(weights, "the weights")
    if data:
        require_data(data)
    return parsed


def require_data(data: str | Path) -> None:
    """Raise UserError for a data set that is not there, or a `.data` file that is no text.

    A folder, a YAML or a JSON file is looked into by those who read it (annotations/forms.py).
    """
    path = Path(data)
    if not path.is_dir() and path.suffix.lower() not in (".yaml", ".yml", ".json"):
        read_data_text(path)
    elif not path.exists():
        raise UserError(f"{path}: no such file (a data set)")
