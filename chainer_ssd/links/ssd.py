"""The base of all SSDs: input checks, presets and detection."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import chainer
import chainer.functions as F
import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._options import check_choice, check_integer, check_positive_number
from chainer_ssd._validation import check_image, check_pixel_range
from chainer_ssd.images import resize_image

#: Larger inputs need more memory for one image than any machine has.
MAX_INSIZE = 8192
#: The largest detectors have some thousands of classes. SSD512 then has 6 GB of weights.
MAX_CLASSES = 10_000
_SCORE_THRESH = {'visualize': 0.6, 'evaluate': 0.01}


class SSD(chainer.Chain):
    """Base of a network with default boxes, for a backbone of your own.

    A subclass makes its layers in ``__init__`` and computes them in :meth:`forward_layers`. The
    base checks the images, scales them for :meth:`predict`, decodes and suppresses.

    Parameters
    ----------
    n_fg_class : int
        Number of classes without background.
    insize : int
        Height and width of the input in pixels.
    coder : MultiboxCoder
        The default boxes, in pixels of the input.
    box_scale : float
        Factor on the height and width of all default boxes of ``coder``.

    Attributes
    ----------
    n_fg_class, insize, coder, box_scale
        As given. The coder stays on the CPU, where examples are encoded and detections decoded.
    class_layers : tuple of str
        Beginnings of the names of all parameters whose shape depends on the number of classes. A
        subclass sets it, so that :func:`chainer_ssd.links.load_pretrained` knows what to keep.
    joint_heads : tuple of str
        Those of them whose first axis holds, for each default box, 4 offsets and then the logits.
        Without them, the first axis holds the logits of each default box.
    stages : tuple of tuples of str
        For each stage of the backbone, from the input on, the names of its links. Used by
        :meth:`freeze`.
    n_frozen : int
        Number of stages that are not trained.
    nms_thresh, score_thresh : float
        Thresholds of :meth:`predict`, see :meth:`use_preset`.
    nms_top_k, keep_top_k : int or None
        Limits of :meth:`predict`, see :meth:`MultiboxCoder.decode`. None, the initial value, is no
        limit. No preset changes them.
    label_names : tuple of str or None
        Class names, set by :func:`chainer_ssd.load_detector`.

    Raises
    ------
    TypeError, ValueError
        If ``n_fg_class`` is not an integer from 1 to 10,000, or ``insize`` is not one from 1 to
        8192. If ``box_scale`` is not a number above 0, or gives boxes without a finite area.

    Notes
    -----
    ``docs/how-to/custom-backbone.md`` has a complete example.
    """

    class_layers: tuple[str, ...] = ()
    joint_heads: tuple[str, ...] = ()
    stages: tuple[tuple[str, ...], ...] = ()

    def __init__(self, n_fg_class: int, insize: int, coder: Any, box_scale: float = 1) -> None:
        n_fg_class = check_integer('n_fg_class', n_fg_class, 1, MAX_CLASSES)
        insize = check_integer('insize', insize, 1, MAX_INSIZE)
        check_positive_number('box_scale', box_scale)
        super().__init__()
        self.n_fg_class, self.insize, self.box_scale = n_fg_class, insize, box_scale
        self.coder = copy.copy(coder)  # another model may have the same one
        self.coder.default_bbox = coder.default_bbox.copy()
        _scale_default_boxes(self.coder.default_bbox, box_scale)
        self.label_names: tuple[str, ...] | None = None
        self.nms_top_k: int | None = None
        self.keep_top_k: int | None = None
        self.n_frozen = 0
        self.use_preset('visualize')

    def forward(self, imgs: Any) -> tuple[chainer.Variable, chainer.Variable]:
        """Predict offsets and logits.

        Parameters
        ----------
        imgs : chainer.Variable or float array of shape (B, 3, insize, insize)
            RGB, 0 to 255. They are cast to the dtype of the weights. That is what
            ``chainer.config.dtype`` was when the model was created (float16 for ``mixed16``).

        Returns
        -------
        mb_locs : chainer.Variable of shape (B, K, 4)
            (dy, dx, dh, dw) for each default box of ``coder``, in the dtype of the weights.
        mb_confs : chainer.Variable of shape (B, K, n_fg_class + 1)
            Logits, background first, in the same dtype.

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
        # Under mixed16 only the normalizations hold float32.
        dtype = min((param.dtype for param in self.params()), key=lambda dtype: dtype.itemsize)
        return self.forward_layers(F.cast(imgs, dtype))

    def forward_layers(self, imgs: chainer.Variable) -> tuple[chainer.Variable, chainer.Variable]:
        """Compute the layers. A subclass defines this method.

        Parameters
        ----------
        imgs : chainer.Variable of shape (B, 3, insize, insize)
            RGB, 0 to 255, in the dtype of the weights. The shape is checked.

        Returns
        -------
        mb_locs, mb_confs : chainer.Variable
            What :meth:`forward` returns. :class:`chainer_ssd.links.Multibox` computes both from
            feature maps.
        """
        raise NotImplementedError(f'{type(self).__name__} does not define forward_layers')

    def freeze(self, n_stage: int) -> None:
        """Keep the weights of the first stages as they are. Call it after ``optimizer.setup``.

        Their normalizations use the running statistics and do not change them. No gradient is
        computed for these stages, so a training step takes less time.

        Parameters
        ----------
        n_stage : int
            Number of stages, from the input on. 0: all layers are trained.

        Raises
        ------
        TypeError, ValueError
            If ``n_stage`` is not an integer from 0 to the number of ``stages``.
        """
        self.n_frozen = check_integer('n_stage', n_stage, 0, len(self.stages))
        frozen = set(map(id, self.frozen_params()))
        for param in self.params():
            if param.update_rule is not None:
                param.update_rule.enabled = id(param) not in frozen

    def frozen_params(self) -> list[chainer.Parameter]:
        """Return the parameters of the stages that are not trained.

        Returns
        -------
        list of chainer.Parameter
            Empty if no stage is frozen.
        """
        names = tuple(f'/{name}/' for stage in self.stages[: self.n_frozen] for name in stage)
        return [param for path, param in self.namedparams() if path.startswith(names)]

    def run_stage(self, i: int, stage: Callable[[Any], Any], x: Any) -> Any:
        """Return the output of stage ``i``, in test mode and without a graph if it is frozen.

        Parameters
        ----------
        i : int
            Number of the stage.
        stage : callable
            Its layers.
        x : chainer.Variable
            Their input.

        Returns
        -------
        chainer.Variable
            Their output.
        """
        if i >= self.n_frozen:
            return stage(x)
        with chainer.using_config('train', False), chainer.no_backprop_mode():
            return stage(x)

    def use_preset(self, preset: str) -> None:
        """Choose which detections :meth:`predict` returns.

        Parameters
        ----------
        preset : {'visualize', 'evaluate'}
            'visualize' keeps scores of at least 0.6, 'evaluate' of at least 0.01. Average
            precision needs unlikely detections as well. Both suppress at an IoU of 0.45.

        Raises
        ------
        ValueError
            If there is no such preset.
        """
        check_choice('preset', preset, _SCORE_THRESH)
        self.nms_thresh, self.score_thresh = 0.45, _SCORE_THRESH[preset]

    def predict(
        self,
        imgs: Sequence[Array],
        *,
        nms_top_k: int | None = None,
        keep_top_k: int | None = None,
    ) -> tuple[list[Array], list[Array], list[Array]]:
        """Detect the objects of a batch of images, always in test mode.

        Parameters
        ----------
        imgs : sequence of arrays of shape (3, H, W)
            RGB, 0 to 255, on the CPU, of any sizes and dtypes. They are scaled to ``insize``
            without keeping the aspect ratio.
        nms_top_k : int, optional
            Largest number of boxes of each class before the suppression, see
            :meth:`MultiboxCoder.decode`. Default: the attribute ``nms_top_k``.
        keep_top_k : int, optional
            Largest number of detections of each image, see :meth:`MultiboxCoder.decode`. Default:
            the attribute ``keep_top_k``.

        Returns
        -------
        bboxes : list of float32 arrays of shape (R, 4)
            (y_min, x_min, y_max, x_max) in pixels of each image, clipped to its borders.
        labels : list of int32 arrays of shape (R,)
            Foreground classes, counted from 0.
        scores : list of float32 arrays of shape (R,)
            Softmax scores.

        Raises
        ------
        ValueError
            If an image has another shape, or values that are not 0 to 255, such as those of an
            image that is scaled to [0, 1]. If the model predicts NaN or inf for an image. The
            message gives the number of the image. If a limit is below 1.
        TypeError
            If an image holds no numbers, or a limit is not an integer.
        ImportError
            If an image must be scaled and OpenCV is missing (``pip install "chainer_ssd[data]"``).
        """
        if not len(imgs):
            return [], [], []
        given = {
            'nms_top_k': self.nms_top_k if nms_top_k is None else nms_top_k,
            'keep_top_k': self.keep_top_k if keep_top_k is None else keep_top_k,
        }
        # A coder without these options, such as ChainerCV's, serves as long as there is no limit.
        limits = {name: limit for name, limit in given.items() if limit is not None}
        x = np.empty((len(imgs), 3, self.insize, self.insize), np.float32)
        sizes = []
        for i, img in enumerate(imgs):  # one image at a time, because photos are large
            img = np.asarray(img)
            check_image(img, f'imgs[{i}]')
            check_pixel_range(img, f'imgs[{i}]')
            x[i] = self._resize(img.astype(np.float32, copy=False), x.shape[2:])
            sizes.append(np.array(img.shape[1:] * 2, np.float32))
        with chainer.using_config('train', False), chainer.no_backprop_mode():
            outputs = self(self.device.send(x))
        mb_locs, mb_confs = (y.array for y in outputs)
        bboxes, labels, scores = self._decode(mb_locs, mb_confs, limits)
        for i, size in enumerate(sizes):
            bboxes[i] = np.clip(bboxes[i] * (size / np.float32(self.insize)), 0, size)
        return bboxes, labels, scores

    def _decode(
        self, mb_locs: Array, mb_confs: Array, limits: dict[str, int]
    ) -> tuple[list[Array], list[Array], list[Array]]:
        """Return the detections of a batch on the CPU."""
        options = self.nms_thresh, self.score_thresh
        if hasattr(self.coder, 'decode_batch'):
            return self.coder.decode_batch(mb_locs, mb_confs, *options, **limits)
        # ChainerCV's coder decodes one image.
        mb_locs, mb_confs = (chainer.get_device('@numpy').send(y) for y in (mb_locs, mb_confs))
        detections = [
            self.coder.decode(*each, *options, **limits) for each in zip(mb_locs, mb_confs)
        ]
        bboxes, labels, scores = ([*column] for column in zip(*detections))
        return bboxes, labels, scores

    @staticmethod
    def _resize(img: Array, size: tuple[int, int]) -> Array:
        return resize_image(img, size)


def _scale_default_boxes(default_bbox: Array, box_scale: float) -> None:
    """Scale heights and widths in place, or raise if an area leaves the range of the dtype."""
    has_area = default_bbox[:, 2:].all(axis=1)  # clipping to the image can leave boxes without
    with np.errstate(over='ignore', under='ignore'):
        sizes = default_bbox[:, 2:] * default_bbox.dtype.type(box_scale)
        areas = sizes[has_area].prod(axis=1)
    limits = np.finfo(default_bbox.dtype)
    if not ((areas >= limits.tiny) & (areas <= limits.max / 8)).all():  # a union adds areas
        raise ValueError(
            f'box_scale = {box_scale!r}: expected default boxes with an area that '
            f'{default_bbox.dtype} can hold'
        )
    default_bbox[:, 2:] = sizes
