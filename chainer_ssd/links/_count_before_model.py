"""The model's output, and the normalizer of its loss: asked for before the model runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import chainer

from chainer_ssd._array import Array
from chainer_ssd.distributed import PositiveCount


def create_count(comm: Any, chain: chainer.Chain) -> PositiveCount | None:
    """Return the count of a training chain, which compares the numbers of updates of the ranks.

    Parameters
    ----------
    comm : chainermn.CommunicatorBase, PositiveCount or None
        A ``PositiveCount`` is returned as it is.
    chain : chainer.Chain
        Its parameters have update rules as soon as an optimizer is set up.
    """
    if comm is None or isinstance(comm, PositiveCount):
        return comm
    return PositiveCount(comm, step=_NumberOfUpdates(chain))


class _NumberOfUpdates:
    """Returns how often an optimizer has updated the parameters of a link."""

    def __init__(self, link: chainer.Link) -> None:
        self.link = link

    def __call__(self) -> int:
        rules = (param.update_rule for param in self.link.params())
        return next((rule.t for rule in rules if rule is not None and rule.enabled), 0)


@contextlib.contextmanager
def counting(
    count: PositiveCount | None,
    n_positive: Array,
    model: chainer.Link | None,
    imgs: Array,
    normalizer: Any = None,
) -> Iterator[Any]:
    """Send the count, and yield the normalizer of the loss. The model runs inside the block.

    Parameters
    ----------
    count : PositiveCount or None
        None stands for one process. The normalizer is then None, the loss's own count.
    n_positive : int or zero-dimensional array
        This rank's number of positives.
    model : chainer.Link or None
        The model that runs next.
    imgs : array
        Its batch.
    normalizer : float, callable or None
        The normalizer, if it is known. Nothing is sent then.
    """
    if normalizer is not None or count is None:
        yield normalizer
    elif communicates(model):
        # The model's own calls block anyway. Ranks that are out of step must raise before them.
        needs_equal_batches = chainer.config.train and _weights_ranks_alike(model)
        yield count.request(n_positive, len(imgs) if needs_equal_batches else None)()
    else:
        with count.request(n_positive) as request:
            yield request


def communicates(model: chainer.Link | None) -> bool:
    """Return whether a link of the model holds a communicator, and so calls collectively."""
    links = () if model is None else model.links()
    return any(hasattr(getattr(link, 'comm', None), 'size') for link in links)


def _weights_ranks_alike(model: chainer.Link | None) -> bool:
    """Return whether the model holds ChainerMN's own batch normalization over ranks."""
    links = () if model is None else model.links()
    return any(
        type(link).__name__ == 'MultiNodeBatchNormalization'
        and type(link).__module__.startswith('chainermn.')
        for link in links
    )
