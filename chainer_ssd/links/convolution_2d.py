"""A convolution layer that works in blocks, and the conversion of other models."""

from __future__ import annotations

from typing import TypeVar

import chainer
import chainer.links as L

from chainer_ssd._array import Array
from chainer_ssd.functions import convolution_2d

Model = TypeVar('Model', bound=chainer.Link)


class Convolution2D(L.Convolution2D):
    """Chainer's convolution layer, computed by :func:`chainer_ssd.functions.convolution_2d`.

    Arguments, parameters, initial weights and names in files are those of
    :class:`chainer.links.Convolution2D`. So weights can be loaded into either class.
    """

    def forward(self, x: chainer.Variable | Array) -> chainer.Variable:
        """Apply the layer.

        Parameters
        ----------
        x : chainer.Variable or float array of shape (B, C, H, W)
            Input.

        Returns
        -------
        chainer.Variable of shape (B, OC, H', W')
            Output, see :func:`chainer_ssd.functions.convolution_2d`.
        """
        if self.cudnn_fast:
            return super().forward(x)
        if self.W.array is None:
            self._initialize_params(x.shape[1])
        return convolution_2d(
            x, self.W, self.b, self.stride, self.pad, dilate=self.dilate, groups=self.groups
        )


def convert_convolutions(model: Model) -> Model:
    """Make the convolution layers of any Chainer model work in blocks, and return the model.

    The class of each :class:`chainer.links.Convolution2D` becomes :class:`Convolution2D`.
    Parameters, names and optimizers stay as they are. Layers of derived classes, and calls of
    :func:`chainer.functions.convolution_2d`, do not change. On a GPU with cuDNN the converted
    model computes as before.

    Parameters
    ----------
    model : chainer.Link
        Changed in place.

    Returns
    -------
    chainer.Link
        The same object.

    Raises
    ------
    TypeError
        If ``model`` is no link.

    Notes
    -----
    Only this model changes, at any time and in any thread. A context manager that replaces
    Chainer's function would change all models of the process.
    """
    if not isinstance(model, chainer.Link):
        raise TypeError(f'model = {model!r}: expected a chainer.Link')
    for link in model.links():
        if type(link) is L.Convolution2D:
            link.__class__ = Convolution2D
    return model
