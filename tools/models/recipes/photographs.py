"""Real photographs that come with Python packages, cut into many different views."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tools.models.recipes.packages import Package, read_member

if TYPE_CHECKING:
    from pathlib import Path

FOOLBOX = Package("foolbox==3.3.4", "11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb")  # MIT
IMGAUG = Package("imgaug==0.4.0", "ce61e65b4eb7405fc62c1b0a79d2fa92fd47f763aaecb65152d29243592111f9")  # MIT
SCIKIT_IMAGE = Package(  # BSD-3-Clause; photographs in the public domain or CC0
    "scikit-image==0.26.0",
    "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    built_for="manylinux_2_28_x86_64",
)
SCIKIT_LEARN = Package(  # BSD-3-Clause; photographs CC BY 2.0, by "the whole" and by danielbuechele on Flickr
    "scikit-learn==1.9.1",
    "52a0703bbc07ad27f560fa63fa68e4c54dd735bfbbf65b4dd3c225dc7547b6df",
    built_for="manylinux_2_28_x86_64",
)

EVALUATION = (
    *(
        (FOOLBOX, f"foolbox/data/imagenet_{number:02}_{label}.jpg")
        for number, label in enumerate(
            (243, 559, 438, 990, 949, 853, 609, 609, 915, 455, 541, 630, 741, 471, 129, 99, 251, 22, 317, 305)
        )
    ),
    (SCIKIT_IMAGE, "skimage/data/coffee.png"),
    (IMGAUG, "imgaug/quokka.jpg"),
)
"""22 photographs; where the name ends in a number, that is the ImageNet class."""

CALIBRATION = (
    *(
        (SCIKIT_IMAGE, f"skimage/data/{name}")
        for name in ("astronaut.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png", "camera.png", "coins.png")
    ),
    (SCIKIT_LEARN, "sklearn/datasets/images/china.jpg"),
    (SCIKIT_LEARN, "sklearn/datasets/images/flower.jpg"),
)
"""8 other photographs."""

SIZE = 224
SHORT_SIDE = 256
LEAST_AREA = 0.4


def photographs(chosen: tuple[tuple[Package, str], ...], downloads: Path) -> list[Image.Image]:
    """Return the photographs in RGB; each package is downloaded once."""
    archives: dict[str, Path] = {}
    images: list[Image.Image] = []
    for package, name in chosen:
        archive = archives.get(package.requirement) or package.fetch(downloads)
        archives[package.requirement] = archive
        images.append(Image.open(io.BytesIO(read_member(archive, name))).convert("RGB"))
    return images


def imagenet_class(name: str) -> int:
    """Return the class in the photograph's file name, or -1."""
    ending = name.rsplit(".", 1)[0].rsplit("_", 1)[-1]
    return int(ending) if ending.isdigit() else -1


def centre_view(image: Image.Image) -> np.ndarray:
    """Scale the short side to 256 and cut the middle 224 x 224, as in ImageNet evaluation: uint8 [224, 224, 3]."""
    scale = SHORT_SIDE / min(image.size)
    width, height = (round(side * scale) for side in image.size)
    left, top = (width - SIZE) // 2, (height - SIZE) // 2
    scaled = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(scaled.crop((left, top, left + SIZE, top + SIZE)))


def random_view(image: Image.Image, random: np.random.Generator) -> np.ndarray:
    """Cut a part of 40 to 100 % of the area, sides as 3:4 to 4:3, mirrored half of the time.

    Returns:
        uint8 [224, 224, 3].
    """
    width, height = image.size
    area = width * height * random.uniform(LEAST_AREA, 1.0)
    aspect = np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3)))
    wide, high = min(width, int(np.sqrt(area * aspect))), min(height, int(np.sqrt(area / aspect)))
    left, top = random.integers(0, width - wide + 1), random.integers(0, height - high + 1)
    view = image.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=(left, top, left + wide, top + high))
    pixels = np.asarray(view)
    return pixels[:, ::-1] if random.random() < 0.5 else pixels


def views(image: Image.Image, count: int, random: np.random.Generator) -> list[np.ndarray]:
    """Return the middle and `count` - 1 random parts of a photograph."""
    return [centre_view(image), *(random_view(image, random) for _ in range(count - 1))]
