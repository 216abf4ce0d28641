"""The methods of masking: all of them are torch.nn.utils.prune's, or the user's own class.

Masks compose as that library has it: a further round of an unstructured method takes its share of
the weights that are left, one of a structured method its share of the channels that are left.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import prune

from ..command.errors import UserError
from ..command.files import require_file
from .options import Amounts, MethodName, Scope, require_custom
from .targets import Target

Masks = dict[str, Tensor]  # by the state's key of the parameter; True stays

_CLASSES: Mapping[str, Any] = {
    "l1_unstructured": prune.L1Unstructured,
    "random_unstructured": prune.RandomUnstructured,
    "ln_structured": prune.LnStructured,
    "random_structured": prune.RandomStructured,
}


@dataclass(frozen=True)
class Method:
    """How to choose what goes: a pruning class of the library's kind, with its own arguments.

    n and dim are for the structured methods: the norm, and the dimension whose slices go whole
    (0: a kernel's outputs, 1: its inputs).
    """

    kind: Any
    options: Mapping[str, Any]
    takes_amount: bool = True

    @property
    def structured(self) -> bool:
        """Whether whole slices go."""
        return bool(self.kind.PRUNING_TYPE == "structured")

    def arguments(self, amount: float | None) -> dict[str, Any]:
        """What the class is made with."""
        return {**({"amount": amount} if self.takes_amount else {}), **self.options}


def make_method(name: MethodName, n: float = 2, dim: int = 0, file: str | None = None) -> Method:
    """The method of a name. Raises UserError for `custom` without a usable `file`, or the reverse.

    `file` is the user's own Python, which is run.
    """
    require_custom(name, file)
    if file is not None:
        return _custom(file)
    options: dict[str, Any] = {}
    if name.endswith("_structured"):
        options["dim"] = dim
    if name == "ln_structured":
        options["n"] = int(n) if float(n).is_integer() else n
    return Method(_CLASSES[name], options)


def _custom(file: str) -> Method:
    """The one BasePruningMethod class of a file."""
    path = require_file(file, "the custom method")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UserError(f"--custom-method {path}: is no Python file (name it .py)")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(
            f"--custom-method {path}: cannot be imported ({type(error).__name__}: {error})"
        ) from None
    kinds = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, prune.BasePruningMethod)
        and value.__module__ == module.__name__
    ]
    if len(kinds) != 1:
        raise UserError(
            f"--custom-method {path}: must define one class derived from torch.nn.utils.prune."
            f"BasePruningMethod, but defines {len(kinds)}"
        )
    kind = kinds[0]
    if getattr(kind, "PRUNING_TYPE", None) not in ("unstructured", "structured"):
        raise UserError(
            f"--custom-method {path}: {kind.__name__}.PRUNING_TYPE must be 'unstructured' or "
            "'structured'"
        )
    return Method(kind, {}, "amount" in inspect.signature(kind).parameters)


@torch.no_grad()
def mask_(
    targets: Sequence[Target],
    method: Method,
    amounts: Amounts,
    scope: Scope = "local",
    seed: int = 0,
    rounds: int = 1,
    earlier: Mapping[str, Tensor] | None = None,
) -> Masks:
    """Mask the targets in place and return all masks; `earlier` masks are composed with.

    Masked weights are then plain zeros of plain parameters (`prune.remove`). The random methods
    draw from torch's global generator, which is left as it was. Raises UserError for a method that
    cannot do this.
    """
    _require_possible(targets, method, amounts, scope)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for target in targets:
            if earlier and target.key in earlier:
                _apply_earlier(target, earlier[target.key])
        for _ in range(rounds):
            _one_round(targets, method, amounts, scope)
    masks = {
        target.key: getattr(target.module, f"{target.name}_mask").bool()
        for target in targets
        if hasattr(target.module, f"{target.name}_mask")
    }
    for target in targets:
        if target.key in masks:
            prune.remove(target.module, target.name)  # type: ignore[no-untyped-call]
            # The library multiplies, which leaves -0: as many bytes again for a compressor.
            target.module.get_parameter(target.name).add_(0.0)
    return masks


def apply_masks_(targets: Sequence[Target], masks: Mapping[str, Tensor]) -> Masks:
    """Mask the targets in place by given masks, those that have one."""
    return mask_(targets, _NOTHING, Amounts(0.0), rounds=0, earlier=masks)


_NOTHING = Method(prune.Identity, {}, takes_amount=False)


def _apply_earlier(target: Target, mask: Tensor) -> None:
    weight = target.module.get_parameter(target.name)
    if mask.shape != weight.shape:
        raise UserError(
            f"the mask of {target.key} is of shape {tuple(mask.shape)}, but the parameter of "
            f"{tuple(weight.shape)}: masks of another network"
        )
    prune.custom_from_mask(target.module, target.name, mask.to(weight.device, weight.dtype))  # type: ignore[no-untyped-call]


def _one_round(targets: Sequence[Target], method: Method, amounts: Amounts, scope: Scope) -> None:
    if scope == "global":
        pairs = [(target.module, target.name) for target in targets]
        arguments = method.arguments(amounts.everywhere)
        prune.global_unstructured(pairs, pruning_method=method.kind, **arguments)
        return
    for target in targets:
        amount = amounts.of(target.kind)
        if amount is not None:
            _local(target, method, amount)


def _local(target: Target, method: Method, amount: float) -> None:
    try:
        method.kind.apply(target.module, target.name, **method.arguments(amount))
    except (IndexError, ValueError) as error:
        raise UserError(
            f"layer {target.layer}: {target.name} cannot be masked so: {error}"
        ) from None


def _require_possible(
    targets: Sequence[Target], method: Method, amounts: Amounts, scope: Scope
) -> None:
    _require_known_kinds(amounts, targets)
    if scope == "global" and method.structured:
        raise UserError(
            "--scope global: is for unstructured methods; the norms of whole slices of different "
            "layers say little about each other"
        )
    if scope == "global" and amounts.everywhere is None:
        raise UserError("--scope global: has one amount for all layers, not one per kind")
    flat = [target for target in targets if target.module.get_parameter(target.name).dim() < 2]
    if method.structured and flat:
        raise UserError("--parameters bias: has no slices; structured methods mask weight alone")


def _require_known_kinds(amounts: Amounts, targets: Sequence[Target]) -> None:
    """Raise UserError for an amount of a kind that is not among the targets."""
    kinds = sorted({target.kind for target in targets})
    for kind in amounts.by_kind:
        if kind not in kinds:
            raise UserError(
                f"--amount {kind}=...: no such layers are to be masked; there are: "
                f"{', '.join(kinds)}"
            )
