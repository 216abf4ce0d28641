"""The images of the embedded data set, their labels, and its files in Darknet's layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ...command.errors import UserError

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Generator = np.random.Generator

NAMES = ("disc", "triangle", "star")
MARKER = ".made-by-shapes.json"
VALID_EVERY = 5
NEGATIVE_SHARE = 0.08
RADIUS_SHARE = (0.085, 0.24)  # of the image's longer side
MAX_OBJECTS = 5
MIN_VISIBLE = 0.6  # of an object, after the image's border and later objects cut into it
MIN_CONTRAST = 80.0  # distance in RGB between an object's colour and what lies under it
OUTLINE_SHADE = 0.35


@dataclass(frozen=True)
class Drawing:
    """One image, RGB (h, w, 3), and its labels (n, 5): class, xc, yc, w, h normalised."""

    image: Bytes
    labels: Floats


@dataclass
class Scene:
    """A picture under way: image (h, w, 3), the object each pixel shows (-1: none), whole areas."""

    image: Bytes
    owners: npt.NDArray[np.int16]
    areas: list[float]


# Outlines: (n, 2) points x, y around the origin, within the unit circle.


def disc(rng: Generator) -> Floats:
    """A circle or a mild ellipse."""
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    flat = rng.uniform(0.75, 1)
    return np.stack((np.cos(angles), flat * np.sin(angles)), axis=1).astype(np.float32)


def triangle(rng: Generator) -> Floats:
    """Three corners on the circle, no two of them close."""
    angles = np.arange(3) * 2 * np.pi / 3 + rng.uniform(-0.3, 0.3, 3)
    return np.stack((np.cos(angles), np.sin(angles)), axis=1).astype(np.float32)


def star(rng: Generator) -> Floats:
    """Five points."""
    angles = np.arange(10) * np.pi / 5
    radii = np.where(np.arange(10) % 2, rng.uniform(0.38, 0.5), 1.0)
    return np.stack((radii * np.cos(angles), radii * np.sin(angles)), axis=1).astype(np.float32)


def bar(rng: Generator) -> Floats:
    """A rectangle; a distractor."""
    flat = rng.uniform(0.15, 0.9)
    return np.array([(-1, -flat), (1, -flat), (1, flat), (-1, flat)], np.float32) * 0.75


def cross(rng: Generator) -> Floats:
    """A plus sign; a distractor."""
    t = rng.uniform(0.2, 0.35)
    arm = [(t, -1), (t, -t), (1, -t), (1, t), (t, t), (t, 1)]
    return np.array(arm + [(-x, -y) for x, y in arm], np.float32) * 0.9


def half_disc(rng: Generator) -> Floats:
    """Half of a disc; a distractor."""
    angles = np.linspace(0, np.pi, 24)
    outline = np.stack((np.cos(angles), np.sin(angles)), axis=1) - (0, 0.4)
    return (outline * rng.uniform(0.8, 1)).astype(np.float32)


OBJECTS: tuple[Callable[[Generator], Floats], ...] = (disc, triangle, star)
DISTRACTORS: tuple[Callable[[Generator], Floats], ...] = (bar, cross, half_disc)


def draw(seed: int, number: int, img_size: int) -> Drawing:
    """Image `number` of the set."""
    rng = np.random.default_rng((seed, number))
    h, w = img_size, img_size
    form = rng.integers(3)  # square, landscape, portrait
    h, w = (h, w) if form == 0 else (round(h * 0.75), w) if form == 1 else (h, round(w * 0.75))
    scene = Scene(_background(rng, h, w), np.full((h, w), -1, np.int16), [])
    for _ in range(rng.integers(0, 4)):
        place(rng, scene, DISTRACTORS[rng.integers(3)], is_object=False)
    labels: list[tuple[float, ...]] = []
    count = 0 if rng.random() < NEGATIVE_SHARE else int(rng.integers(1, MAX_OBJECTS + 1))
    for _ in range(count):
        kind = int(rng.integers(len(OBJECTS)))
        box = place(rng, scene, OBJECTS[kind])
        if box is not None:
            labels.append((kind, *box))
    return Drawing(_camera(rng, scene.image), np.array(labels, np.float32).reshape(-1, 5))


def _background(rng: Generator, h: int, w: int) -> Bytes:
    """A gradient, soft clouds and lines."""
    first, second = rng.uniform(10, 190, (2, 3)).astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    along = np.float32(np.cos(angle) / w) * x + np.float32(np.sin(angle) / h) * y
    share = ((along - along.min()) / np.ptp(along))[..., None]
    clouds = rng.normal(0, rng.uniform(4, 20), (*rng.integers(3, 14, 2), 3)).astype(np.float32)
    image = first * (1 - share) + second * share
    image += cv2.resize(clouds, (w, h), interpolation=cv2.INTER_CUBIC)
    picture: Bytes = np.clip(image, 0, 255).astype(np.uint8)
    for _ in range(rng.integers(0, 6)):
        ends = rng.uniform(-0.1, 1.1, (2, 2)) * (w, h)
        cv2.line(
            picture,
            tuple(map(int, ends[0])),
            tuple(map(int, ends[1])),
            tuple(rng.uniform(0, 255, 3).tolist()),
            int(rng.integers(1, 4)),
            cv2.LINE_AA,
        )
    return picture


def place(
    rng: Generator, scene: Scene, outline: Callable[[Generator], Floats], is_object: bool = True
) -> tuple[float, float, float, float] | None:
    """Draw one shape; its box (xc, yc, w, h, normalised to the image).

    None, and nothing drawn, when no free place was found in a few tries.
    """
    h, w = scene.owners.shape
    low, high = np.log(np.array(RADIUS_SHARE) * max(h, w))
    for _ in range(12):
        radius, turn = np.exp(rng.uniform(low, high)), rng.uniform(0, 2 * np.pi)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        centre = rng.uniform(0.04, 0.96, 2) * (w, h)
        points = outline(rng) @ rotation.T * radius + centre
        mask = _mask(points, h, w)
        shape, area = mask > 127, float(cv2.contourArea(points.astype(np.float32)))
        if not _is_free(scene, shape, area):
            continue
        _paint(rng, scene.image, mask)
        if is_object:
            scene.owners[shape] = len(scene.areas)
            scene.areas.append(area)
        (x1, y1), (x2, y2) = points.min(0).clip(0), points.max(0).clip(0, (w, h))
        return (x1 + x2) / 2 / w, (y1 + y2) / 2 / h, (x2 - x1) / w, (y2 - y1) / h
    return None


def _mask(points: npt.NDArray[np.float64], h: int, w: int) -> Bytes:
    """Smooth-edged coverage 0..255 of a polygon; pixel i covers [i, i + 1)."""
    mask: Bytes = np.zeros((h, w), np.uint8)
    shift = 4
    fixed = np.rint((points - 0.5) * (1 << shift)).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, shift)
    return mask


def _is_free(scene: Scene, shape: npt.NDArray[np.bool_], area: float) -> bool:
    """Whether enough of the shape is within the image, and of each object below stays visible."""
    if shape.sum() < MIN_VISIBLE * area:
        return False
    covered = scene.owners[shape]
    return all(
        (scene.owners == below).sum() - (covered == below).sum() >= MIN_VISIBLE * scene.areas[below]
        for below in np.unique(covered[covered >= 0])
    )


def _paint(rng: Generator, image: Bytes, mask: Bytes) -> None:
    """Fill the masked part of `image` with a texture that stands out, within a dark outline."""
    x, y, w, h = cv2.boundingRect(mask)
    thickness = max(1, round(max(image.shape) / 160))
    inner = np.asarray(cv2.erode(mask, np.ones((3, 3)), iterations=thickness), np.uint8)
    place = np.s_[y : y + h, x : x + w]
    part, cover, inside = image[place], _share(mask[place]), _share(inner[place])
    under = (part * cover).sum((0, 1)) / max(float(cover.sum()), 1.0)
    colour = rng.uniform(90, 255, 3)
    while np.linalg.norm(colour - under) < MIN_CONTRAST:
        colour = rng.uniform(90, 255, 3)
    fill = _texture(rng, colour, h, w) * (OUTLINE_SHADE + (1 - OUTLINE_SHADE) * inside)
    part[:] = np.clip(part * (1 - cover) + fill * cover, 0, 255).astype(np.uint8)


def _share(mask: Bytes) -> Floats:
    """Coverage 0..1, (h, w, 1)."""
    return np.asarray(mask[..., None] / np.float32(255), np.float32)


def _texture(rng: Generator, colour: npt.NDArray[np.float64], h: int, w: int) -> Floats:
    """(h, w, 3): plain, shaded, striped, chequered or noisy."""
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 12)
    along = np.cos(angle) * x + np.sin(angle) * y
    across = np.cos(angle) * y - np.sin(angle) * x
    kind = rng.integers(5)
    if kind == 0:
        pattern = np.zeros((h, w), np.float32)
    elif kind == 1:
        pattern = along / max(h, w) - 0.5
    elif kind == 2:
        pattern = np.sign(np.sin(along * 2 * np.pi / period))
    elif kind == 3:
        pattern = np.sign(np.sin(along * np.pi / period) * np.sin(across * np.pi / period))
    else:
        pattern = rng.standard_normal((h, w), np.float32) * np.float32(0.7)
    return (colour + rng.uniform(10, 35) * pattern[..., None]).astype(np.float32)


def _camera(rng: Generator, image: Bytes) -> Bytes:
    """Some blur and sensor noise."""
    blurred: Bytes = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.1)), np.uint8)
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(1, 9))
    return np.asarray(np.clip(blurred + noise, 0, 255), np.uint8)


def make_shapes(
    output: Path, images: int, seed: int = 0, img_size: int = 320, overwrite: bool = False
) -> None:
    """Write the data set into `output`. Raises UserError for a folder that is someone else's."""
    _claim(output, overwrite)
    lists: dict[str, list[str]] = {"train": [], "valid": []}
    for number in range(images):
        drawing = draw(seed, number, img_size)
        # One image in seven is lossless; negatives come with an empty label file or with none.
        name = f"shape_{number:05d}.{'png' if number % 7 == 3 else 'jpg'}"
        quality = [cv2.IMWRITE_JPEG_QUALITY, 75 + number % 20] if name.endswith("jpg") else []
        bgr = cv2.cvtColor(drawing.image, cv2.COLOR_RGB2BGR)
        (output / "images" / name).write_bytes(
            cv2.imencode(Path(name).suffix, bgr, quality)[1].tobytes()
        )
        rows = [f"{int(row[0])} " + " ".join(f"{v:.6f}" for v in row[1:]) for row in drawing.labels]
        if rows or number % 2:
            label = (output / "labels" / name).with_suffix(".txt")
            label.write_text("".join(f"{row}\n" for row in rows))
        lists["valid" if number % VALID_EVERY == VALID_EVERY - 1 else "train"].append(name)
    for which, names in lists.items():
        (output / f"{which}.txt").write_text("".join(f"images/{name}\n" for name in names))
    (output / "shapes.names").write_text("".join(f"{name}\n" for name in NAMES))
    (output / "shapes.data").write_text(
        f"classes={len(NAMES)}\ntrain=train.txt\nvalid=valid.txt\nnames=shapes.names\nbackup=backup/\n"
    )
    settings = {"images": images, "seed": seed, "img_size": img_size}
    (output / MARKER).write_text(json.dumps(settings) + "\n")


def _claim(output: Path, overwrite: bool) -> None:
    """Make the folders; clear images and labels of an earlier run, and nothing else."""
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file; --output needs a folder")
    ours = (output / MARKER).exists()
    if output.is_dir() and any(output.iterdir()) and not (ours or overwrite):
        raise UserError(
            f"{output}: holds files that this program did not make; choose another --output, "
            "or add --overwrite"
        )
    try:
        for folder in ("images", "labels"):
            (output / folder).mkdir(parents=True, exist_ok=True)
        (output / MARKER).touch()
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror})") from None
    for pattern in ("images/shape_*.png", "images/shape_*.jpg", "labels/shape_*.txt"):
        for old in output.glob(pattern):
            old.unlink()
