"""A state whose changed tensors are made when they are asked for."""

from __future__ import annotations

import pytest
import torch

from models import Darknet
from tests.support.nets import conv, head, healthy_state, net
from utils.network.later_state import LaterState
from utils.network.weights import each_alone


def test_it_is_a_mapping_of_what_is_there_and_what_is_made() -> None:
    made: list[str] = []

    def doubled() -> torch.Tensor:
        made.append("b")
        return 2 * state["b"]

    state = {"a": torch.ones(2), "b": torch.ones(3), "c": torch.ones(4)}
    later = LaterState(state, {"b": doubled, "d": lambda: torch.zeros(1)}, frozenset("c"))
    assert list(later) == ["a", "b", "d"] and len(later) == 3 and "c" not in later
    assert later["a"] is state["a"] and not made
    assert torch.equal(later["b"], torch.full((3,), 2.0)) and made == ["b"]
    assert later.get("c") is None
    with pytest.raises(KeyError):
        later["c"]


def test_tensors_that_share_memory_are_told() -> None:
    whole = torch.zeros(4, 4)
    assert each_alone([whole, torch.zeros(3)])
    assert not each_alone([whole, whole])
    assert not each_alone([whole[:2]])
    assert not each_alone([whole.t()])


def test_a_lent_state_is_not_copied_and_a_given_one_is() -> None:
    cfg = net(conv(8), head())
    state = healthy_state(Darknet(cfg))
    for lent in (True, False):
        network = Darknet(cfg, weights=state, lent=lent)
        own = network.state_dict()
        same = [own[key].data_ptr() == state[key].data_ptr() for key in state]
        assert all(same) if lent else not any(same)
        assert all(torch.equal(own[key], state[key]) for key in state)
