"""A detection task that needs no download."""

import operator

import chainer
import numpy as np

_N_CORNER = {'circle': 0, 'square': 4, 'triangle': 3}
_RADIUS = 0.08, 0.24  # of the circumscribed circle, as shares of the image
_MAX_SHARED = 0.2  # of the smaller of two boxes
_MIN_CONTRAST = 90  # distance in RGB between an object and its ground


class ShapesBboxDataset(chainer.dataset.DatasetMixin):
    """Circles, squares and triangles on a textured ground, drawn when they are asked for.

    Item i is ``(img, bbox, label)``:

    ``img``: float32 (3, size, size), RGB, whole numbers in 0..255;
    ``bbox``: float32 (R, 4), (y_min, x_min, y_max, x_max), the first and last row and column of
    pixels that the object covers, 0-based, as in Pascal VOC; 1 <= R <= ``max_objects``;
    ``label``: int32 (R,), positions in ``label_names``.

    Item i depends on ``size``, ``max_objects``, ``seed`` and i alone. Colour, size, turn and
    place say nothing about the class, and there are lines, rings and soft blobs that are no
    objects. No object is cut off by the border, each stands out from its ground, and two boxes
    share at most a fifth of the smaller.

    Parameters
    ----------
    length : int
        Number of images.
    size : int
        Height and width in pixels, 32 or more.
    seed : int
        0 <= seed < 2**32. Images to test on come from another seed than those to train on.
    max_objects : int
        The most objects in an image.

    Attributes
    ----------
    label_names : tuple of str
        ``('circle', 'square', 'triangle')``.

    Raises
    ------
    TypeError
        If an argument is not an integer.
    ValueError
        If an argument is out of its range.
    """

    label_names = tuple(_N_CORNER)

    def __init__(self, length, size=128, seed=0, max_objects=5):
        self._length = _integer('length', length, 1, 2**32)
        self._size = _integer('size', size, 32, 2**14)
        self._seed = _integer('seed', seed, 0, 2**32 - 1)
        self._max_objects = _integer('max_objects', max_objects, 1, 100)

    def __len__(self):
        return self._length

    def get_annotation(self, i):
        """Item ``i`` without its image, which is not drawn.

        Parameters
        ----------
        i : int
            Which item.

        Returns
        -------
        tuple
            ``(bbox, label)``.
        """
        return _annotation(self._place_objects(self._random_state(i)))

    def get_example(self, i):
        """Item ``i``; see the class.

        Parameters
        ----------
        i : int
            Which item.

        Returns
        -------
        tuple
            ``(img, bbox, label)``.
        """
        random = self._random_state(i)
        objects = self._place_objects(random)
        img = _draw_ground(random, self._size)
        _draw_clutter(random, img)
        for _, cover, window, _ in objects:
            _paint(random, img, cover, window, _MIN_CONTRAST)
        # grain, a share of the noise of each pixel and channel
        grain = np.frombuffer(random.bytes(img.size), dtype=np.uint8).reshape(img.shape)
        img += (grain - np.float32(127.5)) * np.float32(random.uniform(0.02, 0.2))
        np.clip(np.rint(img, out=img), 0, 255, out=img)
        return (img, *_annotation(objects))

    def _random_state(self, i):
        # RandomState, for its stream is the same in every release of NumPy.
        return np.random.RandomState([self._seed, range(self._length)[i]])

    def _place_objects(self, random):
        """Label, cover, window and box of each object."""
        objects = []
        n_object = random.randint(1, self._max_objects + 1)
        for _ in range(4 * n_object):
            label = random.randint(len(self.label_names))
            radius = self._size * np.exp(random.uniform(*np.log(_RADIUS)))
            center = random.uniform(radius + 1, self._size - radius - 2, 2)
            turn = random.uniform(0, 2 * np.pi)
            y, x, window = _around(center, radius, self._size)
            cover = _cover(_distance(y, x, radius, _N_CORNER[self.label_names[label]], turn))
            bbox = _bounds(cover, window)
            if all(_shared(bbox, other) <= _MAX_SHARED for *_, other in objects):
                objects.append((label, cover, window, bbox))
            if len(objects) == n_object:
                break
        return objects


def _integer(name, value, low, high):
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f'{name} = {value!r}: expected an integer') from None
    if not low <= number <= high:
        raise ValueError(f'{name} = {number}: expected {low} to {high}')
    return number


