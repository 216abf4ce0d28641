"""The reader of pickled checkpoints: nothing of a file runs, and every bad file gets one line."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import struct
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.support.checkpoints import like_v8 as theirs
from translate import main
from utils.command.errors import UserError
from utils.network.cfg_of import is_ultralytics
from utils.translate.reading.checkpoint import load_stubs
from utils.translate.reading.stubs import Stub
from utils.translate.translation import translate_checkpoint


class Harmful:
    """Unpickled by Python, it would make the file `marker`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def small(path: Path) -> Path:
    return theirs.save(path, theirs.healthy(theirs.yolov8(width=0.03)))


def refusal(path: Path, folder: Path) -> str:
    """The one line that the command answers; it writes nothing."""
    before = {found.name for found in folder.iterdir()}
    with pytest.raises(UserError) as caught:
        main(["--weights", str(path), "--output", str(folder / "out.cfg"), "--img-size", "64"])
    assert {found.name for found in folder.iterdir()} == before
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    return message


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (os.system, "posix.system"),
        (eval, "builtins.eval"),
        (exec, "builtins.exec"),
        (subprocess.call, "subprocess.call"),
        (__import__, "builtins.__import__"),
        (torch.load, "torch.serialization.load"),
        (pickle.loads, "pickle.loads"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pickle_that_would_run_something_does_nothing(
    function: Any, named: str, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    model = theirs.healthy(theirs.yolov8(width=0.03))
    bad = Harmful(function, f"touch {marker}")
    for entries in ({"extra": bad}, {"ema": bad}):
        path = theirs.save(tmp_path / "evil.pt", model, **entries)
        assert named in refusal(path, tmp_path)
        assert not marker.exists()


def test_the_same_pickle_would_have_run(tmp_path: Path) -> None:
    """The negative control: Python's own unpickler runs it."""
    marker = tmp_path / "ran"
    pickle.loads(pickle.dumps(Harmful(os.system, f"touch {marker}")))
    assert marker.exists()


def test_unknown_classes_are_inert_and_kept(tmp_path: Path) -> None:
    model = theirs.healthy(theirs.yolov8(width=0.03))
    path = theirs.save(tmp_path / "a.pt", model, train_args={"data": Path("coco.yaml")})
    found = load_stubs(path)
    assert isinstance(found["model"], Stub)
    assert type(found["train_args"]["data"]).__mro__[1] is Stub
    assert translate_checkpoint(path, (64, 64)).names[0] == "thing 0"


def test_what_a_pickle_does_to_our_functions_is_forgotten(tmp_path: Path) -> None:
    """BUILD can set attributes on whatever find_class returns; the next file gets new ones."""
    program = (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n"  # our function
        b"N}X\x0c\x00\x00\x00__defaults__)s\x86b."  # (None, {"__defaults__": ()}): its slots
    )
    assert "BUILD" in {op.name for op, _, _ in pickletools.genops(program)}
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", program)
    load_stubs(path)
    assert translate_checkpoint(small(tmp_path / "b.pt"), (64, 64)).state


def archive_of(path: Path, program: bytes, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", program)
        for name, data in entries.items():
            archive.writestr(f"a/data/{name}", data)
    return path


class TensorPickler(pickle.Pickler):
    """Writes a tensor with any offset, size and stride over a storage called k0 of 4 floats."""

    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, str) and value == "STORAGE":
            return ("storage", torch.FloatStorage, "k0", "cpu", 4)
        return None


def tensor_program(offset: Any, size: Any, stride: Any) -> bytes:
    rebuild = torch._utils._rebuild_tensor_v2
    call = Harmful(rebuild, "STORAGE", offset, size, stride, False, {})
    file = io.BytesIO()
    TensorPickler(file, 2).dump({"model": call})
    return file.getvalue()


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (5,), (1,)),
        (4, (1,), (1,)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2, 2), (1,)),
        (0, (1 << 40,), (0,)),
        (0, ("2",), (1,)),
        (0, (2.0,), (1,)),
    ],
)
def test_no_length_is_trusted(offset: Any, size: Any, stride: Any, tmp_path: Path) -> None:
    path = archive_of(tmp_path / "a.pt", tensor_program(offset, size, stride), k0=bytes(16))
    with pytest.raises(UserError, match="damaged"):
        load_stubs(path)


