"""What every SSD does, whatever its layers are."""

import chainer
import chainer.functions as F
import numpy as np

from chainer_ssd._options import check_positive_number
from chainer_ssd.images import resize_image

_SCORE_THRESH = {'visualize': 0.6, 'evaluate': 0.01}


class SSD(chainer.Chain):
    """A network with default boxes; what inherits from it has its layers in ``_forward``.

    ``_forward(imgs)`` takes what :meth:`forward` takes, of the right shape, and returns what that
    returns.

    Parameters
    ----------
    n_fg_class : int
        Number of classes without background.
    insize : int
        Height and width of the input in pixels.
    coder : MultiboxCoder
        The default boxes, in pixels of the input.

    Attributes
    ----------
    n_fg_class, insize, coder
        As given. The coder stays on the CPU, where examples are encoded and detections decoded.
    nms_thresh, score_thresh : float
        What :meth:`predict` decodes with, see :meth:`use_preset`.

    Raises
    ------
    ValueError
        If ``n_fg_class`` is below 1.
    """

    def __init__(self, n_fg_class, insize, coder, box_scale=1):
        if n_fg_class < 1:
            raise ValueError(f'n_fg_class = {n_fg_class}: expected 1 or more')
        super().__init__()
        self.n_fg_class, self.insize, self.coder = n_fg_class, insize, coder
        self.box_scale = check_positive_number('box_scale', box_scale)
        coder.default_bbox[:, 2:] *= np.float32(box_scale)
        self.label_names = None
        self.use_preset('visualize')

    def forward(self, imgs):
        """Predicts offsets and logits.

        Parameters
        ----------
        imgs : chainer.Variable or float array of shape (B, 3, insize, insize)
            RGB, 0..255; cast to the dtype of the weights, which is what ``chainer.config.dtype``
            was when the model was made (float16 for ``mixed16``).

        Returns
        -------
        mb_locs : chainer.Variable of shape (B, K, 4)
            (dy, dx, dh, dw) for each default box of ``coder``, in the dtype of the weights.
        mb_confs : chainer.Variable of shape (B, K, n_fg_class + 1)
            Logits, background first, in the same.

        Raises
        ------
        TypeError
            If the images are not floats.
        ValueError
            If the images have another shape.
        """
        if imgs.dtype.kind != 'f':
            raise TypeError(f'imgs has dtype {imgs.dtype}: expected float32')
        if imgs.shape[1:] != (3, self.insize, self.insize):
            raise ValueError(
                f'imgs has shape {imgs.shape}: expected (B, 3, {self.insize}, {self.insize})'
            )
        # Under mixed16 normalisations hold float32, and only they.
        dtype = min((param.dtype for param in self.params()), key=lambda dtype: dtype.itemsize)
        return self._forward(F.cast(imgs, dtype))

    def use_preset(self, preset):
        """Chooses which detections :meth:`predict` returns.

        Parameters
        ----------
        preset : {'visualize', 'evaluate'}
            'visualize': scores of 0.6 and more; 'evaluate': of 0.01 and more, for the average
            precision needs the unlikely ones too. Both suppress at an IoU of 0.45.

        Raises
        ------
        ValueError
            If there is no such preset.
        """
        if preset not in _SCORE_THRESH:
            raise ValueError(f'preset = {preset!r}: expected one of {tuple(_SCORE_THRESH)}')
        self.nms_thresh, self.score_thresh = 0.45, _SCORE_THRESH[preset]

    def predict(self, imgs):
        """Detects the objects of a batch of images, always in test mode.

        Parameters
        ----------
        imgs : sequence of arrays of shape (3, H, W)
            RGB, 0..255, on the CPU, of any sizes and dtypes; scaled to ``insize`` without keeping
            the aspect ratio.

        Returns
        -------
        bboxes : list of float32 arrays of shape (R, 4)
            (y_min, x_min, y_max, x_max) in pixels of each image, not beyond its borders.
        labels : list of int32 arrays of shape (R,)
            Foreground classes, counted from 0.
        scores : list of float32 arrays of shape (R,)
            Softmax scores.

        Raises
        ------
        ValueError
            If an image has another shape; the message says which.
        ImportError
            If an image must be scaled and OpenCV is missing (``pip install "chainer_ssd[data]"``).
        """
        if not len(imgs):
            return [], [], []
        shapes = [np.shape(img) for img in imgs]
        for i, shape in enumerate(shapes):
            if len(shape) != 3 or shape[0] != 3 or 0 in shape:
                raise ValueError(f'imgs[{i}] has shape {shape}: expected (3, H, W)')
        x = np.stack(
            [self._resize(np.asarray(img, np.float32), (self.insize, self.insize)) for img in imgs]
        )
        with chainer.using_config('train', False), chainer.no_backprop_mode():
            outputs = self(self.device.send(x))
        # The CPU decodes: what is left after the threshold is little.
        mb_locs, mb_confs = (chainer.get_device('@numpy').send(y.array) for y in outputs)
        bboxes, labels, scores = [], [], []
        for shape, mb_loc, mb_conf in zip(shapes, mb_locs, mb_confs):
            bbox, label, score = self.coder.decode(
                mb_loc, mb_conf, self.nms_thresh, self.score_thresh
            )
            size = np.array(shape[1:] * 2, np.float32)
            bboxes.append(np.clip(bbox * (size / np.float32(self.insize)), 0, size))
            labels.append(label)
            scores.append(score)
        return bboxes, labels, scores

    _resize = staticmethod(resize_image)
