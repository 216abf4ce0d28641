"""A Darknet data set as ultralytics takes it."""

from __future__ import annotations

import json
from pathlib import Path

from utils.data.darknet_files import load_data_file, load_list


def data_yaml(data: Path, folder: Path) -> Path:
    """A data.yaml in a folder of links to a data set's files.

    Links, since ultralytics writes beside the labels that it reads. `data` is a .data file.
    """
    spec = load_data_file(data)
    for which in ("train", "valid"):
        listed = []
        for _, image in load_list(spec.require(which)):
            label = Path(str(image).replace("/images/", "/labels/")).with_suffix(".txt")
            for file, kind in ((image, "images"), (label, "labels")):
                link = folder / kind / which / file.name
                link.parent.mkdir(parents=True, exist_ok=True)
                if file.is_file() and not link.is_symlink():
                    link.symlink_to(file.resolve())
            listed.append(folder / "images" / which / image.name)
        (folder / f"{which}.txt").write_text("".join(f"{path}\n" for path in listed))
    names = json.dumps(list(spec.names))
    target = folder / "data.yaml"
    target.write_text(f"train: {folder}/train.txt\nval: {folder}/valid.txt\nnames: {names}\n")
    return target
