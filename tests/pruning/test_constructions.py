"""How nets are built of which there is no cfg at hand: they run, and pruned equals masked."""

from __future__ import annotations

import pytest

from tests.support.nets import conv, head, net, section
from tests.support.prune_case import Case, compared


def back(*layers: int) -> str:
    """A route to layers before it."""
    return section("route", layers=",".join(map(str, layers)))


NETS = {
    # Three branches with one kernel and dilations 1, 2, 3.
    "trident": (
        conv(8, stride=2), conv(6), conv(8),
        back(1), conv(8, dilation=2, share_index=2), back(1), conv(8, dilation=3, share_index=2),
        back(2, 4, 6), conv(8, 1), head(),
    ),
    # ELAN: two 1x1 paths, a chain of 3x3, every second one joined.
    "v7x": (
        conv(8, stride=2), conv(4, 1), back(-2), conv(4, 1), conv(4), conv(4), conv(4), conv(4),
        back(-1, -3, -5, -7), conv(8, 1), section("maxpool", size=2, stride=2), head(),
    ),
    # Each layer reads all before it.
    "densenet": (
        conv(8, stride=2), conv(4), back(-1, -2), conv(4), back(-1, -2), conv(4), back(-1, -2),
        conv(8, 1), head(),
    ),
    # SAM behind a spatial attention, and YOLOv2's passthrough by reorg3d.
    "v4 sam, reorg3d": (
        conv(8, stride=2), conv(8, 1, activation="logistic"), section("sam", frm=-2), conv(8),
        section("reorg3d", stride=2), back(3), conv(8, stride=2), back(-1, -3), conv(8, 1), head(),
    ),
    "five heads": (
        conv(6, stride=2), head(),
        *(part for _ in range(3) for part in (back(-3), conv(6, stride=2), head())),
        back(-3), conv(6), head(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_pruned_equals_masked(name: str) -> None:
    case = Case(net(*NETS[name], width=48, height=32), ratio=0.5)
    proof = case.prove()
    assert max(proof.masked, proof.folded) < 1e-9
    assert not case.plan.keep.all()
    assert compared(case) < 1e-9
