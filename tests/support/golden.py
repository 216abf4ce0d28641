"""The vectors that AlexeyAB's Darknet computed, which lie beside the repository, and their nets."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from utils.cfg import Cfg, parse_cfg

Vector = Mapping[str, Any]

SHARED = Path(__file__).resolve().parents[3] / "shared"
GOLDEN = SHARED / "golden"


@lru_cache(1)
def generator() -> ModuleType:
    """The generator of the random weights, which stands beside the vectors."""
    spec = importlib.util.spec_from_file_location("genweights", GOLDEN / "genweights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def vector_paths(*folders: str) -> list[Path]:
    """The vectors of these folders, e.g. "micro"; none where the folder is absent."""
    found = (path for folder in folders for path in (GOLDEN / folder).glob("*.npz"))
    return sorted(path for path in found if path.stem != "inputs")


def vector_name(path: Path) -> str:
    """Folder and name, for the report of pytest."""
    return f"{path.parent.name}/{path.stem}"


def read_vector(path: Path) -> Vector:
    """All arrays of a vector."""
    with np.load(path) as file:
        return dict(file.items())


def vector_cfg(path: Path, vector: Vector) -> tuple[Cfg, str]:
    """The cfg of a vector, with its text."""
    if path.parent.name == "micro":
        text = str(vector["cfg"])
    else:
        published = (GOLDEN / "cfg" / f"{path.stem}.cfg").read_text(encoding="utf-8")
        text = generator().resized_cfg(published, int(vector["width"]), int(vector["height"]))
    # Some name a tree of classes that belongs to Darknet itself, beside their source.
    return parse_cfg(text, str(GOLDEN / "cfg" / path.name)), text


def write_vector_weights(path: Path, text: str, vector: Vector) -> Path:
    """The random weights that belong to a vector whose cfg is `text`."""
    module = generator()
    module.write_weights(path, module.plan(text), int(vector["seed"]), vector["calib"])
    return path


def vector_image(path: Path, vector: Vector) -> NDArray[np.float32]:
    """The input of a vector, float32 (3, H, W) in 0..1."""
    if path.parent.name != "micro":
        return planar(read_vector(GOLDEN / "inputs.npz")[str(vector["input"])])
    raw = np.random.PCG64([7, 100000]).random_raw(3 * 12 * 16) >> np.uint64(40)
    return (raw.astype(np.float32) * np.float32(2.0**-24)).reshape(3, 12, 16)


def planar(image_hwc: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Float32 (3, H, W) in 0..1, as Darknet's."""
    return image_hwc.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
