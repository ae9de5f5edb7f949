"""Non-maximum suppression."""

import numpy as np

from chainer_ssd._array import get_array_module
from chainer_ssd._validation import as_bbox
from chainer_ssd.ops.boxes import iou_of_planes

#: So many of the best remaining boxes are settled among themselves at a time.
_BLOCK = 64


def non_maximum_suppression(bbox, thresh, score=None, limit=None):
    """Keeps, from the best score down, each box that no better kept box overlaps.

    Parameters
    ----------
    bbox : float array of shape (R, 4)
        (y_min, x_min, y_max, x_max).
    thresh : float
        A box whose IoU with a kept one is at least this is suppressed.
    score : array of shape (R,) or None
        None: the boxes stand in falling order already. Ties go to the lower index.
    limit : int or None
        Stop at so many kept boxes.

    Returns
    -------
    int32 array
        Indices of the kept boxes, by falling score.

    Raises
    ------
    ValueError
        If shapes disagree, or ``thresh`` or ``limit`` is out of range.
    TypeError
        If the boxes are not numbers.

    Notes
    -----
    The greedy suppression of Felzenszwalb et al. (2010), with the arguments of ChainerCV's
    ``non_maximum_suppression``. A box with NaN overlaps nothing, so it is kept, in sight.
    """
    xp = get_array_module(bbox)
    if bbox.ndim != 2 or bbox.shape[1] != 4:
        raise ValueError(f'bbox has shape {bbox.shape}: expected (R, 4)')
    if score is not None and score.shape != bbox.shape[:1]:
        raise ValueError(f'score has shape {score.shape}: expected {bbox.shape[:1]}')
    if not 0 <= thresh <= 1:
        raise ValueError(f'thresh = {thresh}: expected a number in [0, 1]')
    if limit is not None and limit < 0:
        raise ValueError(f'limit = {limit}: expected None or a number >= 0')

    if score is None:
        rest = xp.arange(len(bbox))
    else:
        # As floats: the negative of an unsigned integer is a large number.
        falling = xp.negative(score, dtype=xp.promote_types(score.dtype, np.float32))
        rest = xp.argsort(falling, kind='stable')
    planes = xp.ascontiguousarray(as_bbox(bbox, 'bbox')[rest].T)
    place = xp.arange(_BLOCK)
    better = place[:, None] < place
    kept = [rest[:0]]
    missing = len(bbox) if limit is None else limit
    while len(rest) and missing > 0:
        block, planes = planes[:, :_BLOCK], planes[:, _BLOCK:]
        n_block = block.shape[1]
        stays = _stays((iou_of_planes(block, block) >= thresh) & better[:n_block, :n_block])
        kept.append(rest[:_BLOCK][stays][:missing])
        missing -= len(kept[-1])
        rest = rest[_BLOCK:]
        if len(rest):
            survives = ~(iou_of_planes(block[:, stays], planes) >= thresh).any(axis=0)
            rest, planes = rest[survives], planes[:, survives]
    return xp.concatenate(kept).astype(np.int32)


def _stays(suppresses):
    # A box stays if no better box that stays suppresses it. Each turn applies this sentence to the
    # last guess; what the n best boxes say is right after n turns, and mostly after a handful.
    guess, stays = None, ~suppresses.any(axis=0)
    while guess is None or (guess != stays).any():
        guess, stays = stays, ~suppresses[stays].any(axis=0)
    return stays
