"""Data sets and loaders: the same batches whatever makes them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.tiny_data import (
    box_picture,
    centre_of_light,
    make_set,
    noise_picture,
    write_list,
    write_sample,
)
from utils.command.errors import UserError
from utils.data import cache as cache_module
from utils.data.dataset import DetectionDataset, Draw
from utils.data.loader import Batch, Loader, collate, make_loader, resize_batch
from utils.data.options import AugmentOptions

NC = 3
SIZE = (64, 64)
AUGMENT = AugmentOptions(degrees=5, min_side_px=1)
# Python >= 3.12 warns of any fork beside threads; the workers start none.
FORK = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven images of several shapes; some without boxes."""
    return make_set(tmp_path_factory.mktemp("set"), 7, [(48, 64), (64, 40), (130, 200)])


def batches(loader: Loader, epochs: Sequence[int] = (0,)) -> list[Batch]:
    made = []
    for epoch in epochs:
        loader.set_epoch(epoch)
        made += list(loader)
    return made


def same(first: Sequence[Batch], second: Sequence[Batch]) -> bool:
    return len(first) == len(second) and all(
        a.indices == b.indices
        and torch.equal(a.images, b.images)
        and torch.equal(a.targets, b.targets)
        for a, b in zip(first, second, strict=True)
    )


# Items


def test_plain_item_is_the_letterboxed_image_with_its_labels(tmp_path: Path) -> None:
    rows = [(2, 0.5, 0.5, 0.5, 0.4)]
    write_sample(tmp_path, "a.png", box_picture(40, 80, 20, 12, 60, 28), rows)
    dataset = DetectionDataset(write_list(tmp_path, ["a.png"]), NC, (32, 32))
    item = dataset[0]
    assert item.image.shape == (3, 32, 32)
    assert item.image.dtype == torch.uint8
    assert item.labels.tolist() == [pytest.approx([2, 0.5, 0.5, 0.5, 0.2])]
    box = torch.tensor([[8.0, 12.8, 24, 19.2]])
    torch.testing.assert_close(item.geometry.to_image(box), torch.tensor([[20.0, 12, 60, 28]]))
    assert (item.image[:, 8:24].amax(dim=(0, 1)) == 255).nonzero().flatten().tolist() == list(
        range(8, 24)
    )
    with pytest.raises(IndexError):
        dataset[1]


def test_colours_are_red_green_blue(tmp_path: Path) -> None:
    blue = np.zeros((32, 32, 3), np.uint8)
    blue[..., 2] = 255
    write_sample(tmp_path, "a.png", blue, [])
    item = DetectionDataset(write_list(tmp_path, ["a.png"]), NC, (32, 32))[0]
    assert item.image.amax(dim=(1, 2)).tolist() == [0, 0, 255]


def test_reduced_decoding_keeps_pixels_and_boxes_together(tmp_path: Path) -> None:
    # Eight times too large, and decoded to a pixel that reaches seven image pixels beyond the edge.
    h, w = 249, 257
    rows = [(0, 200 / w, 200 / h, 80 / w, 80 / h)]
    write_sample(tmp_path, "a.jpg", box_picture(h, w, 160, 160, 240, 240), rows)
    item = DetectionDataset(write_list(tmp_path, ["a.jpg"]), NC, (32, 32))[0]
    centre, half = item.labels[0, 1:3].numpy() * 32, item.labels[0, 3:].numpy() * 16
    corners = np.concatenate((centre - half, centre + half))
    light = centre_of_light(item.image.permute(1, 2, 0).numpy(), corners, margin=1)
    np.testing.assert_allclose(light, centre, atol=0.1)
    assert abs(light[0] - 200 / w * 32) > 0.4  # where taking the reduction as exact would put it
    point = torch.from_numpy(centre).repeat(2)[None]
    assert item.geometry.to_image(point)[0, :2].tolist() == pytest.approx([200, 200], abs=0.01)


def test_stretch_fills_the_input(source: Path) -> None:
    dataset = DetectionDataset(source, NC, SIZE, fit="stretch")
    for item, sample in zip(dataset, dataset.samples, strict=True):
        np.testing.assert_allclose(item.labels, sample.labels, atol=1e-6)
    with pytest.raises(UserError, match="letterbox"):
        DetectionDataset(source, NC, SIZE, fit="stretch", rect=True)


def test_negatives_train_as_such(tmp_path: Path) -> None:
    write_sample(tmp_path, "empty.png", noise_picture(40, 40, 0), "")
    write_sample(tmp_path, "none.png", noise_picture(40, 40, 1), None)
    write_sample(tmp_path, "one.png", noise_picture(40, 40, 2), [(0, 0.5, 0.5, 0.9, 0.9)])
    path = write_list(tmp_path, ["empty.png", "none.png", "one.png"])
    for augment in (None, AugmentOptions(mosaic=0), AugmentOptions()):
        batch = next(iter(make_loader(DetectionDataset(path, NC, SIZE, augment), 3)))
        assert batch.indices == [0, 1, 2]
        assert batch.targets.shape[1] == 6
    plain = next(iter(make_loader(DetectionDataset(path, NC, SIZE), 3)))
    assert plain.targets[:, 0].tolist() == [2]


