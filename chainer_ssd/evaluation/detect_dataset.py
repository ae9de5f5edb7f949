"""Detection over a data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from chainer_ssd._array import Array
from chainer_ssd.distributed import Communicator
from chainer_ssd.evaluation._detect_images import detect_images
from chainer_ssd.evaluation._detect_over_ranks import detect_over_ranks
from chainer_ssd.evaluation.check_iterator import REPEATS, check_dataset, check_single_pass


def detect_dataset(
    model: Any, dataset: Sequence[tuple] | None, comm: Communicator | None = None
) -> list[tuple[Array, ...]] | None:
    """Return the detections and the ground truths of all images of a data set.

    The model gets one image at a time, because sums round differently in batches of another size.
    So the detections do not depend on the number of ranks.

    Parameters
    ----------
    model : object with a method ``predict``
        ``model.predict(imgs)`` returns three lists: the bboxes, labels and scores of every image.
        Its score threshold should be low (``use_preset('evaluate')``), because a high one lowers
        the average precision.
    dataset : sequence of tuples
        Examples ``(img, bbox, label)`` or ``(img, bbox, label, difficult)``. Further columns are
        returned as they are. With ``comm``, it may be None on all ranks but rank 0, which then
        reads all images and sends them.
    comm : chainermn.CommunicatorBase, optional
        Every rank calls this function with the same data set, and detects in its part of the
        images. Default: this process detects in all images.

    Returns
    -------
    list of tuples, or None
        Five tuples with one array per image: ``pred_bboxes``, ``pred_labels``, ``pred_scores``,
        ``gt_bboxes`` and ``gt_labels``. If the examples have it, ``gt_difficults`` is the sixth.
        These are the first arguments of :func:`eval_detection_voc`. With ``comm``, rank 0 gets
        them, every other rank gets None.

    Raises
    ------
    TypeError
        If ``dataset`` is not a sequence, for example an iterator.
    ValueError
        If an example has less than three columns, or the model does not return one result per
        image. With ``comm``, on every rank: if ranks have data sets of unequal length.
    RuntimeError
        With ``comm``, on every rank: if one rank cannot detect in an image, or if not every image
        comes from exactly one rank.
    """
    if dataset is not None:
        check_dataset(dataset)
    if comm is not None:
        images = detect_over_ranks(model, dataset, comm)
    elif dataset is not None:
        images = list(detect_batches(model, ([dataset[i]] for i in range(len(dataset)))))
    else:
        raise ValueError('dataset is None: expected a data set, or None on other ranks than 0')
    return None if images is None else list(zip(*images)) or [()] * 5


def detect_batches(model: Any, batches: Iterable[Sequence[tuple]]) -> Iterator[tuple[Array, ...]]:
    """Yield the detections and the ground truths of each image of some batches.

    Parameters
    ----------
    model : object with a method ``predict``
        See :func:`detect_dataset`.
    batches : iterable of sequences of tuples
        Batches of examples, for example a Chainer iterator with ``repeat=False``. The model gets
        a whole batch.

    Yields
    ------
    tuple of arrays
        For each image ``(pred_bbox, pred_label, pred_score, gt_bbox, gt_label)``, and
        ``gt_difficult`` if the examples have it.

    Raises
    ------
    ValueError
        If ``batches`` is a Chainer iterator that repeats, an example has less than three columns,
        or the model does not return one result per image.
    """
    check_single_pass(batches, 'batches')
    first_epoch = epoch = getattr(batches, 'epoch', None)
    for batch in batches:
        if epoch != first_epoch:
            raise ValueError(f'batches: {REPEATS}')
        epoch = getattr(batches, 'epoch', None)
        yield from detect_images(model, batch)
