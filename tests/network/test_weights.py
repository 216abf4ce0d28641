"""`.weights` and `.pt` files: what is read, what is refused and in which words, what is written."""

from __future__ import annotations

import os
import pickle
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models import Darknet
from tests.support.nets import conv, head, healthy, net, section
from utils.command.errors import UserError
from utils.command.files import atomic_write
from utils.network import weights
from utils.network.weights import (
    checkpoint_content,
    index_of,
    key_of,
    load_checkpoint,
    load_darknet_weights,
    name_of,
    require_usable,
    save_checked_weights,
)

# 2 filters: bias, gamma, mean, variance and 2*3*3*3 numbers; then 14 filters: bias and 14*2.
TINY = net(conv(2), head(classes=2))
TINY_NUMBERS = (4 * 2 + 54) + (14 + 28)


def file_with(path: Path, count: int, header: bytes = b"", extra: bytes = b"") -> Path:
    """A .weights file that holds the numbers 1, 2, 3, ..."""
    numbers = np.arange(1, count + 1, dtype="<f4").tobytes()
    path.write_bytes((header or struct.pack("<iiiQ", 0, 2, 5, 7)) + numbers + extra)
    return path


def refusal(path: Path, model: Darknet | None = None, cutoff: int | None = None) -> str:
    """The message of the UserError that loading `path` raises: one line that names the file."""
    with pytest.raises(UserError) as error:
        (model or Darknet(TINY)).load_weights(path, cutoff)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


# -- the header ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "form"),
    [((0, 1, 0), "<iiiI"), ((0, 2, 0), "<iiiQ"), ((0, 2, 5), "<iiiQ"), ((1, 0, 0), "<iiiQ")],
)
@pytest.mark.parametrize("seen", [0, 32013312, 2**32 - 1])
def test_header(tmp_path: Path, version: tuple[int, int, int], form: str, seen: int) -> None:
    path = file_with(tmp_path / "a.weights", TINY_NUMBERS, struct.pack(form, *version, seen))
    model = Darknet(TINY).load_weights(path)
    assert model.seen == seen
    assert model.state_dict()["layers.0.bn.bias"].tolist() == [1, 2]
    model.save_weights(tmp_path / "b.weights")
    written = (tmp_path / "b.weights").read_bytes()
    assert written[:20] == struct.pack("<iiiQ", 0, 2, 5, seen)
    assert written[20:] == path.read_bytes()[struct.calcsize(form) :]


def test_a_64_bit_seen_survives(tmp_path: Path) -> None:
    model = healthy(TINY)
    model.seen = 2**40 + 3
    model.save_weights(tmp_path / "a.weights")
    assert Darknet(TINY).load_weights(tmp_path / "a.weights").seen == 2**40 + 3


@pytest.mark.parametrize("version", [(-1, 2, 5), (0, -2, 5), (1 << 30, 0, 0), (0, 1 << 20, 0)])
def test_a_version_that_is_none(tmp_path: Path, version: tuple[int, int, int]) -> None:
    path = file_with(tmp_path / "a.weights", TINY_NUMBERS, struct.pack("<iiiQ", *version, 0))
    assert "not Darknet weights" in refusal(path)


