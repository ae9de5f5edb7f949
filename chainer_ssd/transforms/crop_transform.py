"""Larger objects, and parts of them."""

import numbers

import numpy as np

from chainer_ssd.ops import bbox_iou
from chainer_ssd.transforms._plan import ViewTransform


class CropTransform(ViewTransform):
    """Cuts a random part out of an example that still shows an object.

    One of ``min_ious`` is picked and up to ``trials`` parts are tried; if none will do, another is
    picked. A part will do if the centre of a box lies in it and its IoU with a box reaches the
    minimum. Boxes whose centre lies outside are lost, the others are clipped. In an image without
    boxes every part will do. If all fails, the example stays whole.

    For :class:`RandomTransformDataset`, alone or as a step of :class:`Augmentation`.

    Parameters
    ----------
    min_ious : sequence of float or None
        Least IoU of the part with a box; None: the whole example. A minimum of 0 leaves only the
        centre to be asked for.
    scale : (float, float)
        Square root of the part's share of the area, least and greatest.
    max_aspect_ratio : float
        The greatest ratio of the sides' shares, either way.
    trials : int
        Parts tried for each minimum.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    Liu et al. (2016), section 2.2, "Data augmentation", and its Caffe code's ``batch_sampler``,
    which tries all minima and picks one of those that succeeded: the same distribution.
    """

    def __init__(
        self,
        min_ious=(None, 0, 0.1, 0.3, 0.5, 0.7, 0.9),
        scale=(0.3, 1),
        max_aspect_ratio=2,
        trials=50,
    ):
        for value in min_ious:
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f'min_ious holds {value!r}: expected None or numbers in [0, 1]')
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f'scale = {scale}: expected 0 < least <= greatest <= 1')
        if not 1 <= max_aspect_ratio < np.inf:
            raise ValueError(f'max_aspect_ratio = {max_aspect_ratio!r}: expected a number >= 1')
        if not isinstance(trials, numbers.Integral) or trials < 1:
            raise ValueError(f'trials = {trials!r}: expected a positive integer')
        self.min_ious, self.scale = tuple(min_ious), scale
        self.max_aspect_ratio, self.trials = max_aspect_ratio, trials

    def look(self, view, random):
        """See :class:`ViewTransform`."""
        for pick in random.permutation(len(self.min_ious)):
            if self.min_ious[pick] is None:
                break
            part = self._try(view, self.min_ious[pick], random.random((self.trials, 4)))
            if part is not None:
                view = view._replace(window=part)
                break
        return view.keep(_inside(view.bbox, view.window))

    def _try(self, view, min_iou, share):
        """The first part that will do, (y, x, height, width)."""
        scale = self.scale[0] + share[:, 0] * (self.scale[1] - self.scale[0])
        # No side is longer than the example's: scale² <= aspect ratio <= 1 / scale².
        least = np.maximum(1 / self.max_aspect_ratio, scale**2)
        aspect_ratio = least + share[:, 1] * (1 / least - least)
        size = np.stack((scale / np.sqrt(aspect_ratio), scale * np.sqrt(aspect_ratio)), axis=1)
        size = np.maximum((size * view.window[2:]).astype(int), 1)
        start = (share[:, 2:] * (np.subtract(view.window[2:], size) + 1)).astype(int)
        parts = np.concatenate((start + view.window[:2], size), axis=1)
        if len(view.bbox):
            corners = np.concatenate((parts[:, :2], parts[:, :2] + size), axis=1)
            will_do = (bbox_iou(corners.astype(np.float64), view.bbox) >= min_iou).any(axis=1)
            will_do &= _inside(view.bbox, parts[:, None]).any(axis=1)
            parts = parts[will_do]
        return tuple(parts[0].tolist()) if len(parts) else None


def _inside(bbox, window):
    # Whether the centres of bbox (R, 4) lie in window (..., 4).
    center = (bbox[:, :2] + bbox[:, 2:]) / 2
    start = np.asarray(window)[..., :2]
    return ((start <= center) & (center < start + np.asarray(window)[..., 2:])).all(axis=-1)
