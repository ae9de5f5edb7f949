"""The SSD augmentations, one after the other."""

from chainer_ssd.transforms._plan import ViewTransform
from chainer_ssd.transforms.crop_transform import CropTransform
from chainer_ssd.transforms.distort_transform import DistortTransform
from chainer_ssd.transforms.expand_transform import ExpandTransform
from chainer_ssd.transforms.flip_transform import FlipTransform
from chainer_ssd.transforms.random_resize_transform import RandomResizeTransform


class Augmentation(ViewTransform):
    """Random transforms in a row, for :class:`RandomTransformDataset`.

    The steps agree on what will be seen before a pixel is touched, and only that is made: several
    times as fast as the same steps called one by one, and the same to look at (a step that scales
    rounds the edges of the image to whole pixels).

    Parameters
    ----------
    *steps : DistortTransform, ExpandTransform, CropTransform, RandomResizeTransform, ...
        In their order. Colours are distorted before the image is laid on a ground, wherever that
        stands; of several distortions, and of several sizes, the last counts.
    """

    def __init__(self, *steps):
        self.steps = steps

    def look(self, view, random):
        """See :class:`ViewTransform`."""
        for step in self.steps:
            view = step.look(view, random)
        return view


class SSDAugmentation(Augmentation):
    """The training set of the SSD paper: distort, expand, crop, resize, flip.

    Parameters
    ----------
    size : int
        Height and width of the result, in pixels: a model's ``insize``.
    fill : (float, float, float)
        RGB round an expanded image, see :class:`ExpandTransform`.

    Notes
    -----
    Liu et al. (2016), sections 2.2 and 3.6. What ChainerCV's SSD example does to an example, save
    that a crop suits some box here, as in the paper's Caffe code, and every box there.
    """

    def __init__(self, size, fill=(123, 117, 104)):
        super().__init__(
            DistortTransform(),
            ExpandTransform(fill=fill),
            CropTransform(),
            RandomResizeTransform(size),
            FlipTransform(),
        )
