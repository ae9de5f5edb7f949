"""The paper's two models, with ChainerCV's parameter names."""

import os

import numpy as np

from chainer_ssd._extras import require
from chainer_ssd.links.multibox import Multibox
from chainer_ssd.links.multibox_coder import MultiboxCoder
from chainer_ssd.links.ssd import SSD
from chainer_ssd.links.vgg16_extractor import VGG16Extractor
from chainer_ssd.ops import SSD300_SPEC, SSD512_SPEC

_MEAN = 123, 117, 104  # RGB, of ImageNet
_HALVE = 3, 2, 1  # kernel, stride, padding
_PUBLISHED = 'https://chainercv-models.preferred.jp/'


class _SSDVGG16(SSD):
    def __init__(self, n_fg_class, pretrained_model, box_scale, insize, spec, extras):
        super().__init__(n_fg_class, insize, MultiboxCoder(**spec), box_scale)
        with self.init_scope():
            self.extractor = VGG16Extractor(extras)
            self.multibox = Multibox(n_fg_class + 1, self.extractor.channels, spec['aspect_ratios'])
        if pretrained_model is not None:
            load_weights(self, pretrained_model)

    def _forward(self, imgs):
        mean = self.xp.array(_MEAN, imgs.dtype).reshape(3, 1, 1)
        return self.multibox(self.extractor(imgs - mean))

    @staticmethod
    def _resize(img, size):
        # Bilinear, as what the published weights were measured with.
        if img.shape[1:] == size:
            return img
        pixels = require('cv2', 'data').resize(
            np.ascontiguousarray(img.transpose(1, 2, 0)), size[::-1]
        )
        return pixels.transpose(2, 0, 1)


class SSD300(_SSDVGG16):
    """The paper's SSD with an input of 300 x 300 pixels and 8,732 default boxes.

    ``model(imgs)`` takes float32 (B, 3, 300, 300), RGB, 0..255, and returns ``mb_locs``
    (B, 8732, 4) and the logits ``mb_confs`` (B, 8732, n_fg_class + 1); the mean (123, 117, 104) is
    subtracted inside, where ChainerCV's users subtract it before. :meth:`predict` takes images of
    any size and scales them bilinearly.

    Parameters
    ----------
    n_fg_class : int
        Number of classes without background.
    pretrained_model : str or path, optional
        An npz file: the weights of a whole model, or those of VGG-16 alone; then the rest starts
        from random weights. ChainerCV's ``ssd300_voc0712_converted_2017_06_06.npz`` (20 classes)
        and ``ssd_vgg16_imagenet_converted_2017_06_09.npz`` (VGG-16) fit, and what
        ``chainer.serializers.save_npz(path, model)`` wrote. Nothing is downloaded.

    Attributes
    ----------
    coder : MultiboxCoder
        Default boxes, encoding and decoding.
    insize, n_fg_class : int
        300; as given.
    nms_thresh, score_thresh : float
        What :meth:`predict` decodes with, see :meth:`use_preset`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If ``n_fg_class`` is below 1, if the file is no npz, or if weights are missing or of
        another shape.

    Notes
    -----
    Liu et al. (2016), section 3 and figure 2. Names, shapes and order of the parameters are
    ChainerCV 0.13's (``extractor/conv1_1/W``, …, ``multibox/conf/5/b``), and so are the outputs for
    the same weights; boxes that :meth:`predict` finds are cut off at the image's borders.

    Random weights are Chainer's and ChainerCV's: LeCun's, normal in VGG-16 and uniform elsewhere,
    biases of 0, a scale of 20 after ``conv4_3``. They are meant for fine-tuning: VGG-16 has no
    normalisation and learns slowly from them. The paper and ChainerCV's example train with
    ``MomentumSGD(1e-3)``, gradients of biases doubled and a weight decay of 5e-4 on the rest::

        def double(rule, param):
            param.grad *= 2

        for param in model.params():
            param.update_rule.add_hook(
                double if param.name == 'b' else chainer.optimizer_hooks.WeightDecay(5e-4))

    To take all but the classes from a model of other classes::

        chainer.serializers.load_npz(
            path, model, ignore_names=lambda name: name.startswith('multibox/conf/'))
    """

    def __init__(self, n_fg_class, pretrained_model=None, box_scale=1):
        super().__init__(
            n_fg_class,
            pretrained_model,
            box_scale,
            300,
            SSD300_SPEC,
            extras=(
                (256, 512, *_HALVE),
                (128, 256, *_HALVE),
                (128, 256, 3, 1, 0),
                (128, 256, 3, 1, 0),
            ),
        )


class SSD512(_SSDVGG16):
    """The paper's SSD with an input of 512 x 512 pixels and 24,564 default boxes.

    ``model(imgs)`` takes float32 (B, 3, 512, 512), RGB, 0..255, and returns ``mb_locs``
    (B, 24564, 4) and the logits ``mb_confs`` (B, 24564, n_fg_class + 1); the rest is as in
    :class:`SSD300`.

    Parameters
    ----------
    n_fg_class : int
        Number of classes without background.
    pretrained_model : str or path, optional
        An npz file, as in :class:`SSD300`; of ChainerCV's
        ``ssd512_voc0712_converted_2017_06_06.npz`` (20 classes) and
        ``ssd_vgg16_imagenet_converted_2017_06_09.npz`` (VGG-16) fit.

    Attributes
    ----------
    coder, insize, n_fg_class, nms_thresh, score_thresh
        As in :class:`SSD300`.

    Raises
    ------
    FileNotFoundError, ValueError
        As :class:`SSD300`.
    """

    def __init__(self, n_fg_class, pretrained_model=None, box_scale=1):
        super().__init__(
            n_fg_class,
            pretrained_model,
            box_scale,
            512,
            SSD512_SPEC,
            extras=(
                (256, 512, *_HALVE),
                (128, 256, *_HALVE),
                (128, 256, *_HALVE),
                (128, 256, *_HALVE),
                (128, 256, 4, 1, 1),
            ),
        )


def load_weights(model, path):
    """Loads a whole model, or VGG-16 alone; all or nothing, and no pickles.

    Parameters
    ----------
    model : SSD300 or SSD512
        What takes the weights.
    path : str or path
        An npz file. What the model has no name for is left alone, as ChainerCV does.

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
            f'pretrained_model = {path!r}: expected the path of an npz file; '
            f'ChainerCV published {_PUBLISHED}{name}'
        )
    path = os.fspath(path)
    params = {name.lstrip('/'): param for name, param in model.namedparams()}
    with open(path, 'rb') as file:
        try:
            with np.load(file, allow_pickle=False) as npz:
                weights = {name: npz[name] for name in params if name in npz}
        except Exception as error:  # what is torn, or no npz, raises what it likes
            raise ValueError(f'{path}: expected an npz file of weights: {error}') from error

    whole = any(name.startswith('multibox/') for name in weights)
    for name, param in params.items():
        if name in weights:
            if weights[name].shape != param.shape:
                raise ValueError(
                    f'{path}: {name} has shape {weights[name].shape}: '
                    f'expected {param.shape} of {type(model).__name__}'
                    f'(n_fg_class={model.n_fg_class})'
                )
        elif whole or name.startswith(_VGG16):
            raise ValueError(
                f'{path}: {name} is missing: expected the weights of '
                f'{type(model).__name__}, or of VGG-16 alone'
            )
    for name, weight in weights.items():
        params[name].array[...] = model.xp.asarray(weight)


_VGG16 = tuple(f'extractor/conv{i}' for i in ('1_', '2_', '3_', '4_', '5_', '6/', '7/'))
