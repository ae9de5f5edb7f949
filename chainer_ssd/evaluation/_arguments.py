"""Detections and ground truths, checked image by image."""

from itertools import zip_longest

import numpy as np


def each_image(pred_bboxes, pred_labels, pred_scores, gt_bboxes, gt_labels, **gt_columns):
    """Yields the arrays of an image, its detections' and its ground truths'.

    They are (bbox, label, score) and (bbox, label, *columns). A column goes by the name of the
    argument that it came as; it is None where there is none, for all images or for one.
    """
    iterables = {
        'pred_bboxes': pred_bboxes,
        'pred_labels': pred_labels,
        'pred_scores': pred_scores,
        'gt_bboxes': gt_bboxes,
        'gt_labels': gt_labels,
        **{name: column for name, column in gt_columns.items() if column is not None},
    }
    end = object()
    for i, arrays in enumerate(zip_longest(*iterables.values(), fillvalue=end)):
        image = dict(zip(iterables, arrays))
        ended = [name for name, array in image.items() if array is end]
        if ended:
            goes_on = next(name for name, array in image.items() if array is not end)
            raise ValueError(
                f'{ended[0]} ends after {i} images and {goes_on} goes on: '
                'expected all iterables of one length'
            )

        bboxes = f'pred_bboxes[{i}]'
        pred_bbox = _as_bbox(bboxes, image['pred_bboxes'])
        pred_label = _as_label(f'pred_labels[{i}]', image['pred_labels'], bboxes, len(pred_bbox))
        pred_score = as_finite(f'pred_scores[{i}]', image['pred_scores'], bboxes, len(pred_bbox))
        bboxes = f'gt_bboxes[{i}]'
        gt_bbox = _as_bbox(bboxes, image['gt_bboxes'])
        inverted = np.flatnonzero((gt_bbox[:, :2] > gt_bbox[:, 2:]).any(axis=1))
        if inverted.size:
            raise ValueError(
                f'{bboxes}, row {inverted[0]}: {gt_bbox[inverted[0]].tolist()}, expected '
                '(y_min, x_min, y_max, x_max) with y_min <= y_max and x_min <= x_max'
            )
        gt_label = _as_label(f'gt_labels[{i}]', image['gt_labels'], bboxes, len(gt_bbox))
        columns = [image.get(name) for name in gt_columns]
        columns = [
            None if column is None else of_length(f'{name}[{i}]', column, bboxes, len(gt_bbox))
            for name, column in zip(gt_columns, columns)
        ]
        yield (pred_bbox, pred_label, pred_score), (gt_bbox, gt_label, *columns)


def of_length(name, array, bboxes, length):
    """The array, with one element a box of what is named ``bboxes``."""
    array = np.asarray(array)
    if array.shape != (length,):
        raise ValueError(
            f'{name} has shape {array.shape}: expected ({length},), one a box of {bboxes}'
        )
    return array


def as_finite(name, array, bboxes, length):
    """:func:`of_length`, of finite numbers."""
    array = of_length(name, array, bboxes, length)
    if array.dtype.kind not in 'fiu':
        raise TypeError(f'{name} has dtype {array.dtype}: expected numbers')
    wrong = np.flatnonzero(~np.isfinite(array))
    if wrong.size:
        raise ValueError(f'{name}, row {wrong[0]}: {array[wrong[0]]}, expected finite')
    return array


def as_flag(name, array, bboxes, length):
    """:func:`of_length`, of bools, or of numbers that are 0 or 1; all False if it is None."""
    if array is None:
        return np.zeros(length, dtype=bool)
    array = of_length(name, array, bboxes, length)
    if array.dtype.kind not in 'bfiu':
        raise TypeError(f'{name} has dtype {array.dtype}: expected bool')
    wrong = np.flatnonzero((array != 0) & (array != 1))
    if wrong.size:
        raise ValueError(f'{name}, row {wrong[0]}: {array[wrong[0]]}, expected False or True')
    return array.astype(bool)


def _as_bbox(name, bbox):
    bbox = np.asarray(bbox)
    if bbox.size == 0:
        return np.zeros((0, 4), dtype=np.float32)
    if bbox.dtype.kind not in 'fiu':
        raise TypeError(f'{name} has dtype {bbox.dtype}: expected numbers')
    if bbox.ndim != 2 or bbox.shape[1] != 4:
        raise ValueError(f'{name} has shape {bbox.shape}: expected (R, 4)')
    # float32 stays: an IoU at the threshold falls where it does in ChainerCV.
    bbox = bbox.astype(np.result_type(bbox, np.float32), copy=False)
    wrong = np.flatnonzero(~np.isfinite(bbox).all(axis=1))
    if wrong.size:
        raise ValueError(f'{name}, row {wrong[0]}: {bbox[wrong[0]].tolist()}, expected finite')
    return bbox


def _as_label(name, label, bboxes, length):
    label = of_length(name, label, bboxes, length)
    if not length:
        return np.zeros(0, dtype=np.int64)
    if label.dtype.kind not in 'iu':
        raise TypeError(f'{name} has dtype {label.dtype}: expected integers')
    if label.min() < 0:
        row = int(label.argmin())
        raise ValueError(f'{name}, row {row}: {label[row]}, expected a class of 0 or more')
    return label.astype(np.int64)
