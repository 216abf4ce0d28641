"""Masks: hand-computed cases of each method, composition, files, and training with masks held."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import mask_prune
from models import Darknet
from tests.support.nets import conv, head, healthy, image, net, section
from utils.command.errors import UserError
from utils.detection.options import Inputs
from utils.masks.figures import sparsity
from utils.masks.files import read_masks
from utils.masks.methods import Masks, make_method, mask_
from utils.masks.options import Amounts, MaskChoice, MaskOptions, parse_amounts
from utils.masks.run import Masked, run_masking
from utils.masks.targets import find_targets
from utils.network.weights import load_checkpoint

# Filters (4, 2, 1, 1): the L1 norms of the rows are 3, 7, 11, 15, those of the columns 16, 20.
ROWS = torch.tensor([[1.0, -2.0], [-3.0, 4.0], [5.0, -6.0], [-7.0, 8.0]]).view(4, 2, 1, 1)


def one_layer(kernel: Tensor = ROWS) -> Darknet:
    """A network of one 1x1 convolution without BN, whose kernel is given."""
    filters, inputs = kernel.shape[:2]
    plain = conv(filters, 1, batch_normalize=None, activation="linear")
    model = Darknet(net(plain, channels=inputs)).eval()
    with torch.no_grad():
        model.get_parameter("layers.0.conv.weight").copy_(kernel)
    return model


def masked(model: Darknet, method: str, amount: float, rounds: int = 1, **options: float) -> Tensor:
    """The only mask, as a matrix."""
    masks = mask_(
        find_targets(model),
        make_method(method, **options),  # type: ignore[arg-type]
        Amounts(amount),
        rounds=rounds,
    )
    (mask,) = masks.values()
    return mask.flatten(1)


def rows(*values: str) -> Tensor:
    return torch.tensor([[c == "1" for c in row] for row in values])


def test_l1_unstructured_takes_the_smallest() -> None:
    model = one_layer()
    assert torch.equal(masked(model, "l1_unstructured", 0.375), rows("00", "01", "11", "11"))
    weight = model.get_parameter("layers.0.conv.weight").flatten().tolist()
    assert weight == [0, 0, 0, 4, 5, -6, -7, 8]
    assert "-0" not in str(weight)  # which would compress badly


def test_ln_structured_takes_the_rows_or_columns_of_the_smallest_norm() -> None:
    assert torch.equal(masked(one_layer(), "ln_structured", 0.5), rows("00", "00", "11", "11"))
    columns = masked(one_layer(), "ln_structured", 0.5, dim=1)
    assert torch.equal(columns, rows("01", "01", "01", "01"))
    # Row 0 has the larger maximum, row 1 the larger sum: the norm decides.
    kernel = torch.tensor([[5.0, 0.0, 0.0], [3.0, 3.0, 3.0]]).view(2, 3, 1, 1)
    assert torch.equal(masked(one_layer(kernel), "ln_structured", 0.5, n=1), rows("000", "111"))
    largest = masked(one_layer(kernel), "ln_structured", 0.5, n=float("inf"))
    assert torch.equal(largest, rows("111", "000"))


def test_random_methods_take_the_count_and_repeat_by_seed() -> None:
    first, again = (masked(one_layer(), "random_unstructured", 0.5) for _ in range(2))
    assert int(first.sum()) == 4
    assert torch.equal(first, again)
    model = one_layer(torch.randn(32, 2, 1, 1))
    seeds = [
        mask_(find_targets(model), make_method("random_unstructured"), Amounts(0.5), seed=seed)
        for seed in (0, 1)
    ]
    assert not torch.equal(*(next(iter(masks.values())) for masks in seeds))
    structured = masked(one_layer(), "random_structured", 0.25)
    assert sorted(structured.sum(1).tolist()) == [0, 2, 2, 2]


def test_rounds_take_their_share_of_what_is_left() -> None:
    assert torch.equal(
        masked(one_layer(), "l1_unstructured", 0.5, rounds=2), rows(*["00", "00", "00", "11"])
    )
    # 4 rows: half of them, then half of the two that are left.
    assert torch.equal(
        masked(one_layer(), "ln_structured", 0.5, rounds=2), rows(*["00", "00", "00", "11"])
    )
    model = one_layer()
    targets = find_targets(model)
    earlier = {"layers.0.conv.weight": rows("11", "11", "11", "10").view(4, 2, 1, 1)}
    masks = mask_(targets, make_method("l1_unstructured"), Amounts(3 / 7), earlier=earlier)
    # Of the seven that are left the three smallest; the largest of all, 8, stays masked.
    assert torch.equal(masks["layers.0.conv.weight"].flatten(1), rows("00", "01", "11", "10"))


def two_kinds() -> Darknet:
    fc = section("connected", output=6, activation="linear")
    return Darknet(net(conv(4), conv(8), fc, width=4, height=4)).eval()


@settings(max_examples=8)
@given(st.floats(0, 1), st.integers(0, 3))
def test_global_amounts_are_met_within_one_weight(amount: float, seed: int) -> None:
    torch.manual_seed(seed)
    model = two_kinds()
    start = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    targets = find_targets(model)
    masks = mask_(targets, make_method("l1_unstructured"), Amounts(amount), "global")
    total = sum(mask.numel() for mask in masks.values())
    gone = sum(int((~mask).sum()) for mask in masks.values())
    assert abs(gone - amount * total) <= 1
    before = {key: tensor.abs() for key, tensor in start.items() if key in masks}
    if 0 < gone < total:  # one threshold for all layers
        kept = min(float(before[k][m].min()) for k, m in masks.items() if m.any())
        assert kept >= max(float(before[k][~m].max()) for k, m in masks.items() if not m.all())


def test_global_ranks_all_layers_together_and_local_each_by_itself() -> None:
    def masks_of(scope: str) -> Masks:
        model = two_kinds()
        with torch.no_grad():
            model.get_parameter("layers.0.conv.weight").fill_(1e-9)
        method = make_method("l1_unstructured")
        return mask_(find_targets(model), method, Amounts(0.1), scope)  # type: ignore[arg-type]

    assert not masks_of("global")["layers.0.conv.weight"].any()
    assert masks_of("local")["layers.0.conv.weight"].float().mean() == pytest.approx(0.9, abs=0.01)


def test_amounts_by_kind_leave_other_kinds_alone() -> None:
    amounts = parse_amounts("connected=0.25")
    masks = mask_(find_targets(two_kinds()), make_method("l1_unstructured"), amounts)
    assert set(masks) == {"layers.2.fc.weight"}
    assert sparsity(masks) == 0.25
    both = parse_amounts("convolutional=0.5,connected=0.25")
    masks = mask_(find_targets(two_kinds()), make_method("l1_unstructured"), both)
    assert [round(sparsity({k: m}), 3) for k, m in masks.items()] == [0.5, 0.5, 0.25]
    with pytest.raises(UserError, match="there are: connected, convolutional"):
        mask_(find_targets(two_kinds()), make_method("l1_unstructured"), parse_amounts("rnn=1"))


def test_layers_and_parameters_choose() -> None:
    model = two_kinds()
    keys = [target.key for target in find_targets(model, ["0", "connected"], ["weight", "bias"])]
    assert keys == [
        "layers.0.conv.weight", "layers.0.bn.bias", "layers.2.fc.weight", "layers.2.fc.bias",
    ]  # fmt: skip
    with pytest.raises(UserError, match="--layers 9"):
        find_targets(model, ["9"])
    detector = Darknet(net(conv(4), head()))
    assert [t.layer for t in find_targets(detector)] == [0, 1]
    assert [t.layer for t in find_targets(detector, whole_outputs=True)] == [0]


CUSTOM = """
import torch
from torch.nn.utils.prune import BasePruningMethod

