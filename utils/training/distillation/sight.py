"""How large a teacher sees the images that its student trains on: `--t-img-size`."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import interpolate

from ...command.errors import UserError
from ...network.darknet import Network
from ...network.layers.strides import neighbours

Size = tuple[int, int]


@dataclass(frozen=True)
class Sight:
    """factor: sides of the teacher's input by those of the student's; stride: of the teacher."""

    factor: float = 1.0
    stride: int = 1

    @staticmethod
    def of(teacher: Network, student_hw: Size) -> Sight:
        """Of a teacher that was built for its size. Raises UserError for one that does not fit."""
        height, width = teacher.img_size
        stride = teacher.stride
        for side in (height, width):
            if side % stride:
                near = " or ".join(map(str, neighbours(side, stride)))
                raise UserError(
                    f"--t-img-size: the teacher sees {width}x{height}, but needs multiples of "
                    f"{stride}, its stride: {near}, not {side}"
                )
        if height * student_hw[1] != width * student_hw[0]:
            raise UserError(
                f"--t-img-size {height} {width}: has another shape than the student's input, "
                f"{student_hw[0]} {student_hw[1]}: the teacher would see all things distorted"
            )
        return Sight(height / student_hw[0], stride)

    def size(self, img_hw: Size) -> Size:
        """(height, width) at which the teacher sees images of this size: a multiple of its stride.

        With --multi-scale and --rect sizes change from batch to batch.
        """
        height, width = (
            max(self.stride, round(side * self.factor / self.stride) * self.stride)
            for side in img_hw
        )
        return height, width

    def of_images(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) of the student, as the teacher sees them."""
        size = self.size((images.shape[2], images.shape[3]))
        if size == tuple(images.shape[2:]):
            return images
        return interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)


SAME = Sight()