def test_augmented_labels_are_inside_and_mosaic_can_be_closed(source: Path) -> None:
    dataset = DetectionDataset(source, NC, SIZE, AUGMENT)
    for index in range(len(dataset)):
        for epoch in range(5):
            labels = dataset[Draw(index, epoch)].labels
            low, high = labels[:, 1:3] - labels[:, 3:] / 2, labels[:, 1:3] + labels[:, 3:] / 2
            assert (low > -1e-5).all()
            assert (high < 1 + 1e-5).all()
            assert (labels[:, 3:] > 0).all()
            closed = dataset[Draw(index, epoch, mosaic=False)]
            assert len(closed.labels) <= len(dataset.samples[index].labels)
    # An item of its own never holds another image's boxes; a mosaic does.
    counts = [len(dataset[Draw(0, epoch)].labels) for epoch in range(20)]
    assert len(dataset.samples[0].labels) == 0 < max(counts)


# Batches


def test_batch_layout(source: Path) -> None:
    dataset = DetectionDataset(source, NC, SIZE)
    batch = next(iter(make_loader(dataset, 4)))
    assert batch.images.shape == (4, 3, *SIZE)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    for place in range(4):
        item = dataset[place]
        assert torch.equal(batch.images[place], item.image)
        assert torch.equal(batch.targets[batch.targets[:, 0] == place][:, 1:], item.labels)
        assert batch.geometries[place] == item.geometry
    assert batch.to("cpu").images.shape == batch.images.shape
    assert collate([]).images.shape == (0, 3, 0, 0)


def test_lengths_and_drop_last(source: Path) -> None:
    dataset = DetectionDataset(source, NC, SIZE)
    for rect in (False, True):
        dataset.rect = rect
        for drop, sizes in ((False, [3, 3, 1]), (True, [3, 3])):
            loader = make_loader(dataset, 3, drop_last=drop)
            assert [len(batch.indices) for batch in loader] == sizes
            assert len(loader) == len(sizes)


@FORK
@pytest.mark.parametrize("cache", [False, True])
def test_batches_do_not_depend_on_workers_cache_or_history(source: Path, cache: bool) -> None:
    plain = make_loader(DetectionDataset(source, NC, SIZE, AUGMENT), 2, shuffle=True)
    expected = batches(plain, [0, 1, 2])
    dataset = DetectionDataset(source, NC, SIZE, AUGMENT, cache=cache)
    persistent = make_loader(dataset, 2, workers=2, shuffle=True)
    assert same(batches(persistent, [0, 1, 2]), expected)
    # A run that starts at epoch 2, as after an interruption, and one that goes back.
    per_epoch = len(plain)
    assert same(batches(make_loader(dataset, 2, shuffle=True), [2]), expected[2 * per_epoch :])
    assert same(batches(persistent, [1]), expected[per_epoch : 2 * per_epoch])
    # Negative control: epochs and seeds differ.
    assert not same(expected[:per_epoch], expected[per_epoch : 2 * per_epoch])
    other = DetectionDataset(source, NC, SIZE, AUGMENT, seed=1)
    assert not same(batches(make_loader(other, 2, shuffle=True)), expected[:per_epoch])


@FORK
def test_closing_mosaic_reaches_persistent_workers(source: Path) -> None:
    dataset = DetectionDataset(source, NC, SIZE, AUGMENT)
    loader = make_loader(dataset, 4, workers=1)
    opened = batches(loader)
    loader.set_epoch(0, mosaic=False)
    closed = list(loader)
    assert not same(opened, closed)
    assert torch.equal(closed[0].images[1], dataset[Draw(1, 0, mosaic=False)].image)