class EveryOther(BasePruningMethod):
    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t, default_mask):
        mask = default_mask.clone()
        mask.view(-1)[::2] = 0
        return mask
"""


def test_a_custom_method_is_the_one_class_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(CUSTOM)
    method = make_method("custom", file=str(file))
    masks = mask_(find_targets(one_layer()), method, Amounts(0.3))
    assert torch.equal(masks["layers.0.conv.weight"].flatten(1), rows(*["01"] * 4))
    file.write_text("x = 1\n")
    with pytest.raises(UserError, match="defines 0"):
        make_method("custom", file=str(file))
    file.write_text("raise ValueError('no')\n")
    with pytest.raises(UserError, match=r"mine\.py: cannot be imported \(ValueError: no\)"):
        make_method("custom", file=str(file))
    with pytest.raises(UserError, match="goes together"):
        make_method("custom")


def test_what_a_method_cannot_do_is_refused() -> None:
    targets = find_targets(two_kinds())
    structured = make_method("ln_structured")
    with pytest.raises(UserError, match="--scope global"):
        mask_(targets, structured, Amounts(0.5), "global")
    with pytest.raises(UserError, match="one per kind"):
        mask_(targets, make_method("l1_unstructured"), parse_amounts("connected=1"), "global")
    with pytest.raises(UserError, match="--parameters bias"):
        mask_(find_targets(two_kinds(), (), ["bias"]), structured, Amounts(0.5))
    with pytest.raises(UserError, match=r"layer 0: weight cannot"):
        mask_(targets, make_method("ln_structured", dim=7), Amounts(0.5))
    with pytest.raises(UserError, match="of another network"):
        wrong = {"layers.0.conv.weight": torch.ones(1, dtype=torch.bool)}
        mask_(targets, make_method("l1_unstructured"), Amounts(0.5), earlier=wrong)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Flags that name a small detector on disk."""
    cfg = net(conv(8), conv(8, groups=2), head())
    model = healthy(cfg)
    (tmp_path / "my.cfg").write_text("".join(net_text()))
    model.save_weights(tmp_path / "my.weights")
    return ["--cfg", str(tmp_path / "my.cfg"), "--weights", str(tmp_path / "my.weights")]


