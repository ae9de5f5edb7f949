"""The examples of a data set that can be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from chainer_ssd.evaluation.check_iterator import check_dataset


def readable_examples(
    dataset: Sequence[tuple], on_unreadable: Callable[[int, Exception], None]
) -> Iterator[list[tuple]]:
    """Yield each example of a data set as a batch of one, without those that cannot be read.

    So :func:`detect_batches` evaluates the others, one image at a time.

    Parameters
    ----------
    dataset : sequence of tuples
        Examples, see :func:`detect_dataset`.
    on_unreadable : callable
        ``on_unreadable(i, error)`` is called for each example that cannot be read, with its number
        and the ``ValueError``, ``OSError`` or ``MemoryError``. If it raises, the iteration ends.

    Yields
    ------
    list of one tuple
        An example.

    Raises
    ------
    TypeError
        If ``dataset`` is not a sequence.
    """
    check_dataset(dataset)
    for i in range(len(dataset)):
        try:
            example = dataset[i]
        except (MemoryError, OSError, ValueError) as error:
            on_unreadable(i, error)
        else:
            yield [example]
