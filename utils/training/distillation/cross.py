"""The student's features, read by the teacher's head: `--distill cross`.

CrossKD (Wang et al., "CrossKD: Cross-Head Knowledge Distillation for Object Detection", CVPR 2024,
arXiv:2306.11369): the student's features at the entry of the detection head go through the
teacher's frozen head, and these cross-head predictions are held against the teacher's own. So the
student's head hears the labels alone, and does not have to serve two masters; its features learn
what the teacher's head would need to see. The distance is that of response.py.

There both have as many channels, or an adapter. Here the plan links each of the student's channels
to one of the teacher's, whose places they take. The others, which pruning cut, hold the teacher's
own features. The constants that the cut folded away would be the other choice, but they are what a
channel gives only where its gamma is 0: with them a student whose features are the teacher's would
still be told to change, by an error that no feature of its own can mend. With the teacher's own the
loss is 0 just there, and each channel is asked for its part alone. (A plan holds no constants.)

A head's own layers are those that only it reads, back to where something joins, branches off or
changes its size: what these read is the entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...command.errors import UserError
from ...network.channel_links import Link
from ...network.darknet import Network
from ...network.layers import INPUT, Head, Layer
from .response import RESPONSES, Pair, response_loss


@dataclass(frozen=True)
class Crossing:
    """One head of the teacher: its place among the heads, its own layers, what they read.

    entry: links of the student's layers to those that the head's own layers read.
    """

    place: int
    own: tuple[int, ...]
    entry: tuple[Link, ...]


def crossings(
    links: Mapping[int, Link], student: Sequence[Layer], teacher: Sequence[Layer]
) -> tuple[Crossing, ...]:
    """Where the student (links by its layers) enters each head of the teacher that can answer.

    Raises UserError where one of them has an entry that the student has no layer for.
    """
    by_teacher = {link.teacher_layer: link for link in links.values()}
    heads = [rule for rule in teacher if isinstance(rule, Head)]
    found = []
    for place, head in enumerate(heads):
        if head.loss_kind not in RESPONSES:
            continue
        own, entry = own_layers(head, teacher)
        for layer in entry:
            link = by_teacher.get(layer)
            if link is None or student[link.layer].shape[1:] != teacher[layer].shape[1:]:
                raise UserError(
                    f"--distill cross: the plan links no layer of the student to layer {layer} of "
                    f"the teacher, where its head at layer {head.index} begins; --distill response "
                    "needs no links"
                )
        found.append(Crossing(place, own, tuple(by_teacher[layer] for layer in entry)))
    if not found:
        raise UserError(
            "--distill cross: the teacher has no [yolo] head and none of YOLOv8's; --distill "
            "feature compares features, with any head"
        )
    return tuple(found)


def own_layers(head: Head, rules: Sequence[Layer]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The layers that are a head's own, in order, and the layers that they or it read."""
    readers: dict[int, set[int]] = {}
    for rule in rules:
        for source in rule.sources:
            readers.setdefault(source, set()).add(rule.index)
    size = head.shape[1:]
    own = {head.index}
    for rule in reversed(rules[: head.index]):
        shapes = {rule.shape[1:], *(shape[1:] for shape in rule.inputs)}
        alone = bool(readers.get(rule.index)) and readers[rule.index] <= own
        if alone and len(rule.sources) == 1 and INPUT not in rule.sources and shapes == {size}:
            own.add(rule.index)
    entry = {source for index in own for source in rules[index].sources} - own
    return tuple(sorted(own - {head.index})), tuple(sorted(entry))


def cross_loss(
    teacher: Network,
    found: Sequence[Crossing],
    mine: Mapping[int, Tensor],
    features: Mapping[int, Tensor],
    taught: Sequence[Tensor],
    img_hw: tuple[int, int],
) -> Tensor:
    """The scalar, with a gradient for `mine`, the student's values (B, C, H, W) by layer.

    features: the teacher's values at the entries; taught: its raw heads.
    """
    pairs = []
    for crossing in found:
        values = {
            link.teacher_layer: scattered(mine[link.layer], features[link.teacher_layer], link)
            for link in crossing.entry
        }
        raw = _through(teacher, crossing, values)
        head, answer = teacher.heads[crossing.place], taught[crossing.place].float()
        pairs.append(Pair(head, raw.float(), head, answer))
    return response_loss(pairs, img_hw)


def scattered(mine: Tensor, features: Tensor, link: Link) -> Tensor:
    """The teacher's features (B, C, H, W) with the student's in the channels that it has."""
    places = torch.tensor(link.channels, device=mine.device)
    return features.index_copy(1, places, mine.to(features.dtype))


def _through(teacher: Network, crossing: Crossing, values: Mapping[int, Tensor]) -> Tensor:
    """What the head gets raw, from the values of its entry."""
    known = dict(values)
    for index in crossing.own:
        rule = teacher.rules[index]
        inputs = [known[source] for source in rule.sources]
        known[index] = rule.forward(teacher.layers[rule.owner], inputs)
    head = teacher.heads[crossing.place]
    return head.raw([known[source] for source in head.sources])