@pytest.mark.parametrize("size", [1, 11, 15, 19])
def test_a_file_shorter_than_its_header(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.weights"
    path.write_bytes(struct.pack("<iiiQ", 0, 2, 5, 7)[:size])
    assert refusal(path) == f"{path}: {size} bytes are too few for a .weights header"


# -- the numbers -----------------------------------------------------------------------------------


def test_numbers_come_in_darknets_order(tmp_path: Path) -> None:
    state = Darknet(TINY).load_weights(file_with(tmp_path / "a", TINY_NUMBERS)).state_dict()
    order = ["bn.bias", "bn.weight", "bn.running_mean", "bn.running_var", "conv.weight"]
    read = [state[f"layers.0.{name}"].flatten() for name in order]
    read += [state["layers.1.conv.bias"], state["layers.1.conv.weight"].flatten()]
    assert torch.cat(read).tolist() == list(range(1, TINY_NUMBERS + 1))


@pytest.mark.parametrize(
    ("count", "extra", "message"),
    [
        (TINY_NUMBERS - 1, b"", "1 numbers are missing (it holds 103, the cfg needs 104)"),
        (TINY_NUMBERS - 1, b"abc", "1 numbers are missing (it holds 103, the cfg needs 104)"),
        (0, b"", "104 numbers are missing (it holds 0, the cfg needs 104)"),
        (TINY_NUMBERS + 1, b"", "1 numbers and 0 bytes are left over (it holds 105, the cfg"),
        (TINY_NUMBERS, b"ab", "0 numbers and 2 bytes are left over (it holds 104, the cfg"),
        (2048, b"a", "1,944 numbers and 1 bytes are left over (it holds 2,048, the cfg needs 104)"),
    ],
)
def test_counts_in_messages_are_exact(
    tmp_path: Path, count: int, extra: bytes, message: str
) -> None:
    path = file_with(tmp_path / "a.weights", count, extra=extra)
    model = healthy(TINY)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    assert message in refusal(path, model)
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    assert model.seen == 0


def test_a_backbone_loads_up_to_its_layer(tmp_path: Path) -> None:
    deeper = net(conv(2), conv(4), head(classes=2))
    first = 4 * 2 + 54
    backbone = file_with(tmp_path / "any.name.1", first)
    model = healthy(deeper)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    assert "numbers are missing" in refusal(backbone, model)
    model.load_weights(backbone, cutoff=1)
    after = model.state_dict()
    assert after["layers.0.bn.bias"].tolist() == [1, 2]
    for key, tensor in after.items():
        assert torch.equal(tensor, before[key]) != key.startswith("layers.0.")
    assert "numbers are missing" in refusal(backbone, model, cutoff=2)
    # A whole file serves as a backbone, too.
    model.load_weights(file_with(tmp_path / "whole", 2000), cutoff=1)
    assert model.seen == 7


def test_flipped_kernels_are_stored_transposed(tmp_path: Path) -> None:
    plain, flipped = (net(conv(4, batch_normalize=0, flipped=flag)) for flag in (0, 1))
    path = file_with(tmp_path / "a", 4 + 4 * 27)
    kernels = [Darknet(cfg).load_weights(path).state_dict()["layers.0.conv.weight"]
               for cfg in (plain, flipped)]  # fmt: skip
    stored = torch.arange(5.0, 113.0)
    assert torch.equal(kernels[0], stored.view(4, 3, 3, 3))
    assert torch.equal(kernels[1], stored.view(27, 4).T.reshape(4, 3, 3, 3))
    Darknet(flipped).load_weights(path).save_weights(tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == path.read_bytes()


def test_old_files_hold_connected_weights_transposed(tmp_path: Path) -> None:
    cfg = net(section("connected", output=2), width=2, height=1)
    kernels = [
        Darknet(cfg)
        .load_weights(file_with(tmp_path / "a", 14, struct.pack("<iiiQ", 0, minor, 0, 0)))
        .state_dict()["layers.0.fc.weight"]
        .tolist()
        for minor in (2, 1001)
    ]
    assert kernels == [[[3, 4, 5, 6, 7, 8], [9, 10, 11, 12, 13, 14]],
                       [[3, 5, 7, 9, 11, 13], [4, 6, 8, 10, 12, 14]]]  # fmt: skip


def test_dontload_leaves_a_layer_as_it_is(tmp_path: Path) -> None:
    cfg = net(conv(2), conv(2, dontload=1), conv(2, dontloadscales=1))
    first, third = 4 * 2 + 54, 2 + 36
    model = healthy(cfg)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    model.load_weights(file_with(tmp_path / "a", first + third))
    after = model.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {key for key in before if key.startswith("layers.0.")} | {
        "layers.2.bn.bias", "layers.2.conv.weight",
    }  # fmt: skip
    assert after["layers.2.bn.bias"].tolist() == [first + 1, first + 2]
    model.save_weights(tmp_path / "b")
    assert (tmp_path / "b").stat().st_size == 20 + 4 * (first + 2 * (4 * 2 + 36))


def test_a_network_built_with_weights_draws_no_random_numbers(tmp_path: Path) -> None:
    path = file_with(tmp_path / "a", TINY_NUMBERS)
    loaded = Darknet(TINY).load_weights(path).state_dict()
    seed = torch.random.get_rng_state()
    from_file = Darknet(TINY, weights=path)
    from_state = Darknet(TINY, weights={key: t.double() for key, t in loaded.items()})
    assert torch.equal(torch.random.get_rng_state(), seed)
    assert from_file.seen == 7
    for model in (from_file, from_state):
        assert all(parameter.requires_grad for parameter in model.parameters())
        assert model.state_dict().keys() == loaded.keys()
        for key, tensor in model.state_dict().items():
            assert torch.equal(tensor, loaded[key])
            assert tensor.dtype == loaded[key].dtype
            assert tensor.data_ptr() != loaded[key].data_ptr()


def test_a_network_built_with_weights_refuses_others(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 numbers and 0 bytes are left over"):
        Darknet(TINY, weights=file_with(tmp_path / "a", TINY_NUMBERS + 1))
    with pytest.raises(UserError, match="tensors missing"):
        Darknet(TINY, weights={})


def test_what_files_leave_out_is_drawn_even_so(tmp_path: Path) -> None:
    cfg = net(conv(2), conv(2, dontload=1))
    model = Darknet(cfg, weights=file_with(tmp_path / "a", 4 * 2 + 54))
    assert model.state_dict()["layers.0.bn.bias"].tolist() == [1, 2]
    assert model.state_dict()["layers.1.conv.weight"].abs().min() > 0


def test_a_shared_kernel_is_stored_once(tmp_path: Path) -> None:
    cfg = net(conv(3), conv(3), conv(3, share_index=1))
    count = 2 * (4 * 3 + 81)
    path = file_with(tmp_path / "a", count)
    model = Darknet(cfg).load_weights(path)
    model.save_weights(tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == path.read_bytes()
    assert "numbers are left over" not in str(model.state_dict().keys())
    assert not any(key.startswith("layers.2.") for key in model.state_dict())


def test_bytes_survive_a_round_trip(tmp_path: Path) -> None:
    """NaN, infinities, denormals and negative zero too: the numbers are none of our business."""
    rng = np.random.default_rng(0)
    data = rng.integers(0, 2**32, TINY_NUMBERS, dtype=np.uint32)
    data[:4] = 0x7FC00001, 0x7F800000, 0x00000001, 0x80000000
    path = tmp_path / "a.weights"
    path.write_bytes(struct.pack("<iiiQ", 0, 2, 5, 1) + data.astype("<u4").tobytes())
    Darknet(TINY).load_weights(path).save_weights(tmp_path / "b.weights")
    assert (tmp_path / "b.weights").read_bytes() == path.read_bytes()


def test_a_disk_that_changes_a_number_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = healthy(TINY)
    save_checked_weights(tmp_path / "a.weights", model.rules, model.state_dict())
    write = weights.save_darknet_weights

    def worn(path: Path, *rest: Any) -> None:
        write(path, *rest)
        data = bytearray(path.read_bytes())
        data[-4] ^= 1
        path.write_bytes(data)

    monkeypatch.setattr(weights, "save_darknet_weights", worn)
    with pytest.raises(UserError, match="other numbers than were written"):
        save_checked_weights(tmp_path / "a.weights", model.rules, model.state_dict())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("layers.0.bn.weight", float("nan"), "holds 1 values that are not finite"),
        ("layers.0.conv.weight", float("inf"), "holds 1 values that are not finite"),
        ("layers.0.bn.running_var", -1e-3, r"holds a negative variance \(-0\.001\)"),
    ],
)
def test_numbers_no_network_can_have(key: str, value: float, message: str) -> None:
    state = healthy(TINY).state_dict()
    state["layers.0.bn.running_var"][1] = -7e-44  # real files hold such
    require_usable(state, "a.weights")
    state[key].view(-1)[0] = value
    with pytest.raises(UserError, match=rf"a\.weights: {key} {message}"):
        require_usable(state, "a.weights")


# -- files that are something else -----------------------------------------------------------------


def pickled(protocol: int) -> bytes:
    return pickle.dumps({"model": [1.0, 2.0]}, protocol)


def utf8_mangled() -> bytes:
    real = struct.pack("<iiiQ", 0, 2, 5, 7) + np.random.default_rng(0).bytes(4 * TINY_NUMBERS)
    return real.decode("utf-8", "replace").encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file, not Darknet weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 257717640\n",
         "a git LFS pointer (fetch the real file with 'git lfs pull'), not Darknet weights"),
        (b"<!DOCTYPE html>\n<html><body>Quota exceeded</body></html>", "a web page"),
        (b"\n\n  <html lang='en'>", "a web page"),
        (b"EDL2\0\0\0\0\xa0\x19", "an ESP-DL model"),
        (b"[net]\nwidth=416\nheight=416\n", "a text file, not Darknet weights"),
        (utf8_mangled(), "damaged by a text conversion"),
        (pickled(2), "a Python pickle"), (pickled(4), "a Python pickle"),
    ],
)  # fmt: skip
def test_what_it_is_instead(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "yolo.weights"
    path.write_bytes(content)
    assert message in refusal(path)


def test_a_zip_that_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "yolo.weights"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "not a checkpoint" in refusal(path)
    path.write_bytes(path.read_bytes()[:40])
    assert "not a checkpoint" in refusal(path)
    path.write_bytes(b"PK")
    assert "a zip archive (a PyTorch .pt file?), not Darknet weights" in refusal(path)


def test_a_damaged_checkpoint(tmp_path: Path) -> None:
    """Cut short or with other bytes in it: some UserError of one line, or it loads."""
    model, path = Darknet(TINY), tmp_path / "a.pt"
    torch.save({"model": model.state_dict()}, path)
    data, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for k in range(60):
        broken = bytearray(data if k % 2 else data[: int(rng.integers(4, len(data)))])
        for place in rng.integers(4, len(broken), 8):
            broken[place] = int(rng.integers(256))
        path.write_bytes(broken)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.load_weights(path)
        except UserError as error:
            assert len(str(error).splitlines()) == 1
            refused += 1
    assert refused > 40


def test_a_path_that_leads_nowhere(tmp_path: Path) -> None:
    assert "no such file (the weights)" in refusal(tmp_path / "none.weights")
    assert "is a folder" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lfs_pointer_yolov4.weights", "a git LFS pointer"),
        ("truncated_yolov3-tiny.weights",
         "8,834,814 numbers are missing (it holds 23,920, the cfg needs 8,858,734)"),
        ("utf8mangled_yolov4-tiny.weights", "damaged by a text conversion"),
    ],
)  # fmt: skip
def test_broken_files_of_the_wild(shared: Path, name: str, message: str) -> None:
    folder = shared / "weights" / "broken"
    cfg = folder / name.replace(".weights", ".cfg")
    model = Darknet(cfg) if cfg.is_file() else None
    assert message in refusal(folder / name, model)


