"""Default boxes of SSDMini that fit the objects of a data set."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainer_ssd.images import read_header
from chainer_ssd.links.ssd_mini import SSDMini
from chainer_ssd.ops import DefaultBoxFit, fit_default_boxes

_MAX_IMAGES = 5000  # a sample of so many images decides as well as all
_TRANSPOSED = 5  # EXIF orientations from here on exchange height and width


def fit_ssd_mini_boxes(
    dataset: Any, insize: int = 192, iou_thresh: float = 0.5, max_growth: float = 1.5
) -> DefaultBoxFit:
    """Return sizes and aspect ratios of SSDMini that fit the objects of a data set.

    All classes count alike in the choice, as in the mAP. Use the images to train on.
    ``SSDMini(n_fg_class, insize, sizes=fit.sizes, aspect_ratios=fit.aspect_ratios)`` has these
    default boxes, and :func:`save_detector` stores them.

    Parameters
    ----------
    dataset : data set
        With ``get_annotation``. Of a data set with ``image_files`` only the beginnings of the files
        are read. Images that cannot be read and difficult objects do not count.
    insize : int
        Side of the network's input in pixels.
    iou_thresh, max_growth
        As :func:`chainer_ssd.ops.fit_default_boxes`.

    Returns
    -------
    DefaultBoxFit
        Its ``sizes`` are fractions of the input, as SSDMini takes them.

    Raises
    ------
    ValueError, TypeError
        If there is no object, or an option is not valid.

    Examples
    --------
    >>> from chainer_ssd import ShapesBboxDataset
    >>> fit = fit_ssd_mini_boxes(ShapesBboxDataset(20), 128)
    >>> fit.recall >= fit.recall_before
    True
    """
    model = SSDMini(1, insize)
    bbox, label = _scaled_boxes(dataset, insize)
    sizes = [size * insize for size in model.sizes]
    fit = fit_default_boxes(
        bbox,
        model.grids,
        model.aspect_ratios,
        model.steps,
        sizes,
        iou_thresh,
        max_growth=max_growth,
        weight=1 / np.bincount(label)[label] if len(label) else None,
    )
    if fit.sizes == tuple(sizes):
        return fit._replace(sizes=model.sizes)
    return fit._replace(sizes=tuple(round(size / insize, 6) for size in fit.sizes))


def _scaled_boxes(dataset: Any, insize: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes (R, 4) in pixels of the input, and their labels."""
    boxes, labels = [np.empty((0, 4))], [np.empty(0, np.int64)]
    n_image = min(len(dataset), _MAX_IMAGES)
    for i in np.linspace(0, len(dataset) - 1, n_image).astype(int).tolist():
        bbox, label, *difficult = dataset.get_annotation(i)
        size = _image_size(dataset, i)
        if size is not None:
            kept = ~difficult[0].astype(bool) if difficult else slice(None)
            boxes.append(np.asarray(bbox[kept], np.float64) * insize / np.array(size * 2))
            labels.append(np.asarray(label[kept], np.int64))
    return np.concatenate(boxes), np.concatenate(labels)


def _image_size(dataset: Any, i: int) -> tuple[int, int] | None:
    """Return (H, W) of an image as the data set returns it, or None if it cannot be read."""
    try:
        if not hasattr(dataset, 'image_files'):
            height, width = dataset[i][0].shape[1:]
            return height, width
        header = read_header(dataset.image_files[i])
    except (OSError, ValueError):
        return None
    height, width = header.size
    is_turned = header.orientation >= _TRANSPOSED and dataset.applies_orientation[i]
    return (width, height) if is_turned else (height, width)
