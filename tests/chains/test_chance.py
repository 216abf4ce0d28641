"""The bound on a drop of mAP: it says what lists of images would, and holds as often as it says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from utils.chains.compress.chance import drop_between, map50_of_draws
from utils.data.detections import Floats, Ints
from utils.detection.evaluate import Collected
from utils.detection.metrics import Boxes, mean_of_valid, score_detections
from utils.detection.results import Seconds

NC = 3


def world(images: int, seed: int, shared: int = 0) -> tuple[Boxes, Floats, Floats]:
    """Targets, four an image, and how hard each is to find for either of two networks (0..1)."""
    rng = np.random.default_rng(seed)
    count = 4 * images
    corner = rng.uniform(0, 900, (count, 2))
    image, label = np.repeat(np.arange(images), 4), rng.integers(0, NC, count)
    targets = Boxes(image, label, np.hstack((corner, corner + 30)), np.ones(count))
    hard = np.clip(rng.random(images)[image] * 0.5 + rng.random(count) * 0.5, 0, 1)
    return targets, hard, np.clip(hard + rng.normal(0, 0.1, count), 0, 1)


def finds(targets: Boxes, hard: Floats, least: float, seed: int) -> Collected:
    """What is found of targets less hard than `least`, beside as many false boxes."""
    rng = np.random.default_rng(seed)
    found = hard < least
    corner = rng.uniform(1000, 1900, (found.sum(), 2))
    wrong = Boxes(
        targets.image[found], targets.label[found], np.hstack((corner, corner + 30)),
        rng.random(found.sum()) * 0.6,
    )  # fmt: skip
    hit = Boxes(targets.image[found], targets.label[found], targets.xyxy[found], 1 - hard[found])
    pairs = zip(vars(hit).values(), vars(wrong).values(), strict=True)
    both = [np.concatenate(pair) for pair in pairs]
    images = int(targets.image.max()) + 1
    return Collected(Boxes(*both), targets, images, Seconds(0.0, 0.0, 0.0, 0.0))


def repeated(boxes: Boxes, draw: Ints) -> Boxes:
    """The boxes of a list that names image k `draw[k]` times."""
    ends = np.cumsum(draw)
    parts = []
    for number, (low, high) in enumerate(pairwise((0, *ends))):
        own = boxes.image == number
        parts += [
            (np.full(own.sum(), place), boxes.label[own], boxes.xyxy[own], boxes.score[own])
            for place in range(low, high)
        ]
    return Boxes(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def test_a_draw_scores_as_the_list_that_it_stands_for() -> None:
    targets, hard, _ = world(12, 0)
    found = finds(targets, hard, 0.7, 1)
    rng = np.random.default_rng(2)
    draws = np.vstack((np.ones((1, 12), int), rng.multinomial(12, np.full(12, 1 / 12), 4)))
    got = map50_of_draws(found, NC, draws)
    for draw, value in zip(draws, got, strict=True):
        scores = score_detections(
            repeated(found.detections, draw), repeated(found.targets, draw), NC
        )
        assert value == pytest.approx(mean_of_valid(scores.ap[:, 0]), abs=1e-12)
    assert len(set(got)) == len(got)


def test_the_bound_holds_on_other_images_as_often_as_it_says() -> None:
    """60 pairs of networks on 40 images, each then scored on 30 others of the same kind."""
    held, without = 0, 0
    for seed in range(60):
        targets, hard, other = world(70, seed)
        near, far = targets.image < 40, targets.image >= 40
        both = []
        for chosen, first in ((near, 0), (far, 40)):
            part = Boxes(
                targets.image[chosen] - first, targets.label[chosen], targets.xyxy[chosen],
                targets.score[chosen],
            )  # fmt: skip
            both.append([
                finds(part, hard[chosen], 0.7, seed), finds(part, other[chosen], 0.65, seed + 100),
            ])  # fmt: skip
        here = drop_between(*both[0], NC, 30)
        there = drop_between(*both[1], NC, 30).lost
        held += there <= here.at_most
        without += there <= here.lost  # control: the drop as it was found is no bound
    assert 48 <= held < 60
    assert without < 42


def test_more_images_bound_more_tightly() -> None:
    widths = []
    for images, elsewhere in ((30, 30), (120, 30), (120, 10_000)):
        targets, hard, other = world(images, 5)
        drop = drop_between(
            finds(targets, hard, 0.7, 1), finds(targets, other, 0.7, 2), NC, elsewhere
        )
        widths.append(drop.at_most - drop.lost)
    assert widths[0] > widths[1] > widths[2] > 0
    same = finds(targets, hard, 0.7, 1)
    assert drop_between(same, same, NC, 10) == drop_between(same, same, NC, 1000)  # nothing to tell
    assert drop_between(same, same, NC, 10).at_most == 0