# -- checkpoints -----------------------------------------------------------------------------------


class Malicious:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    torch.save({"model": Malicious(trap)}, tmp_path / "a.pt")
    message = refusal(tmp_path / "a.pt")
    assert "holds Python objects, not just tensors, and is not opened for safety" in message
    assert not trap.exists()
    with (tmp_path / "b.weights").open("wb") as file:
        pickle.dump(Malicious(trap), file, protocol=2)
    assert "a Python pickle" in refusal(tmp_path / "b.weights")
    assert not trap.exists()
    pickle.loads((tmp_path / "b.weights").read_bytes())
    assert trap.exists(), "the trap of this test does not work"


def test_a_checkpoint_with_a_foreign_class_is_refused(tmp_path: Path) -> None:
    torch.save({"model": torch.nn.Linear(2, 2)}, tmp_path / "a.pt")
    assert "ultralytics" in refusal(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "content", [{}, {"model": None}, {"model": {"a": 1}}, [1, 2], {"state_dict": {}}]
)
def test_a_checkpoint_of_another_program(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "a.pt")
    assert "has no 'model' with tensors" in refusal(tmp_path / "a.pt")


def test_a_checkpoint_loads_under_any_name(tmp_path: Path) -> None:
    model = healthy(TINY)
    torch.save({"model": model.state_dict(), "seen": 12}, tmp_path / "a.weights")
    other = Darknet(TINY).load_weights(tmp_path / "a.weights")
    assert other.seen == 12
    state = model.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in other.state_dict().items())
    assert load_checkpoint(tmp_path / "a.weights")["seen"] == 12


