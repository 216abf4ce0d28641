"""What both sides read: a data set with the peer's own description of it, and networks as twins."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from utils.command.errors import UserError
from utils.data.darknet_files import load_data_file, load_list

HERE = Path(__file__).resolve().parent.parent.parent
DRAWN_IMAGES, DRAWN_SIZE_PX = 200, 640


@dataclass(frozen=True)
class Material:
    """Where it goes, who makes the peer's part, and what a user gave."""

    work: Path
    peer: Path
    data: Path | None
    scored: Path | None
    weights: Path | None


def prepare(wanted: Material) -> None:
    """Make all files that rows need, once; what was prepared from other files is an error."""
    work, target = wanted.work, wanted.work / "material.json"
    source = [str(part) for part in (wanted.data, wanted.scored, wanted.weights)]
    if target.is_file():
        if json.loads(target.read_text("utf-8"))["source"] != source:
            raise UserError(f"{work}: was prepared from other files; name another --work")
        return
    work.mkdir(parents=True, exist_ok=True)
    trained = copied(wanted.data or drawn(work), work / "trained")
    scored = copied(wanted.scored, work / "scored") if wanted.scored else trained
    nc = load_data_file(trained).nc
    theirs = [str(wanted.peer), str(HERE / "benchmarks/peers/theirs.py"), "make"]
    checked([*theirs, "--work", str(work), "--classes", str(nc)])
    theirs_scored = wanted.weights or work / "base.pt"
    twins = {
        "our_base": translated(work / "base.pt", work / "base.cfg", "native"),
        "our_scored": translated(theirs_scored, work / "scored.cfg", "native"),
        "our_step": str(HERE / "cfg/yolov8n.cfg"),
        "their_base": str(work / "base.pt"),
        "their_scored": str(theirs_scored.resolve()),
    }
    files = {
        "data": str(trained), "yaml": str(trained.with_suffix(".yaml")),
        "scored_data": str(scored), "scored_yaml": str(scored.with_suffix(".yaml")),
        "pictures": str(scored.parent / "images"),
    }  # fmt: skip
    target.write_text(json.dumps({"source": source, **twins, **files}, indent=1), "utf-8")


def drawn(work: Path) -> Path:
    """Pictures of our own, at the size that cameras give."""
    folder = work / "drawn"
    size = ["--images", str(DRAWN_IMAGES), "--img-size", str(DRAWN_SIZE_PX)]
    checked([sys.executable, str(HERE / "data/shapes.py"), "--output", str(folder), *size])
    return folder / "shapes.data"


def copied(data: Path, folder: Path) -> Path:
    """A data set as `images/`, `labels/`, lists and a yaml; the peer writes beside its labels."""
    spec = load_data_file(data)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    for task in ("train", "valid"):
        lines = []
        for _, path in load_list(spec.require(task)):
            image = folder / "images" / path.name
            shutil.copyfile(path, image)
            label = path.parent.parent / "labels" / f"{path.stem}.txt"
            if label.is_file():
                shutil.copyfile(label, folder / "labels" / label.name)
            lines.append(str(image))
        (folder / f"{task}.txt").write_text("\n".join(lines) + "\n", "utf-8")
    names = "".join(f"{name}\n" for name in spec.names)
    (folder / "set.names").write_text(names, "utf-8")
    lists = f"train={folder}/train.txt\nvalid={folder}/valid.txt\n"
    text = f"classes={spec.nc}\n{lists}names={folder}/set.names\n"
    (folder / "set.data").write_text(text, "utf-8")
    described = {"train": f"{folder}/train.txt", "val": f"{folder}/valid.txt"}
    # JSON is YAML.
    numbered = {**described, "names": dict(enumerate(spec.names))}
    (folder / "set.yaml").write_text(json.dumps(numbered), "utf-8")
    return folder / "set.data"


def translated(checkpoint: Path, cfg: Path, form: str) -> str:
    """The peer's checkpoint as our cfg and weights; the cfg."""
    words = ["--weights", str(checkpoint), "--output", str(cfg), "--bn-export", form, "--force"]
    checked([sys.executable, str(HERE / "translate.py"), *words])
    return str(cfg)


def checked(command: list[str]) -> None:
    """Run a command that has to work. Raises UserError with its last line where it does not."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        raise UserError(f"{' '.join(command)}: {last}")
