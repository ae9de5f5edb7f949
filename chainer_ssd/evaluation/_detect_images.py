"""Detection in one batch of examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from chainer_ssd._array import Array

_MIN_COLUMNS = 3  # img, bbox, label


def detect_images(model: Any, examples: Sequence[tuple]) -> Iterator[tuple[Array, ...]]:
    """Yield the detections and the ground truths of each example, in one call of the model."""
    if not len(examples):
        return
    for example in examples:
        check_example(example)
        if len(example) != len(examples[0]):
            raise ValueError(
                f'a batch has examples of {len(examples[0])} and of {len(example)} columns: '
                'expected equally many'
            )
    imgs, *ground_truths = zip(*examples)
    yield from zip(*predict_images(model, list(imgs)), *ground_truths)


def check_example(example: Any) -> None:
    """Raise ``ValueError`` unless an example is a tuple of an image and its ground truths."""
    if not isinstance(example, (tuple, list)) or len(example) < _MIN_COLUMNS:
        kind = type(example).__name__
        if isinstance(example, (tuple, list)):
            kind = f'{kind} of {len(example)}'
        raise ValueError(f'an example is a {kind}: expected (img, bbox, label) or more columns')


def predict_images(model: Any, imgs: list[Array]) -> tuple[Sequence[Array], ...]:
    """Return the bboxes, labels and scores of images, one array per image."""
    predicted = tuple(model.predict(imgs))
    lengths = [len(column) for column in predicted]
    if lengths != [len(imgs)] * 3:
        raise ValueError(
            f'{type(model).__name__}.predict returned {len(predicted)} lists of lengths {lengths} '
            f'for {len(imgs)} images: expected bboxes, labels and scores of every image'
        )
    return predicted
