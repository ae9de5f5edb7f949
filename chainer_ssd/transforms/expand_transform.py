"""Smaller objects."""

import numpy as np

from chainer_ssd.transforms._plan import ViewTransform


class ExpandTransform(ViewTransform):
    """Lays every second example somewhere on a larger ground.

    For :class:`RandomTransformDataset`, alone or as a step of :class:`Augmentation`.

    Parameters
    ----------
    max_ratio : float
        The ground is 1 to so many times as high and as wide as the image.
    fill : (float, float, float)
        Its colour, RGB; the mean of the training set is usual. No colour distortion touches it.
    probability : float
        That an example is laid on a ground at all.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    The "zoom out" of Liu et al. (2016), section 3.6.
    """

    def __init__(self, max_ratio=4, fill=(123, 117, 104), probability=0.5):
        if not 1 <= max_ratio < np.inf:
            raise ValueError(f'max_ratio = {max_ratio!r}: expected a number >= 1')
        if np.shape(fill) != (3,) or not np.isfinite(fill).all():
            raise ValueError(f'fill = {fill!r}: expected three finite numbers')
        if not 0 <= probability <= 1:
            raise ValueError(f'probability = {probability!r}: expected a number in [0, 1]')
        self.max_ratio, self.fill, self.probability = max_ratio, tuple(fill), probability

    def look(self, view, random):
        """See :class:`ViewTransform`; four numbers are drawn."""
        chosen, *share = random.random(4)
        if chosen >= self.probability:
            return view
        ratio = 1 + share[0] * (self.max_ratio - 1)
        y, x, height, width = view.window
        wide = int(height * ratio), int(width * ratio)
        window = (
            y - int(share[1] * (wide[0] - height + 1)),
            x - int(share[2] * (wide[1] - width + 1)),
            *wide,
        )
        return view._replace(window=window, fill=self.fill)
