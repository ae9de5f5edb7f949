"""Drawing of shapes, backgrounds and distractors with antialiased edges.

Positions are in pixels. A *window* is the part of an image (3, H, W) that a shape can touch, as
slices. *Coverage* is the fraction of each pixel of the window that lies inside the shape.
"""

from __future__ import annotations

import numpy as np

#: Minimum and maximum radius of the circumscribed circle, as fractions of the image.
RADIUS_RANGE = (0.08, 0.24)

Window = tuple[slice, slice, slice]


def locate(center: np.ndarray, radius: float, size: int) -> tuple[np.ndarray, np.ndarray, Window]:
    """Return offsets y (h, 1) and x (1, w) from a centre, and the window that they belong to."""
    first = np.maximum(np.floor(center - radius - 1), 0).astype(int)
    last = np.minimum(np.ceil(center + radius + 1), size - 1).astype(int)
    rows, columns = (np.arange(a, b + 1) for a, b in zip(first, last))
    y, x = (rows - center[0])[:, None], (columns - center[1])[None]
    return y, x, (slice(None), slice(first[0], last[0] + 1), slice(first[1], last[1] + 1))


def signed_distance(
    y: np.ndarray, x: np.ndarray, radius: float, n_corner: int, angle: float
) -> np.ndarray:
    """Return the distance of points from the edge of a shape, negative inside.

    The shape is a disc if ``n_corner`` is 0, else a regular polygon inscribed in it.
    """
    if n_corner == 0:
        return np.hypot(y, x) - radius
    # max over the sides of n · (y, x) - r, with the normal n of a side and the radius r of the
    # inscribed circle
    normal = angle + 2 * np.pi / n_corner * np.arange(n_corner)[:, None, None]
    projection = (np.sin(normal) * y + np.cos(normal) * x).max(axis=0)
    return projection - radius * np.cos(np.pi / n_corner)


def to_coverage(distance: np.ndarray) -> np.ndarray:
    """Return the coverage of pixels from the signed distances of their centres."""
    return np.clip(0.5 - distance, 0, 1).astype(np.float32)


def draw_background(random: np.random.RandomState, size: int) -> np.ndarray:
    """Return an image of one colour with smooth shading and a finer texture.

    Both are random values on coarse grids, interpolated bilinearly.
    """
    img = np.empty((3, size, size), dtype=np.float32)
    img[:] = random.uniform(40, 215, (3, 1, 1))
    for n_cell, contrast in ((3, 60), (random.randint(8, 24), 40)):
        # hat[p, c] = max(0, 1 - |u_p - c|), so hat · grid · hatᵀ is bilinear interpolation.
        u = np.linspace(0, n_cell - 1, size)[:, None]
        hat = np.maximum(0, 1 - np.abs(u - np.arange(n_cell))).astype(np.float32)
        grid = random.uniform(-contrast, contrast, (3, n_cell, n_cell)).astype(np.float32)
        img += hat @ grid @ hat.T
    return img


def draw_distractors(random: np.random.RandomState, img: np.ndarray) -> None:
    """Draw soft blobs, rings and lines on an image. They are no objects."""
    size = img.shape[1]
    for _ in range(random.randint(1, 4)):
        y, x, window, radius = _locate_at_random(random, size)
        blob = np.exp(-4 * (y**2 + x**2) / radius**2).astype(np.float32)
        paint(random, img, blob, window)
    for _ in range(random.randint(0, 3)):
        y, x, window, radius = _locate_at_random(random, size)
        ring = np.abs(signed_distance(y, x, radius, 0, 0)) - random.uniform(0.5, 1.5)
        paint(random, img, to_coverage(ring), window)
    for _ in range(random.randint(1, 4)):
        y, x, window, radius = _locate_at_random(random, size)
        angle = random.uniform(0, np.pi)
        line = np.abs(np.sin(angle) * y + np.cos(angle) * x) - random.uniform(0.5, 1.5)
        paint(random, img, to_coverage(np.maximum(line, np.hypot(y, x) - radius)), window)


def paint(
    random: np.random.RandomState,
    img: np.ndarray,
    coverage: np.ndarray,
    window: Window,
    min_contrast: float = 0,
) -> None:
    """Paint a shape in a random colour.

    The colour is the first of 8 random ones whose RGB distance from the mean below the shape is at
    least ``min_contrast``. If there is none, it is the most distant one.
    """
    below = img[window]
    colors = random.uniform(0, 255, (8, 3)).astype(np.float32)
    mean = (below * coverage).sum(axis=(1, 2)) / coverage.sum()
    contrast = np.sqrt(((colors - mean) ** 2).sum(axis=1))
    color = colors[np.minimum(contrast, min_contrast).argmax()]
    below += coverage * (color[:, None, None] - below)


def add_noise(random: np.random.RandomState, img: np.ndarray) -> None:
    """Add uniform noise to each pixel and channel, with one random amplitude for the image."""
    noise = np.frombuffer(random.bytes(img.size), dtype=np.uint8).reshape(img.shape)
    img += (noise - np.float32(127.5)) * np.float32(random.uniform(0.02, 0.2))


def _locate_at_random(
    random: np.random.RandomState, size: int
) -> tuple[np.ndarray, np.ndarray, Window, float]:
    radius = size * random.uniform(*RADIUS_RANGE)
    return (*locate(random.uniform(0, size - 1, 2), radius, size), radius)
