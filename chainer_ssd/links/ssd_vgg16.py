"""The paper's two models, with ChainerCV's parameter names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import chainer

from chainer_ssd._array import Array
from chainer_ssd._files import read_npz
from chainer_ssd.images import resize_image
from chainer_ssd.links.multibox import Multibox
from chainer_ssd.links.multibox_coder import MultiboxCoder
from chainer_ssd.links.ssd import SSD
from chainer_ssd.links.vgg16_extractor import VGG16Extractor
from chainer_ssd.links.weights import (
    load_arrays,
    missing_fully_connected,
    read_weights,
    values_of,
)
from chainer_ssd.ops import SSD300_SPEC, SSD512_SPEC

_MEAN = 123, 117, 104  # RGB, of ImageNet
_HALVE = 3, 2, 1  # kernel, stride, padding
_PUBLISHED = 'https://chainercv-models.preferred.jp/'
_FIRST_CLASS_BIAS, _MAX_BIAS_BYTES = 'multibox/conf/0/b', 1 << 20
_VGG16 = tuple(f'extractor/conv{i}' for i in ('1_', '2_', '3_', '4_', '5_', '6/', '7/'))


class _SSDVGG16(SSD):
    class_layers = ('multibox/conf/',)
    #: Layers in a file of VGG-16 alone. It may lack conv6 and conv7.
    backbone_layers = _VGG16
    stages = tuple(
        tuple(f'extractor/conv{i}_{j}' for j in range(1, n_conv + 1))
        for i, n_conv in enumerate((2, 2, 3, 3, 3), 1)
    )

    def __init__(
        self,
        n_fg_class: int | None,
        pretrained_model: str | os.PathLike[str] | None,
        box_scale: float,
        insize: int,
        spec: dict[str, Any],
        extras: Sequence[tuple[int, int, int, int, int]],
    ) -> None:
        if n_fg_class is None:
            n_fg_class = _count_classes(pretrained_model, spec)
        super().__init__(n_fg_class, insize, MultiboxCoder(**spec), box_scale)
        with self.init_scope():
            self.extractor = VGG16Extractor(extras)
            self.multibox = Multibox(n_fg_class + 1, self.extractor.channels, spec['aspect_ratios'])
        if pretrained_model is not None:
            load_vgg16_weights(pretrained_model, self)

    def forward_layers(self, imgs: chainer.Variable) -> tuple[chainer.Variable, chainer.Variable]:
        mean = self.xp.array(_MEAN, imgs.dtype).reshape(3, 1, 1)
        return self.multibox(self.extractor(imgs - mean, self.run_stage))

    @staticmethod
    def _resize(img: Array, size: tuple[int, int]) -> Array:
        return resize_image(img, size, 'linear')  # as for the published weights


class SSD300(_SSDVGG16):
    """The paper's SSD with an input of 300 x 300 pixels and 8,732 default boxes.

    ``model(imgs)`` takes float32 (B, 3, 300, 300), RGB, 0 to 255. It returns ``mb_locs``
    (B, 8732, 4) and the logits ``mb_confs`` (B, 8732, n_fg_class + 1). The mean (123, 117, 104)
    is subtracted inside, where ChainerCV's users subtract it before. :meth:`predict` takes images
    of any size and scales them bilinearly.

    Parameters
    ----------
    n_fg_class : int or None
        Number of classes without background. None: that of the whole model in
        ``pretrained_model``.
    pretrained_model : str or path, optional
        npz file with the weights of a whole model, or of VGG-16 alone. In the second case the
        rest starts from random weights. So do ``conv6`` and ``conv7`` with a warning, if the file
        holds the 13 convolutions alone. It may be ChainerCV's
        ``ssd300_voc0712_converted_2017_06_06.npz`` (20 classes), its
        ``ssd_vgg16_imagenet_converted_2017_06_09.npz`` (VGG-16), or a file that
        ``chainer.serializers.save_npz(path, model)`` wrote. Nothing is downloaded, and no file is
        unpickled.
    box_scale : float
        Factor on the height and width of all default boxes.

    Attributes
    ----------
    coder : MultiboxCoder
        Default boxes, encoding and decoding.
    insize : int
        300.
    n_fg_class, box_scale
        As given.
    nms_thresh, score_thresh : float
        Thresholds of :meth:`predict`, see :meth:`use_preset`.
    label_names : tuple of str or None
        Class names, set by :func:`chainer_ssd.load_detector`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError, ValueError
        If ``n_fg_class`` or ``box_scale`` is not valid, if the file is no npz, or if weights are
        missing or have another shape.

    Notes
    -----
    Liu et al. (2016), section 3 and figure 2. Names, shapes and order of the parameters are those
    of ChainerCV 0.13 (``extractor/conv1_1/W``, …, ``multibox/conf/5/b``). The same weights give
    the same outputs. Boxes of :meth:`predict` are clipped to the image, unlike ChainerCV's.

    Random weights are those of Chainer and ChainerCV: LeCun's, normal in VGG-16 and uniform
    elsewhere, zero biases, a scale of 20 after ``conv4_3``. They are meant for fine-tuning. VGG-16
    has no normalization and learns slowly from them.

    The paper and ChainerCV's example train with ``MomentumSGD(1e-3)``. They double the gradients
    of biases and use a weight decay of 5e-4 on the other parameters::

        def double(rule, param):
            param.grad *= 2

        for param in model.params():
            param.update_rule.add_hook(
                double if param.name == 'b' else chainer.optimizer_hooks.WeightDecay(5e-4))
    """

    def __init__(
        self,
        n_fg_class: int | None,
        pretrained_model: str | os.PathLike[str] | None = None,
        box_scale: float = 1,
    ) -> None:
        extras = (
            (256, 512, *_HALVE),
            (128, 256, *_HALVE),
            (128, 256, 3, 1, 0),
            (128, 256, 3, 1, 0),
        )
        super().__init__(n_fg_class, pretrained_model, box_scale, 300, SSD300_SPEC, extras)


class SSD512(_SSDVGG16):
    """The paper's SSD with an input of 512 x 512 pixels and 24,564 default boxes.

    ``model(imgs)`` takes float32 (B, 3, 512, 512), RGB, 0 to 255. It returns ``mb_locs``
    (B, 24564, 4) and the logits ``mb_confs`` (B, 24564, n_fg_class + 1). Everything else is as in
    :class:`SSD300`.

    Parameters
    ----------
    n_fg_class : int or None
        Number of classes without background, as for :class:`SSD300`.
    pretrained_model : str or path, optional
        npz file, as for :class:`SSD300`. ChainerCV's
        ``ssd512_voc0712_converted_2017_06_06.npz`` (20 classes) and
        ``ssd_vgg16_imagenet_converted_2017_06_09.npz`` (VGG-16) fit.
    box_scale : float
        Factor on the height and width of all default boxes.

    Attributes
    ----------
    coder, insize, n_fg_class, box_scale, nms_thresh, score_thresh, label_names
        As in :class:`SSD300`.

    Raises
    ------
    FileNotFoundError, TypeError, ValueError
        As :class:`SSD300`.
    """

    def __init__(
        self,
        n_fg_class: int | None,
        pretrained_model: str | os.PathLike[str] | None = None,
        box_scale: float = 1,
    ) -> None:
        extras = (
            (256, 512, *_HALVE),
            (128, 256, *_HALVE),
            (128, 256, *_HALVE),
            (128, 256, *_HALVE),
            (128, 256, 4, 1, 1),
        )
        super().__init__(n_fg_class, pretrained_model, box_scale, 512, SSD512_SPEC, extras)


def _count_classes(path: str | os.PathLike[str] | None, spec: dict[str, Any]) -> int:
    """Return the number of foreground classes of the whole model in a file."""
    if path is None:
        raise ValueError('n_fg_class = None: expected an integer, or the weights of a whole model')
    bias = read_npz(path, {_FIRST_CLASS_BIAS}, _MAX_BIAS_BYTES).get(_FIRST_CLASS_BIAS)
    n_box = 2 + 2 * len(spec['aspect_ratios'][0])
    if bias is None or bias.ndim != 1 or len(bias) < 2 * n_box or len(bias) % n_box:
        raise ValueError(
            f'n_fg_class = None: expected an integer, because {os.fspath(path)} does not hold '
            f'the {_FIRST_CLASS_BIAS} of a whole model'
        )
    return len(bias) // n_box - 1


def load_vgg16_weights(path: str | os.PathLike[str], model: _SSDVGG16) -> None:
    """Load the weights of a whole model, or of VGG-16 alone.

    Parameters
    ----------
    path : str or path
        npz file, see :func:`chainer_ssd.links.load_weights`.
    model : SSD300 or SSD512
        Receives the weights.

    Raises
    ------
    FileNotFoundError, ValueError
        As :class:`SSD300`.
    """
    if path in ('voc0712', 'imagenet'):
        name = (
            f'ssd{model.insize}_voc0712_converted_2017_06_06.npz'
            if path == 'voc0712'
            else 'ssd_vgg16_imagenet_converted_2017_06_09.npz'
        )
        raise ValueError(
            f'pretrained_model = {path!r}: expected the path of an npz file. '
            f'ChainerCV published {_PUBLISHED}{name}'
        )
    path = os.fspath(path)
    values = values_of(model)
    arrays = read_weights(path, values)
    rest = {name for name in values if not name.startswith(model.backbone_layers)}
    kept = set() if rest & arrays.keys() else rest
    load_arrays(arrays, model, kept | missing_fully_connected(arrays, kept, path), path)
