"""The documents: their commands have flags that exist, and the tutorial runs as it stands."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from tests.support.installed.opencv_version import needs_cfg_importer
from tests.support.nets import conv, head, healthy, net
from tests.support.tiny_data import make_set
from utils.cfg import format_cfg
from utils.command.cli import Parser
from utils.command.optional import INT8_NEEDS, NEEDS, missing
from utils.runtimes.export.flags import make_parser

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = (
    "README.md",
    "docs/tutorial.md",
    "docs/runtimes.md",
    "docs/search.md",
    "data/README.md",
)


def commands(document: str) -> list[list[str]]:
    """`python X ...` lines of the indented blocks, comments left out."""
    text = (ROOT / document).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line[4:] for line in text.splitlines() if line.startswith("    python ")]
    return [shlex.split(line, comments=True) for line in lines]


# Scripts whose code is elsewhere.
MODULES = {
    "data/convert.py": "utils.annotations.__main__",
    "data/shapes.py": "utils.pictures.drawn_set.__main__",
}


class TakenError(Exception):
    """A parser has read the command to its end."""


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_have_flags_that_exist(document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Parser.parse_known_args

    def stop(self: Parser, args: object = None, namespace: object = None) -> object:
        _, rest = read(self, args, namespace)  # type: ignore[arg-type]
        raise TakenError(rest)

    monkeypatch.setattr(Parser, "parse_known_args", stop)
    monkeypatch.setattr(argparse.ArgumentParser, "exit", lambda self, *rest: pytest.fail(str(rest)))
    scripts = [words for words in commands(document) if words[:2] != ["python", "-c"]]
    scripts = [words for words in scripts if words[0] == "python" and words[1] != "-m"]
    assert scripts
    for words in scripts:
        if words[1].startswith("examples/"):
            continue  # they have no flags
        module = MODULES.get(words[1], words[1][:-3])
        found = importlib.import_module(module)
        with pytest.raises(TakenError) as taken:
            started = getattr(found, "main", None)
            if started:
                started(words[2:])
            else:
                from tests.support.prune_case import prune_by_flags

                prune_by_flags(found.STRATEGY, words[2:])
        assert taken.value.args == ([],), words


def test_a_flag_that_is_not_there_would_be_seen() -> None:
    _, rest = make_parser(None).parse_known_args(["--cfg", "a", "--weights", "b", "--no-such-flag"])
    assert rest == ["--no-such-flag"]


def test_links_lead_somewhere() -> None:
    for document in (*DOCUMENTS, "docs/results.md", "docs/design.md"):
        path = ROOT / document
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{document}: {target}"


@needs_cfg_importer
@pytest.mark.slow
def test_the_tutorial_runs(tmp_path: Path) -> None:
    """On drawn images in place of photos, an epoch in place of a hundred."""
    clone = tmp_path / "clone"
    ignored = shutil.ignore_patterns(".git", ".venv*", "runs", "weights", ".*_cache")
    shutil.copytree(ROOT, clone, ignore=ignored)
    (clone / "weights").mkdir()
    environment = {**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}

    def run(*words: str) -> None:
        done = subprocess.run(
            words, cwd=clone, capture_output=True, text=True, check=False, env=environment
        )
        assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"

    run(sys.executable, "data/shapes.py", "--output", "drawn", "--images", "20", "--img-size", "96")
    as_voc(clone / "drawn", clone / "BCCD_Dataset" / "BCCD")
    (clone / "runs").mkdir()
    for words in commands("docs/tutorial.md"):
        needed = tool_needs(words)
        if missing(needed):
            continue
        text = re.sub(r"--epochs \d+", "--epochs 1 --workers 0 --batch-size 4", " ".join(words[1:]))
        text = text.replace("--img-size 256", "--img-size 96")
        if "compress.py" in text:
            continue  # after an epoch the network finds nothing, and is refused
        if "compare.py" in text:
            text += " --runs 2 --runtimes torch,opencv"
        run(sys.executable, *shlex.split(text))
    assert (clone / "runs/compare-cells/compare.png").is_file()
    assert (clone / "runs/report/cells/report.html").is_file()
    assert (clone / "runs/train/cells-tuned/best.weights").is_file()
    if not missing(NEEDS["onnx"]):
        assert (clone / "runs/train/cells-tuned/best.onnx").is_file()


def tool_needs(words: list[str]) -> tuple[str, ...]:
    """Modules that an export.py command needs."""
    if words[1] != "export.py":
        return ()
    kind = words[words.index("--format") + 1]
    return INT8_NEEDS[kind] if "--int8" in words else NEEDS[kind]


def as_voc(source: Path, target: Path) -> None:
    """The drawn set as JPEGImages and Annotations."""
    names = (source / "shapes.names").read_text().split()
    (target / "Annotations").mkdir(parents=True)
    shutil.copytree(source / "images", target / "JPEGImages")
    for path in sorted((source / "labels").rglob("*.txt")):
        image = next((target / "JPEGImages").rglob(f"{path.stem}.*"))
        h, w = cv2.imread(str(image)).shape[:2]
        items = []
        for line in path.read_text().splitlines():
            label, xc, yc, bw, bh = (float(v) for v in line.split())
            left, top = (xc - bw / 2) * w, (yc - bh / 2) * h
            box = {"xmin": left + 1, "ymin": top + 1, "xmax": left + bw * w, "ymax": top + bh * h}
            corners = "".join(f"<{key}>{value}</{key}>" for key, value in box.items())
            name = f"<name>{names[int(label)]}</name>"
            items.append(f"<object>{name}<bndbox>{corners}</bndbox></object>")
        text = f"<annotation><filename>{image.name}</filename>{''.join(items)}</annotation>"
        (target / "Annotations" / f"{path.stem}.xml").write_text(text)


def test_the_calls_of_the_design_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/design.md, "Without a command line": its lines one after the other, as they stand."""
    text = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 5
    monkeypatch.chdir(tmp_path)
    make_set(tmp_path)
    cfg = net(conv(8, stride=2), conv(8, stride=4), head())
    for folder in ("cfg", "data", "weights"):
        (tmp_path / folder).mkdir()
    Path("cfg/my.cfg").write_text(format_cfg(cfg))
    Path("data/my.data").write_text("classes=2\ntrain=list.txt\nvalid=list.txt\n")
    healthy(cfg).save_weights("weights/last.pt")
    known: dict[str, object] = {}
    for block in blocks:
        if "onnx" in NEEDS and missing(NEEDS["onnx"]) and "export_model" in block:
            continue
        exec(compile(block, "docs/design.md", "exec"), known)
    assert sorted(path.name for path in (tmp_path / "cfg").iterdir()) == [
        "my.cfg", "prune_0.5_keep_0.01_my.cfg", "prune_0.5_keep_0.01_my.plan.json",
    ]  # fmt: skip
    assert Path("runs/train/my/best.pt").is_file()
