"""Lines of text as a camera sees them: rendered in many faces, then tilted, blurred, unevenly lit and noisy."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from tools.models.recipes.packages import Package, read_member

if TYPE_CHECKING:
    from pathlib import Path

CALADEA = Package("font-caladea==0.0.2", "eab5b77f1da830226524f419d16d4bc4cb5b68d2de0f47ef83760a8b202e94bc")
HANKEN = Package("font-hanken-grotesk==0.0.2", "7c3609e9bcdc2c9550b2a3baaed937eb7598fc1034e7df1ebcc4eb5489fa86f9")
MANROPE = Package("font-manrope==0.0.2", "2ca9192f3602a3459323dfd7447c8c5ffa0795696c62fac465ef7c9b0521d292")
SOURCE = Package("font-source-serif-pro==0.0.1", "38dd9a8d8027d22aa8ef2d10d27d7c558701b32772ff9f3790f509577e91dca4")
FACES = (  # Caladea: Apache-2.0; the others: SIL Open Font License 1.1
    *((CALADEA, f"font_caladea/files/Caladea-{face}.ttf") for face in ("Regular", "Italic", "Bold")),
    *((HANKEN, f"font_hanken_grotesk/files/HankenGrotesk-{face}.otf") for face in ("Light", "Regular", "BoldItalic")),
    *((MANROPE, f"font_manrope/files/Manrope-{face}.ttf") for face in ("ExtraLight", "Regular", "ExtraBold")),
    *((SOURCE, f"font_source_serif_pro/files/SourceSerifPro-{face}.ttf") for face in ("Regular", "LightIt", "Black")),
)
HEIGHT, WIDTH = 48, 320


def load_faces(downloads: Path) -> list[bytes]:
    """Return the font files; each package is downloaded once."""
    packages = {package.requirement: package for package, _ in FACES}
    archives = {requirement: package.fetch(downloads) for requirement, package in packages.items()}
    return [read_member(archives[package.requirement], name) for package, name in FACES]


def make_text(words: list[str], random: np.random.Generator) -> str:
    """Return a piece of a real sentence, or one of the things with digits that people photograph."""
    number = int(random.integers(10, 99_999))
    day, month, year = int(random.integers(1, 29)), int(random.integers(1, 13)), int(random.integers(1950, 2030))
    choices = (
        f"{day:02}.{month:02}.{year}",
        f"No. {number}-{chr(65 + number % 26)}{day}",
        f"Total: ${number / 100:.2f}",
        f"+{month} ({number:05}) {year}-{day:02}",
        f"{words[0]}{year}@{words[1]}.org",
    )
    if random.random() < 0.25:
        return str(random.choice(choices))
    return " ".join(words[: random.integers(2, 5)])[: random.integers(14, 27)].strip()


def render(text: str, face: bytes, random: np.random.Generator) -> np.ndarray:
    """Draw `text` and disturb it: uint8 [48, at most 320, 3]."""
    size = int(random.integers(18, 44))
    font = ImageFont.truetype(io.BytesIO(face), size)
    left, top, right, bottom = font.getbbox(text)
    margin = int(random.integers(1, 6))
    extent = (int(right - left) + 2 * margin, int(bottom - top) + 2 * margin)
    paper = np.clip(random.integers(120, 240) + random.integers(-20, 21, 3), 0, 255)
    contrast = random.uniform(0.4, 0.95)
    ink = paper * (1 - contrast)
    if random.random() < 0.3:
        paper, ink = ink, paper
    mask = Image.new("L", extent, 0)
    ImageDraw.Draw(mask).text((margin - left, margin - top), text, fill=255, font=font)
    mask = mask.rotate(random.uniform(-2.0, 2.0), Image.Resampling.BICUBIC, expand=True)
    mask = mask.filter(ImageFilter.GaussianBlur(random.uniform(0.0, 0.035) * size))
    cover = np.asarray(mask, np.float64)[..., None] / 255
    pixels = paper * (1 - cover) + ink * cover
    light = 1 + np.linspace(-1, 1, pixels.shape[1])[None, :, None] * random.uniform(-0.25, 0.25)
    pixels = pixels * light + random.normal(0, random.uniform(2, 16), pixels.shape)
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    width = min(WIDTH, max(1, round(image.width * HEIGHT / image.height)))
    return np.asarray(image.resize((width, HEIGHT), Image.Resampling.BILINEAR))
