"""Sparse finetuning: weights that masks hold at 0, through every optimizer step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...command.errors import UserError


@dataclass(frozen=True)
class HeldMasks:
    """Masks by the state's keys (True stays), and the parameters that they hold.

    Nothing is reparametrised: a state keeps its keys, and whatever reads the run's checkpoints
    finds plain weights with zeros in them.
    """

    masks: Mapping[str, Tensor]
    held: tuple[tuple[nn.Parameter, Tensor], ...]  # with where they are 0

    @staticmethod
    def of(model: nn.Module, masks: Mapping[str, Tensor], source: str) -> HeldMasks:
        """Hold the parameters of `model`, from now on. Raises UserError for other masks than its.

        To be made before an average of the weights is: the average of zeros is then 0, too.
        """
        parameters = dict(model.named_parameters())
        for key, mask in masks.items():
            if key not in parameters or parameters[key].shape != mask.shape:
                raise UserError(f"{source}: does not fit the cfg: it has a mask for {key}")
        held = tuple((parameters[k], ~mask.to(parameters[k].device)) for k, mask in masks.items())
        found = HeldMasks({key: mask.cpu() for key, mask in masks.items()}, held)
        found.hold_()
        return found

    def quiet_gradients_(self) -> None:
        """No gradients for held weights: neither moments nor the gradient's length know of them."""
        for parameter, gone in self.held:
            if parameter.grad is not None:
                parameter.grad.masked_fill_(gone, 0.0)

    @torch.no_grad()
    def hold_(self) -> None:
        """Set the held weights to 0, whatever a step made of them."""
        for parameter, gone in self.held:
            parameter.masked_fill_(gone, 0.0)
