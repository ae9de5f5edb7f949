"""Detection over a data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from chainer_ssd._array import Array
from chainer_ssd.distributed import Communicator, gather_shards, shard_of


def detect_dataset(
    model: Any, dataset: Sequence[tuple], comm: Communicator | None = None
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
        Examples ``(img, bbox, label)`` or ``(img, bbox, label, difficult)``.
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
    RuntimeError
        On every rank, if not every image comes from exactly one rank.
    """
    indices = range(len(dataset)) if comm is None else shard_of(comm, len(dataset))
    images: list | None = list(detect_batches(model, ([dataset[i]] for i in indices)))
    if comm is not None:
        images = gather_shards(comm, dict(zip(indices, images or ())), len(dataset))
    return None if images is None else list(zip(*images)) or [()] * 5


def detect_batches(model: Any, batches: Iterable[Sequence[tuple]]) -> Iterator[tuple[Array, ...]]:
    """Yield the detections and the ground truths of each image of some batches.

    Parameters
    ----------
    model : object with a method ``predict``
        See :func:`detect_dataset`.
    batches : iterable of sequences of tuples
        Batches of examples, for example a Chainer iterator. The model gets a whole batch.

    Yields
    ------
    tuple of arrays
        For each image ``(pred_bbox, pred_label, pred_score, gt_bbox, gt_label)``, and
        ``gt_difficult`` if the examples have it.
    """
    for batch in batches:
        imgs, *ground_truths = zip(*batch)
        yield from zip(*model.predict(imgs), *ground_truths)
