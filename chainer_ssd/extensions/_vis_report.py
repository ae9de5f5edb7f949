"""Base class of the extensions that draw pictures."""

from __future__ import annotations

import contextlib
import os
import random
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import chainer
import numpy as np
from chainer.training import Extension

from chainer_ssd._array import Array
from chainer_ssd._extras import require
from chainer_ssd._options import check_integer, check_label_names
from chainer_ssd.distributed import Communicator
from chainer_ssd.evaluation import check_dataset
from chainer_ssd.images import image_format_of, write_image


class VisReport(Extension):
    """Trainer extension that draws the first examples of a data set into the trainer's folder.

    It reads the data set itself and restores the global random generators. So training goes on as
    if nothing had been drawn. A picture that cannot be written does not end training.
    """

    trigger = 1, 'epoch'
    priority = chainer.training.PRIORITY_READER

    def __init__(
        self,
        iterator: Any,
        label_names: Sequence[str] | None,
        filename: str,
        n_image: int | None,
        comm: Communicator | None,
    ) -> None:
        require('matplotlib', 'plot')  # now, not at the first picture
        is_iterator = isinstance(iterator, chainer.dataset.Iterator)
        dataset: Any = getattr(iterator, 'dataset', None) if is_iterator else iterator
        self.dataset = dataset
        check_dataset(self.dataset, 'iterator.dataset' if is_iterator else 'iterator')
        self.label_names = None if label_names is None else check_label_names(label_names)
        self.n_image = None if n_image is None else check_integer('n_image', n_image, 1)
        if not isinstance(filename, str):
            raise TypeError(f'filename = {filename!r}: expected a str')
        self.filename, self.comm = filename, comm
        self._has_warned = False
        n_image = len(self.dataset) if n_image is None else n_image
        if self._name(1, 0) == self._name(1, 1) and n_image > 1:
            raise ValueError(
                f'filename = {filename!r}: expected {{index}} in it, for {n_image} images'
            )
        try:
            image_format_of(filename)
        except ValueError as error:
            raise ValueError(f'filename = {error}') from None

    def draw(self, example: tuple) -> Array:
        """Return the picture (3, H, W) of one example."""
        raise NotImplementedError

    def __call__(self, trainer: chainer.training.Trainer) -> None:
        """Draw and write the pictures on rank 0.

        Parameters
        ----------
        trainer : chainer.training.Trainer
            Its folder ``out`` receives the pictures.
        """
        if self.comm is not None and self.comm.rank:
            return
        n_image = len(self.dataset)
        for i in range(n_image if self.n_image is None else min(self.n_image, n_image)):
            name = self._name(trainer.updater.iteration, i)
            try:
                with (
                    _restored_random_state(),
                    chainer.using_config('train', False),
                    chainer.no_backprop_mode(),
                ):
                    picture = self.draw(self.dataset[i])
            except Exception as error:
                raise RuntimeError(
                    f'{type(self).__name__} cannot draw image {i} of its data set '
                    f'({name}): {type(error).__name__}: {error}'
                ) from error
            self._write(picture, os.path.join(trainer.out, name))

    def _write(self, picture: Array, path: str) -> None:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_image(picture, path)
        except OSError as error:  # for example a full disk
            if not self._has_warned:
                self._has_warned = True
                warnings.warn(
                    f'{type(self).__name__} cannot write {path}: {error}. Training goes on. '
                    'Later pictures that cannot be written are not reported',
                    stacklevel=3,
                )

    def _name(self, iteration: int, index: int) -> str:
        try:
            return self.filename.format(iteration=iteration, index=index)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(
                f'filename = {self.filename!r}: expected no other fields than '
                '{iteration} and {index}'
            ) from error


@contextlib.contextmanager
def _restored_random_state() -> Iterator[None]:
    states = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
