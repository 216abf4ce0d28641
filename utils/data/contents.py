"""The images of a data set at their size within the network input, from disk or from RAM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch.utils.data import get_worker_info

from .cache import ImageCache, KeptImages, fits_in_memory
from .images import Size, UnreadableImageError, best_reduction, read_image
from .letterbox import Geometry, content_geometry, resize
from .options import OUR_FEEDING, Feeding, Fit, fitted_size
from .pixels import ByteArray
from .problems import Problem
from .samples import Sample


class Contents:
    """Reads images resized to fit `img_size` (height, width), without padding."""

    def __init__(
        self,
        samples: Sequence[Sample],
        img_size: Size,
        fit: Fit,
        channels: int = 3,
        keep_bytes: int = 0,
        feeding: Feeding = OUR_FEEDING,
    ) -> None:
        """`keep_bytes`: how much of what is read stays in RAM."""
        self._feeding = feeding
        self.channels = channels
        self.samples = samples
        self.sizes = [fitted_size(one.image_hw, img_size, fit, feeding) for one in samples]
        self._cache: ImageCache | None = None
        self._kept = KeptImages(keep_bytes)

    @property
    def needed_bytes(self) -> int:
        """What all images take at their size within the input."""
        return sum(self.channels * h * w for h, w in self.sizes)

    def load(self, index: int) -> tuple[ByteArray, Geometry]:
        """(h, w, channels), RGB for 3, read-only, and its geometry. Raises UnreadableImageError."""
        sample, size = self.samples[index], self.sizes[index]
        how = self._feeding
        reduction = best_reduction(sample.path, sample.image_hw, size) if how.reduced else 1
        image = (self._cache or self._kept).get(index)
        if image is None:
            image = resize(_decode(sample, reduction, self.channels), size, how.area)
            worker = get_worker_info()
            self._kept.keep(index, image, 1 if worker is None else worker.num_workers)
        return image, content_geometry(sample.image_hw, size, reduction)

    def problem(self, index: int, error: UnreadableImageError) -> Problem:
        """`error`, raised by `load(index)`, with the place that names the image."""
        sample = self.samples[index]
        return Problem(sample.where, f"{sample.path}: {error}")

    def cache(self, source: str | Path) -> dict[int, Problem]:
        """Keep all images in RAM if they fit in half of what is free, else warn and do nothing.

        Returns the images that turned out not to open, by index.
        """
        if not fits_in_memory(self.sizes, source, self.channels):
            return {}
        problems: dict[int, Problem] = {}

        def load(index: int) -> ByteArray | None:
            try:
                return self.load(index)[0]
            except UnreadableImageError as error:
                problems[index] = self.problem(index, error)
                return None

        self._kept = KeptImages(0)
        cache = ImageCache(self.sizes, self.channels)
        cache.fill(load)
        self._cache = cache
        return dict(sorted(problems.items()))


def _decode(sample: Sample, reduction: int, channels: int) -> ByteArray:
    image = read_image(sample.path, reduction, channels)
    expected = tuple(-(-side // reduction) for side in sample.image_hw)
    if image.shape[:2] != expected:
        raise UnreadableImageError(
            f"decodes to {image.shape[1]}x{image.shape[0]} pixels, "
            f"but its header led to expect {expected[1]}x{expected[0]}"
        )
    return image