def test_an_honest_tensor_is_read(tmp_path: Path) -> None:
    data = struct.pack("<4f", 1, 2, 3, 4)
    path = archive_of(tmp_path / "a.pt", tensor_program(1, (3,), (1,)), k0=data)
    assert load_stubs(path)["model"].tolist() == [2, 3, 4]
    short = archive_of(tmp_path / "b.pt", tensor_program(1, (3,), (1,)), k0=data[:8])
    with pytest.raises(UserError, match="2 of 4 numbers"):
        load_stubs(short)


def test_memory_is_not_filled_by_a_memo_slot(tmp_path: Path) -> None:
    """LONG_BINPUT 2^31 makes Python's C unpickler allocate 34 GB."""
    program = b"\x80\x02}r" + struct.pack("<I", (1 << 31) - 1) + b"."
    with pytest.raises(UserError, match="LONG_BINPUT"):
        load_stubs(archive_of(tmp_path / "a.pt", program))


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", tensor_program(0, (4,), (1,)))
        archive.writestr("a/data/k0", bytes(1 << 24))
    with pytest.raises(UserError, match="compressed"):
        load_stubs(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file(share: float, tmp_path: Path) -> None:
    data = small(tmp_path / "whole.pt").read_bytes()
    path = tmp_path / "cut.pt"
    path.write_bytes(data[: int(len(data) * share)])
    assert "cut short" in refusal(path, tmp_path)


@settings(max_examples=40)
@given(data=st.data())
def test_damaged_bytes_give_a_line_or_a_model(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    whole = folder / "whole.pt"
    content = bytearray((whole if whole.exists() else small(whole)).read_bytes())
    start = zipfile.ZipFile(whole).infolist()[0].header_offset
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(start, start + 20000))] = data.draw(st.integers(0, 255))
    path = folder / "a.pt"
    path.write_bytes(content)
    try:
        translate_checkpoint(path, (64, 64))
    except UserError as error:
        assert "\n" not in str(error)


def test_a_file_that_is_no_checkpoint(tmp_path: Path) -> None:
    for name, content in {
        "a.pt": b"hello",
        "b.pt": b"",
        "c.pt": b"<html>",
        "d.pt": b"\x80\x02}.",
    }.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert "checkpoint" in refusal(path, tmp_path)


def test_checkpoints_of_other_networks(tmp_path: Path) -> None:
    plain = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    torch.save({"model": plain}, tmp_path / "plain.pt")
    assert "no YOLO" in refusal(tmp_path / "plain.pt", tmp_path)
    torch.save({"model": plain.state_dict()}, tmp_path / "state.pt")
    assert "no network" in refusal(tmp_path / "state.pt", tmp_path)
    torch.save([1, 2], tmp_path / "list.pt")
    assert "no module" in refusal(tmp_path / "list.pt", tmp_path)


def test_what_has_no_sections_is_refused_by_name(tmp_path: Path) -> None:
    """A layer of a transformer, with its normalisation over channels."""
    blocks = [(block, block.f) for block in theirs.yolov8(width=0.03).model]
    blocks.insert(10, (theirs.AIFI(32), -1))
    path = theirs.save(tmp_path / "eleven.pt", theirs.DetectionModel(blocks))
    message = refusal(path, tmp_path)
    assert "model.10 (AIFI)" in message and "known blocks: A2C2f" in message


def test_blocks_that_do_not_fit_each_other(tmp_path: Path) -> None:
    model = theirs.yolov8(width=0.03)
    model.model[3] = theirs.Conv(16, 8, 3, 2)
    model.model[3].f = -1
    path = theirs.save(tmp_path / "a.pt", model)
    assert "do not fit each other" in refusal(path, tmp_path)


def test_numbers_that_are_none(tmp_path: Path) -> None:
    model = theirs.healthy(theirs.yolov8(width=0.03))
    assert isinstance(model, theirs.DetectionModel)
    with torch.no_grad():
        model.model[0].conv.weight[0, 0, 0, 0] = float("nan")
    assert "not finite" in refusal(theirs.save(tmp_path / "a.pt", model), tmp_path)


def test_a_checkpoint_of_ultralytics_is_known_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "some.pt"
    contents = ((b"cultralytics.nn.tasks\nX\n", True), (b"ccollections\nX\n", False))
    for content, is_theirs in contents:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("some/data.pkl", content)
        assert is_ultralytics(path) is is_theirs
    path.write_bytes(b"ultralytics.")
    assert not is_ultralytics(path)
    assert not is_ultralytics(tmp_path / "gone.pt")