def test_a_checkpoint_must_fit(tmp_path: Path) -> None:
    state = healthy(TINY).state_dict()
    path = tmp_path / "a.pt"

    def saved(changed: dict[str, Any]) -> Path:
        torch.save({"model": {k: v for k, v in changed.items() if v is not None}}, path)
        return path

    missing = refusal(saved({**state, "layers.0.bn.bias": None}))
    assert "does not fit net.cfg: 1 tensors missing, 0 left over, 0 of another shape" in missing
    assert "(the first: layers.0.bn.bias)" in missing
    extra = refusal(saved({**state, "layers.9.bn.bias": torch.zeros(2)}))
    assert "0 tensors missing, 1 left over, 0 of another shape (the first: layers.9" in extra
    wrong = refusal(saved({**state, "layers.0.bn.bias": torch.zeros(3)}))
    assert "0 tensors missing, 0 left over, 1 of another shape" in wrong
    Darknet(TINY).load_weights(saved(state))
    first = {key: tensor for key, tensor in state.items() if key.startswith("layers.0.")}
    Darknet(TINY).load_weights(saved(first), cutoff=1)
    assert "does not fit" in refusal(saved({"foreign": torch.zeros(1)}), cutoff=1)


# -- writing ---------------------------------------------------------------------------------------