def test_global_generators_are_left_alone(source: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    batches(make_loader(DetectionDataset(source, NC, SIZE, AUGMENT), 2, shuffle=True))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()


def test_every_image_once_an_epoch(source: Path) -> None:
    loader = make_loader(DetectionDataset(source, NC, SIZE), 3, shuffle=True)
    orders = [[i for batch in batches(loader, [epoch]) for i in batch.indices] for epoch in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(7))
    assert orders[0] != orders[1]


def test_weighted_sampling(source: Path) -> None:
    dataset = DetectionDataset(source, NC, SIZE, AUGMENT)
    loader = make_loader(dataset, 7, shuffle=True, weights=[0, 0, 1, 0, 0, 3, 0])
    drawn = [i for batch in batches(loader, range(10)) for i in batch.indices]
    assert set(drawn) == {2, 5}
    assert drawn.count(5) > drawn.count(2)
    (batch,) = batches(loader)
    repeated = [place for place, index in enumerate(batch.indices) if index == 5]
    assert not torch.equal(batch.images[repeated[0]], batch.images[repeated[1]])
    assert same(batches(loader), [batch])
    for bad in ([1] * 6, [-1] + [1] * 6, [0] * 7, [float("nan")] * 7):
        with pytest.raises(ValueError, match="weights"):
            make_loader(dataset, 2, weights=bad)


# Rectangular batches


def test_rect_batches_waste_little_and_keep_the_scale(source: Path) -> None:
    square = DetectionDataset(source, NC, (96, 96))
    rect = DetectionDataset(source, NC, (96, 96), rect=True)
    seen = []
    for batch in make_loader(rect, 3):
        h, w = batch.images.shape[2:]
        assert h % 32 == w % 32 == 0
        for place, index in enumerate(batch.indices):
            seen.append(index)
            geometry, whole = batch.geometries[place], square[index].geometry
            assert geometry.scale_yx == whole.scale_yx
            rows = batch.targets[batch.targets[:, 0] == place][:, 2:] * torch.tensor([w, h] * 2)
            corners = torch.cat((rows[:, :2] - rows[:, 2:] / 2, rows[:, :2] + rows[:, 2:] / 2), 1)
            image_h, image_w = rect.samples[index].image_hw
            labels = torch.from_numpy(rect.samples[index].labels)[:, 1:]
            labels = labels * torch.tensor([image_w, image_h] * 2)
            expected = torch.cat(
                (labels[:, :2] - labels[:, 2:] / 2, labels[:, :2] + labels[:, 2:] / 2), 1
            )
            torch.testing.assert_close(geometry.to_image(corners), expected, atol=1e-3, rtol=0)
    assert sorted(seen) == list(range(7))
    shapes = {tuple(batch.images.shape[2:]) for batch in make_loader(rect, 3)}
    assert (96, 96) not in shapes or len(shapes) > 1
    assert sum(h * w for h, w in shapes) < 96 * 96 * len(shapes)


def test_shuffled_rect_batches_only_change_their_order(source: Path) -> None:
    dataset = DetectionDataset(source, NC, SIZE, rect=True)
    still = {tuple(batch.indices) for batch in make_loader(dataset, 2)}
    loader = make_loader(dataset, 2, shuffle=True)
    first, second = batches(loader, [0]), batches(loader, [1])
    assert {tuple(b.indices) for b in first} == {tuple(b.indices) for b in second} == still
    assert [b.indices for b in first] != [b.indices for b in second]
    with pytest.raises(UserError, match="rectangular"):
        make_loader(dataset, 2, weights=[1] * 7)


# Multi-scale


def test_resize_batch_keeps_targets_and_the_way_back(source: Path) -> None:
    batch = next(iter(make_loader(DetectionDataset(source, NC, SIZE), 4)))
    larger = resize_batch(batch, (96, 160))
    assert larger.images.shape == (4, 3, 96, 160)
    assert larger.images.dtype == torch.uint8
    assert larger.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(larger.targets, batch.targets)
    box = torch.tensor([[20.0, 20, 40, 40]])
    torch.testing.assert_close(
        larger.geometries[1].to_image(box * torch.tensor([2.5, 1.5, 2.5, 1.5])),
        batch.geometries[1].to_image(box),
    )
    assert resize_batch(batch, SIZE) is batch
    mean = larger.images.float().mean() - batch.images.float().mean()
    assert abs(mean.item()) < 2


# The cache


def test_cache_too_large_is_refused_with_a_warning(
    source: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    needed = sum(
        3 * h * w for h, w in (DetectionDataset(source, NC, SIZE).content_size(i) for i in range(7))
    )
    for free, warns in ((2 * needed, False), (2 * needed - 2, True)):
        monkeypatch.setattr(cache_module, "free_memory_bytes", lambda free=free: free)
        dataset = DetectionDataset(source, NC, SIZE, cache=True)
        assert ("caching needs" in caplog.text) == warns
        assert len(dataset) == 7
        assert dataset[3].image.shape == (3, *SIZE)


def test_free_memory_is_known_here() -> None:
    free = cache_module.free_memory_bytes()
    assert free is None or free > 1 << 20


def test_cached_images_survive_augmentation_and_files_may_go(tmp_path: Path) -> None:
    path = make_set(tmp_path, 4)
    dataset = DetectionDataset(path, NC, SIZE, AUGMENT, cache=True)
    plain = DetectionDataset(path, NC, SIZE, cache=True)
    before = [plain[i].image.clone() for i in range(4)]
    first = [dataset[i].image.clone() for i in range(4)]
    for image in (tmp_path / "images").iterdir():
        image.unlink()
    assert all(torch.equal(dataset[i].image, first[i]) for i in range(4))
    plain[0].image.fill_(7)  # an item is the caller's own
    assert all(torch.equal(plain[i].image, before[i]) for i in range(4))


@FORK
def test_kept_images_change_no_pixel_and_stay_within_their_bound(source: Path) -> None:
    def loader(keep_bytes: int, workers: int = 0) -> Loader:
        dataset = DetectionDataset(source, NC, SIZE, AUGMENT, keep_bytes=keep_bytes)
        return make_loader(dataset, 2, workers=workers, shuffle=True)

    expected = batches(loader(0), range(3))
    needed = loader(0).dataset.needed_bytes
    for bound in (needed, needed // 3):
        kept = loader(bound)
        assert same(batches(kept, range(3)), expected)
        assert same(batches(loader(bound, workers=2), range(3)), expected)
        held = kept.dataset._contents._kept.bytes
        assert 0 < held <= bound
        assert (held == needed) == (bound == needed)
    # Negative control: a picture that is kept under another's number shows.
    wrong = loader(needed)
    kept_images = wrong.dataset._contents._kept
    kept_images.keep(1, wrong.dataset._contents.load(4)[0].copy())
    wrong.dataset._contents.sizes[1] = wrong.dataset._contents.sizes[4]
    assert not same(batches(wrong, range(3)), expected)


def test_kept_images_need_no_file_and_each_worker_has_its_share(tmp_path: Path) -> None:
    path = make_set(tmp_path, 4)
    dataset = DetectionDataset(path, NC, SIZE, keep_bytes=1 << 20)
    first = [dataset[i].image.clone() for i in range(4)]
    for image in (tmp_path / "images").iterdir():
        image.unlink()
    assert all(torch.equal(dataset[i].image, first[i]) for i in range(4))
    kept = cache_module.KeptImages(100)
    kept.keep(0, np.zeros((2, 5, 3), np.uint8), processes=4)  # 30 of 25
    assert kept.get(0) is None
    kept.keep(0, np.zeros((2, 5, 3), np.uint8), processes=3)
    assert kept.get(0) is not None
    assert kept.bytes == 30


def test_the_bound_is_what_was_asked_or_a_share_of_what_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cache_module, "free_memory_bytes", lambda: 4_000)
    assert cache_module.bound_bytes(None) == 1_000
    assert cache_module.bound_bytes(3) == 3_000_000
    assert cache_module.bound_bytes(0) == 0
    monkeypatch.setattr(cache_module, "free_memory_bytes", lambda: None)
    assert cache_module.bound_bytes(None) == cache_module.DEFAULT_BOUND_MB * 10**6


# Images that turn out not to decode


@pytest.fixture
def truncated(tmp_path: Path) -> Path:
    """Four images, of which number 1 has a sound header and nothing behind it."""
    path = make_set(tmp_path, 4)
    broken = tmp_path / "images" / "1.png"
    broken.write_bytes(broken.read_bytes()[:200])
    return path


@FORK
@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_images_are_left_out_with_one_warning(
    truncated: Path, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = DetectionDataset(truncated, NC, SIZE)
    loader = make_loader(dataset, 1, workers)
    assert [batch.indices for batch in loader] == [[0], [2], [3]]
    assert [batch.indices for batch in loader] == [[0], [2], [3]]
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert f"{truncated}:2" in warnings[0]
    assert len(loader.problems) == 1
    with pytest.raises(UserError, match="not an image that OpenCV can decode"):
        dataset[1]


def test_unreadable_images_stop_a_strict_run(truncated: Path) -> None:
    with pytest.raises(UserError, match="1 problem"):
        list(make_loader(DetectionDataset(truncated, NC, SIZE, strict=True), 4))
    with pytest.raises(UserError, match="1 problem"):
        DetectionDataset(truncated, NC, SIZE, strict=True, cache=True)


def test_mosaics_do_without_an_unreadable_tile(
    truncated: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cached = DetectionDataset(truncated, NC, SIZE, AUGMENT, cache=True)
    assert len(caplog.records) == 1
    loader = make_loader(DetectionDataset(truncated, NC, SIZE, AUGMENT), 4, shuffle=True)
    assert same(batches(loader, range(4)), batches(make_loader(cached, 4, shuffle=True), range(4)))
    assert {len(batch.indices) for batch in batches(loader, range(4))} == {3}
    assert len(loader.problems) == 1


def test_real_photographs_in_mosaics(shared: Path) -> None:
    path = shared / "datasets" / "cards" / "valid.txt"
    dataset = DetectionDataset(path, 6, (160, 160), replace(AUGMENT, degrees=0))
    batch = next(iter(make_loader(dataset, 16, shuffle=True)))
    assert len(batch.targets) > 8
    assert batch.images.float().std() > 20
