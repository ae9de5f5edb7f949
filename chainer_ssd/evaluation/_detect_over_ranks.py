"""Detection over the ranks of a communicator. Every function here is a collective call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainer_ssd._array import Array
from chainer_ssd._options import short_repr
from chainer_ssd.distributed import (
    Communicator,
    from_rank_0,
    gather_shards,
    gather_values,
    raise_together,
    shard_of,
)
from chainer_ssd.evaluation._detect_images import check_example, detect_images, predict_images


def detect_over_ranks(model: Any, dataset: Any, comm: Communicator) -> list[tuple] | None:
    """Return the detections and ground truths of all images on rank 0, None on other ranks."""
    lengths = gather_values(comm, None if dataset is None else len(dataset))
    length = lengths[0]
    if length is None:
        raise ValueError('dataset is None on rank 0: expected a data set there')
    if set(lengths) == {length}:
        return _detect_in_shards(model, dataset, comm, length)
    if set(lengths) == {length, None}:
        return _detect_in_sent_images(model, dataset, comm, length)
    raise ValueError(
        f'the data sets of the ranks have {short_repr(lengths)} examples: expected the same data '
        'set on every rank, or None on all but rank 0'
    )


def _detect_in_shards(
    model: Any, dataset: Sequence[tuple], comm: Communicator, length: int
) -> list[tuple] | None:
    """Detect in a part of the images that this rank reads itself."""
    found: dict[int, tuple] = {}
    error: Exception | None = None
    try:
        for i in shard_of(comm, length):
            (found[i],) = detect_images(model, [dataset[i]])
    except Exception as raised:
        error = raised
    raise_together(comm, error)
    return gather_shards(comm, found, length)


def _detect_in_sent_images(
    model: Any, dataset: Any, comm: Communicator, length: int
) -> list[tuple] | None:
    """Detect in images that rank 0 reads, one for each rank at a time."""
    found: dict[int, tuple] = {}
    ground_truths: list[Sequence[Array]] = []
    error: Exception | None = None
    for start in range(0, length, comm.size):
        imgs: list[Array] | None = None
        if not comm.rank and error is None:
            try:
                imgs = []
                for i in range(start, min(start + comm.size, length)):
                    example = dataset[i]
                    check_example(example)
                    imgs.append(example[0])
                    ground_truths.append(example[1:])
            except Exception as raised:
                imgs, error = None, raised
        imgs = from_rank_0(comm, imgs)
        if imgs is None:  # rank 0 has an error
            break
        if error is None and comm.rank < len(imgs):
            try:
                predicted = predict_images(model, [imgs[comm.rank]])
                found[start + comm.rank] = tuple(column[0] for column in predicted)
            except Exception as raised:
                error = raised
    raise_together(comm, error)
    images = gather_shards(comm, found, length)
    if images is None:
        return None
    return [(*predicted, *truth) for predicted, truth in zip(images, ground_truths)]