def test_a_fused_model_is_not_saved(tmp_path: Path) -> None:
    model = healthy(TINY).fuse()
    with pytest.raises(UserError, match=r"layer 0 has no bn\.bias .*save before fusing"):
        model.save_weights(tmp_path / "a.weights")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.weights"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic_write(path) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    with pytest.raises(UserError, match="save before fusing"):
        healthy(TINY).fuse().save_weights(path)
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["a.weights"]
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    assert [found.name for found in tmp_path.iterdir()] == ["a.weights"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        healthy(TINY).save_weights(tmp_path / "none" / "a.weights")


def test_reading_reads_no_more_than_it_should(tmp_path: Path) -> None:
    """The state of a cutoff holds the layers before it, nothing else."""
    rules = Darknet(TINY).rules
    state, header = load_darknet_weights(file_with(tmp_path / "a", TINY_NUMBERS), rules, cutoff=1)
    assert {key.split(".")[1] for key in state} == {"0"}
    assert (header.major, header.minor, header.revision, header.size) == (0, 2, 5, 20)


def test_keys_say_whose_they_are() -> None:
    for key in (key_of(12, "bn.weight"), key_of(0, "weights")):
        assert key_of(index_of(key), name_of(key)) == key
    for foreign in ("model.3.conv.weight", "layers.x.weight", "layers", ""):
        assert index_of(foreign) == -1


def test_what_each_checkpoint_holds() -> None:
    content = checkpoint_content("[net]", {}, 7)
    assert list(content.items()) == [("format", 1), ("cfg", "[net]"), ("model", {}), ("seen", 7)]
