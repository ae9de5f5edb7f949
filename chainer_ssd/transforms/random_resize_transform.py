"""One size, scaled in one of several ways."""

from chainer_ssd._extras import require
from chainer_ssd.transforms._plan import ViewTransform
from chainer_ssd.transforms.resize_transform import check_size

_INTERPOLATIONS = ('LINEAR', 'AREA', 'NEAREST', 'CUBIC', 'LANCZOS4')


class RandomResizeTransform(ViewTransform):
    """Scales an example to one size by an interpolation chosen at random.

    For :class:`RandomTransformDataset`, alone or as a step of :class:`Augmentation`. So that a
    network does not come to know a filter; :class:`ResizeTransform` always takes the same.

    Parameters
    ----------
    size : int
        Height and width of the result, in pixels: a model's ``insize``.

    Raises
    ------
    ValueError
        If ``size`` is not a positive integer.

    Notes
    -----
    Of OpenCV's bilinear, area, nearest, bicubic and Lanczos filters, as in the Caffe code of Liu et
    al. (2016).
    """

    def __init__(self, size):
        self.size = check_size(size)

    def look(self, view, random):
        """See :class:`ViewTransform`; one number is drawn."""
        cv2 = require('cv2', 'data')
        name = _INTERPOLATIONS[int(random.random() * len(_INTERPOLATIONS))]
        return view._replace(
            size=(self.size, self.size), interpolation=getattr(cv2, f'INTER_{name}')
        )
