"""What the extensions that draw pictures have in common."""

import contextlib
import os
import random
import warnings

import chainer
import numpy as np
from chainer.training import Extension

from chainer_ssd._extras import require
from chainer_ssd.images import image_format_of, write_image


class VisReport(Extension):
    """Draws the first examples of a data set into the trainer's folder.

    Reads the data set itself, not an iterator's next examples, and leaves the global random
    generators as they were: training goes on as if nothing had been drawn. A picture that cannot
    be written does not end it either.
    """

    trigger = 1, 'epoch'
    priority = chainer.training.PRIORITY_READER

    def __init__(self, iterator, filename, n_image, comm):
        require('matplotlib', 'plot')  # now, not at the first picture
        is_iterator = isinstance(iterator, chainer.dataset.Iterator)
        self.dataset = iterator.dataset if is_iterator else iterator
        if n_image < 1:
            raise ValueError(f'n_image = {n_image}: expected 1 or more')
        self.filename, self.n_image, self.comm = filename, n_image, comm
        self._has_warned = False
        if self._name(1, 0) == self._name(1, 1) and n_image > 1:
            raise ValueError(
                f'filename = {filename!r}: expected {{index}} in it, for {n_image} images'
            )
        try:
            image_format_of(filename)
        except ValueError as error:
            raise ValueError(f'filename = {error}') from None

    def draw(self, example):
        """The picture (3, H, W) of one example."""
        raise NotImplementedError

    def __call__(self, trainer):
        """Draws and writes the pictures; does nothing on other ranks than 0."""
        if self.comm is not None and self.comm.rank:
            return
        for i in range(min(self.n_image, len(self.dataset))):
            name = self._name(trainer.updater.iteration, i)
            try:
                with (
                    _global_random_state(),
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

    def _write(self, picture, path):
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_image(picture, path)
        except OSError as error:  # a full disk, say
            if not self._has_warned:
                self._has_warned = True
                warnings.warn(
                    f'{type(self).__name__} cannot write {path}: {error}; training goes '
                    'on, with no further word of its pictures',
                    stacklevel=3,
                )

    def _name(self, iteration, index):
        try:
            return self.filename.format(iteration=iteration, index=index)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(
                f'filename = {self.filename!r}: expected no other fields than '
                '{iteration} and {index}'
            ) from error


@contextlib.contextmanager
def _global_random_state():
    states = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
