"""The weights of a detector as a state_dict of PyTorch, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import chainer
import numpy as np

from chainer_ssd._extras import require
from chainer_ssd._files import atomic_write
from chainer_ssd.links.weights import load_arrays, values_of

#: The last part of a name in Chainer, and in PyTorch.
_TORCH_NAMES = {
    'W': 'weight',
    'b': 'bias',
    'gamma': 'weight',
    'beta': 'bias',
    'avg_mean': 'running_mean',
    'avg_var': 'running_var',
    'N': 'num_batches_tracked',
}


def to_state_dict(model: chainer.Link) -> dict[str, np.ndarray]:
    """Return the weights of a model by PyTorch's names.

    Parameters
    ----------
    model : chainer.Link
        A detector, or any other model whose parameters have values.

    Returns
    -------
    dict of str to array
        Copies on the CPU. PyTorch needs no transposition: the axes of convolutions and linear
        layers are the same.

    Raises
    ------
    ValueError
        If a parameter has no value yet.

    Notes
    -----
    The slashes of a Chainer name become dots, and its last part changes:

    - ``W`` and ``gamma`` become ``weight``, ``b`` and ``beta`` become ``bias``,
    - ``avg_mean`` becomes ``running_mean``, ``avg_var`` becomes ``running_var``, and ``N`` becomes
      ``num_batches_tracked``, an int64.

    Other names stay, such as ``scale`` of SSD300. So ``stage8/0/norm/avg_mean`` of Chainer is
    ``stage8.0.norm.running_mean``.

    PyTorch's normalization has the same eps only if it is created with it. Chainer's default is
    2e-5, PyTorch's is 1e-5.

    Examples
    --------
    >>> from chainer_ssd import SSDMini
    >>> to_state_dict(SSDMini(2, 64))['stem.conv.weight'].shape
    (32, 3, 6, 6)
    """
    state_dict = {}
    for name, value in values_of(model).items():
        if value.dtype == object:
            raise ValueError(f'{name} has no value: call the model once, or load its weights')
        array = np.array(value)
        is_count = name.rpartition('/')[2] == 'N'
        state_dict[_torch_name(name)] = array.astype(np.int64) if is_count else array
    return state_dict


def load_state_dict(
    state_dict: Mapping[str, Any], model: chainer.Link, source: str = 'state_dict'
) -> None:
    """Load weights with PyTorch's names into a model, the inverse of :func:`to_state_dict`.

    Parameters
    ----------
    state_dict : mapping of str to tensor or array
        All weights of the model, and no others.
    model : chainer.Link
        Receives the weights. It is not changed if an error is raised.
    source : str
        Where the weights come from, for messages.

    Raises
    ------
    ValueError
        If a weight is missing or unknown, has another shape, or is not finite.
    """
    names = {_torch_name(name): name for name in values_of(model)}
    unknown = sorted(state_dict.keys() - names.keys())
    if unknown:
        raise ValueError(f'{source}: the model has no {unknown[0]!r}')
    arrays = {names[key]: _as_array(value) for key, value in state_dict.items()}
    load_arrays(arrays, model, set(), source)


def export_torch(path: str | os.PathLike[str], model: chainer.Link) -> None:
    """Write the weights of a model as a file that ``torch.load`` reads.

    Needs PyTorch.

    Parameters
    ----------
    path : str or path
        The file. It is written whole or not at all.
    model : chainer.Link
        A detector, see :func:`to_state_dict` for the names.

    Raises
    ------
    ImportError
        If PyTorch is missing (``pip install "chainer_ssd[torch]"``).
    ValueError
        If a parameter has no value yet.
    OSError
        If the file cannot be written.
    """
    torch = require('torch', 'torch')
    state_dict = {key: torch.from_numpy(value) for key, value in to_state_dict(model).items()}
    with atomic_write(path) as file:
        torch.save(state_dict, file)


def load_torch(path: str | os.PathLike[str], model: chainer.Link) -> None:
    """Load the weights of a file that :func:`export_torch` or ``torch.save`` wrote.

    The file is read without running code of it (``weights_only``).

    Parameters
    ----------
    path : str or path
        A file with a ``state_dict``.
    model : chainer.Link
        Receives the weights. It is not changed if an error is raised.

    Raises
    ------
    ImportError
        If PyTorch is missing (``pip install "chainer_ssd[torch]"``).
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file holds no state_dict, or one that does not fit the model.
    """
    torch = require('torch', 'torch')
    path = os.fspath(path)
    try:
        state_dict = torch.load(path, map_location='cpu', weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch raises several types
        reason = str(error).partition('\n')[0][:200]
        raise ValueError(f'{path}: expected a state_dict of PyTorch: {reason}') from error
    is_state_dict = isinstance(state_dict, Mapping) and all(
        isinstance(key, str) and isinstance(value, torch.Tensor)
        for key, value in state_dict.items()
    )
    if not is_state_dict:
        raise ValueError(f'{path}: expected a state_dict of PyTorch, names with tensors')
    load_state_dict(state_dict, model, path)


def _torch_name(name: str) -> str:
    folder, slash, last = name.rpartition('/')
    return (folder + slash).replace('/', '.') + _TORCH_NAMES.get(last, last)


def _as_array(value: Any) -> np.ndarray:
    """Return a tensor or an array as an array on the CPU."""
    return np.asarray(value.detach().cpu().numpy() if hasattr(value, 'detach') else value)