def _annotation(objects):
    return (
        np.array([bbox for *_, bbox in objects], dtype=np.float32),
        np.array([label for label, *_ in objects], dtype=np.int32),
    )


def _around(center, radius, size):
    """Rows (h, 1) and columns (1, w) seen from ``center``, and the window of the image there."""
    first = np.maximum(np.floor(center - radius - 1), 0).astype(int)
    last = np.minimum(np.ceil(center + radius + 1), size - 1).astype(int)
    rows, columns = (np.arange(a, b + 1) for a, b in zip(first, last))
    y, x = (rows - center[0])[:, None], (columns - center[1])[None]
    return y, x, (slice(None), slice(first[0], last[0] + 1), slice(first[1], last[1] + 1))


def _distance(y, x, radius, n_corner, turn):
    """Pixels to the edge of a disc, or of a regular polygon in it; negative inside."""
    if n_corner == 0:
        return np.hypot(y, x) - radius
    # max over the sides of n · (y, x), less the inscribed circle's radius
    angle = turn + 2 * np.pi / n_corner * np.arange(n_corner)[:, None, None]
    return (np.sin(angle) * y + np.cos(angle) * x).max(axis=0) - radius * np.cos(np.pi / n_corner)


def _cover(distance):
    """How much of each pixel lies inside, in [0, 1]."""
    return np.clip(0.5 - distance, 0, 1).astype(np.float32)


def _bounds(cover, window):
    inside = cover >= 0.5
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    top, left = window[1].start, window[2].start
    return top + rows[0], left + columns[0], top + rows[-1], left + columns[-1]


def _shared(a, b):
    """The part of the smaller of two boxes that lies in the other."""
    height = min(a[2], b[2]) - max(a[0], b[0]) + 1
    width = min(a[3], b[3]) - max(a[1], b[1]) + 1
    smaller = min((c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b))
    return max(height, 0) * max(width, 0) / smaller


def _draw_ground(random, size):
    """A colour, a slow change of light and a texture: noise on coarse grids, interpolated."""
    img = np.empty((3, size, size), dtype=np.float32)
    img[:] = random.uniform(40, 215, (3, 1, 1))
    for n_cell, contrast in ((3, 60), (random.randint(8, 24), 40)):
        # hat[p, c] = max(0, 1 − |u_p − c|), so that hat · grid · hatᵀ is bilinear
        u = np.linspace(0, n_cell - 1, size)[:, None]
        hat = np.maximum(0, 1 - np.abs(u - np.arange(n_cell))).astype(np.float32)
        grid = random.uniform(-contrast, contrast, (3, n_cell, n_cell)).astype(np.float32)
        img += hat @ grid @ hat.T
    return img


def _draw_clutter(random, img):
    size = img.shape[1]
    for _ in range(random.randint(1, 4)):
        y, x, window, radius = _somewhere(random, size)
        blob = np.exp(-4 * (y**2 + x**2) / radius**2).astype(np.float32)
        _paint(random, img, blob, window)
    for _ in range(random.randint(0, 3)):
        y, x, window, radius = _somewhere(random, size)
        ring = np.abs(_distance(y, x, radius, 0, 0)) - random.uniform(0.5, 1.5)
        _paint(random, img, _cover(ring), window)
    for _ in range(random.randint(1, 4)):
        y, x, window, radius = _somewhere(random, size)
        turn = random.uniform(0, np.pi)
        across = np.abs(np.sin(turn) * y + np.cos(turn) * x) - random.uniform(0.5, 1.5)
        _paint(random, img, _cover(np.maximum(across, np.hypot(y, x) - radius)), window)


def _somewhere(random, size):
    radius = size * random.uniform(*_RADIUS)
    return (*_around(random.uniform(0, size - 1, 2), radius, size), radius)


def _paint(random, img, cover, window, min_contrast=0):
    """Lays a colour over the image that is ``min_contrast`` from what lies below, if it can."""
    below = img[window]
    colors = random.uniform(0, 255, (8, 3)).astype(np.float32)
    mean = (below * cover).sum(axis=(1, 2)) / cover.sum()
    contrast = np.sqrt(((colors - mean) ** 2).sum(axis=1))
    color = colors[np.minimum(contrast, min_contrast).argmax()]
    below += cover * (color[:, None, None] - below)
