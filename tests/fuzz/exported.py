"""Files that other programs have written: what ONNX files say of themselves, videos, MATLAB files,
and the programs in checkpoints."""

from __future__ import annotations

import importlib.util
import json
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from hypothesis import strategies as st

from tests.fuzz.structure import Draw
from tests.support.programs import BYTES_OF, archive
from utils.annotations.oxford_hand import read_oxford_hand
from utils.command.errors import UserError
from utils.network.weights import load_checkpoint
from utils.pictures.video import UnreadableVideoError, Video
from utils.runtimes.onnx.export import INPUT_NAME, OUTPUT_NAME
from utils.runtimes.onnx.run import OnnxNetwork
from utils.runtimes.opencv_onnx import OpenCVOnnx
from utils.translate.reading.checkpoint import load_stubs

TOLD = {"names": '["a", "b", "c"]', "classes": "3", "layout": "rows", "img_size": "[8, 8]"}
OUTPUTS = (OUTPUT_NAME, "detections")
HAS_SCIPY = importlib.util.find_spec("scipy") is not None
# None of these does anything; some are known to the readers, some refused by name, some unknown.
_NAMES = (
    "collections OrderedDict", "torch FloatStorage", "torch float32", "torch Size",
    "torch.nn Conv2d",
    "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter", "builtins set",
    "builtins slice", "builtins len", "copyreg _reconstructor", "math floor", "nowhere Thing",
    "ultralytics.nn.tasks DetectionModel", "pathlib PosixPath", "a.b c.d",
)  # fmt: skip


def write_told(folder: Path) -> None:
    (folder / "told.json").write_text(json.dumps(TOLD))


def read_onnx(folder: Path) -> None:
    """A sound graph that says of itself what told.json does, by both runtimes."""
    import onnx

    text = (folder / "told.json").read_bytes().decode("utf-8", "replace")
    try:
        told = {str(key): str(value) for key, value in dict(json.loads(text)).items()}
    except (ValueError, TypeError, RecursionError):
        told = dict.fromkeys(TOLD, text)
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    made = OUTPUTS[len(text) % 2]
    shape = onnx.numpy_helper.from_array(np.array([1, 24, 8], np.int64), "shape")
    graph = helper.make_graph(
        [helper.make_node("Reshape", [INPUT_NAME, "shape"], [made])],
        "net",
        [helper.make_tensor_value_info(INPUT_NAME, kind, [1, 3, 8, 8])],
        [helper.make_tensor_value_info(made, kind, [1, 24, 8])],
        [shape],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(
        model, {k.encode("utf-8", "replace").decode(): v.encode("utf-8", "replace").decode()
                for k, v in told.items()},
    )  # fmt: skip
    path = folder / "out" / "net.onnx"
    path.parent.mkdir()
    path.write_bytes(model.SerializeToString())
    images = torch.zeros(1, 3, 8, 8)
    refused = []
    for opened in (lambda: OnnxNetwork(path, 1), lambda: OpenCVOnnx(path)):
        try:
            network: Any = opened()
            assert network.names is None or all(isinstance(name, str) for name in network.names)
            assert network(images).ndim == 3
        except UserError as error:
            refused.append(error)
    if len(refused) == 2 or (refused and made == OUTPUT_NAME):
        raise refused[0]


def write_videos(folder: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (5, 32, 48, 3), np.uint8)
    for name, code in (("a.avi", "MJPG"), ("a.mp4", "mp4v")):
        writer = cv2.VideoWriter(
            str(folder / name), cv2.VideoWriter.fourcc(*code), 5.0, (48, 32)
        )  # fmt: skip
        for frame in frames:
            writer.write(frame)
        writer.release()


def read_videos(folder: Path) -> None:
    for path in sorted(folder.glob("a.*")):
        try:
            video = Video(str(path))
        except UnreadableVideoError:
            continue
        try:
            assert 0 < video.fps <= 1000
            for frame in video.frames():
                assert frame is None or (frame.dtype == np.uint8 and frame.shape[2] == 3)
        finally:
            video.close()


def write_program(folder: Path) -> None:
    content = {"model": {}, "names": ["a"], "x": OrderedDict(y=(1, 2.5, None, True, 10**20))}
    (folder / "program").write_bytes(pickle.dumps(content, 2))


def read_program(folder: Path) -> None:
    """As a checkpoint of ours, and as a stranger's."""
    (folder / "out").mkdir()
    path = archive(folder / "out" / "a.pt", (folder / "program").read_bytes())
    refused = []
    for read in (load_checkpoint, load_stubs):
        try:
            read(path)
        except UserError as error:
            refused.append(error)
    if refused:
        raise refused[0]


@st.composite
def programs(draw: Draw) -> bytes:
    """Opcodes of the whole machine in any order, most of them where they find what they want."""
    named = [f"c{name.replace(' ', chr(10))}\n".encode() for name in _NAMES]
    parts = st.one_of(
        st.sampled_from(list(BYTES_OF.values())),
        st.sampled_from(named),
        st.sampled_from([b"N", b"K\x01", b"]", b"}", b"(", b")", b"2", b"R", b"\x86", b"\x85"]),
        st.integers(0, 255).map(lambda slot: b"q" + bytes([slot])),
        st.integers(0, 255).map(lambda slot: b"h" + bytes([slot])),
    )
    made = draw(st.lists(parts, max_size=draw(st.sampled_from([3, 12, 60]))))
    return b"\x80\x02" + b"".join(made) + draw(st.sampled_from([b".", b".", b"", b"t.", b"e."]))


def write_program_bytes(value: bytes, path: Path) -> None:
    path.write_bytes(value)


def write_hands(folder: Path) -> None:
    """The layout of the Oxford hand set: a .mat beside each image."""
    from scipy.io import savemat

    corners = {corner: np.array([[4.0 + k, 5.0 + k]]) for k, corner in enumerate("abcd")}
    for split in ("training", "validation"):
        data = folder / f"{split}_dataset" / f"{split}_data"
        (data / "images").mkdir(parents=True)
        (data / "annotations").mkdir()
        picture = np.zeros((32, 48, 3), np.uint8)
        cv2.imwrite(str(data / "images" / "a.jpg"), picture)
        boxes = np.empty((1, 1), object)
        boxes[0, 0] = corners
        savemat(data / "annotations" / "a.mat", {"boxes": boxes})


HANDS = (
    "training_dataset/training_data/annotations/a.mat",
    "validation_dataset/validation_data/annotations/a.mat",
)


def read_hands(folder: Path) -> None:
    read_oxford_hand(folder, None)