def net_text() -> list[str]:
    start = section("net", width=32, height=32, channels=3)
    return [start, conv(8), conv(8, groups=2), head()]


def command(*argv: str) -> Masked:
    return mask_prune.main([*argv, "--device", "cpu"])


def test_what_is_written_gives_the_masked_outputs_exactly(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    done = command(*files, "--amount", "0.6", "--scope", "global")
    told = capsys.readouterr().out
    assert "60.0" in told
    assert "is not faster" in told
    full = Darknet(files[1]).load_weights(files[3]).eval()
    x = image(full)
    unmasked = full.raw_heads(x)[0]
    state = {k: v * done.masks[k] if k in done.masks else v for k, v in full.state_dict().items()}
    full.load_state(state)
    wanted = full.raw_heads(x)[0]
    for path in (done.weights, done.checkpoint):
        loaded = Darknet(files[1]).load_weights(path).eval()
        assert torch.equal(loaded.raw_heads(x)[0], wanted)
    assert not torch.equal(unmasked, wanted)  # negative control
    assert torch.load(done.checkpoint, weights_only=True).keys() >= {"model", "masks", "cfg"}
    assert sparsity(read_masks(done.checkpoint)) == pytest.approx(0.6, abs=1e-3)
    with pytest.raises(UserError, match="--force"):
        command(*files, "--amount", "0.6", "--scope", "global")
    with pytest.raises(UserError, match="no masks"):
        read_masks(files[3])


def test_a_further_call_composes_with_the_masks_of_the_weights(files: list[str]) -> None:
    bias = ("--parameters", "bias")
    first = command(*files, "--amount", "0.5", "--scope", "global")
    second = command(
        *files[:3], str(first.checkpoint), "--amount", "0.5", "--scope", "global", "--rounds", "1"
    )
    assert sparsity(second.masks) == pytest.approx(0.75, abs=1e-3)
    for key, mask in second.masks.items():
        assert not (mask & ~first.masks[key]).any()  # nothing comes back
    others = command(*files[:3], str(first.checkpoint), "--amount", "0.25", *bias)
    assert others.masks.keys() > first.masks.keys()  # masks of other parameters are kept
    assert all(torch.equal(others.masks[key], mask) for key, mask in first.masks.items())
    with pytest.raises(UserError, match="masks of another network"):
        content = load_checkpoint(first.checkpoint)
        content["masks"]["layers.77.conv.weight"] = torch.ones(1, dtype=torch.bool)
        torch.save(content, first.checkpoint)
        command(*files, "--masks", str(first.checkpoint), "--dry-run")


def test_a_masking_is_a_function_too(files: list[str]) -> None:
    options = MaskOptions(Inputs(files[1], files[3]), MaskChoice(amount=Amounts(0.5)))
    done = run_masking(options, Darknet)
    assert sparsity(done.masks) == pytest.approx(0.5, abs=0.01)
    typed = command(*files, "--amount", "0.5", "--dry-run")
    assert all(torch.equal(mask, typed.masks[key]) for key, mask in done.masks.items())


def test_options_refuse_what_the_flags_refuse(capsys: pytest.CaptureFixture[str]) -> None:
    for make, words, said in (
        (lambda: Amounts(1.5), ["--amount", "1.5"], "--amount: must lie between 0 and 1, got 1.5"),
        (lambda: MaskChoice(rounds=0), ["--rounds", "0"], "--rounds: must be at least 1, got 0"),
        (lambda: MaskChoice("l7"), ["--method", "l7"], "--method: invalid choice: 'l7'"),
        (lambda: MaskChoice("custom"), ["--method", "custom"], "--method custom: goes together"),
    ):
        with pytest.raises(UserError, match=said):
            make()
        with pytest.raises((UserError, SystemExit)) as typed:
            mask_prune.main(words)
        told = str(typed.value) if isinstance(typed.value, UserError) else capsys.readouterr().err
        assert said in told
