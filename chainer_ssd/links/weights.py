"""Weights from npz files that may come from a stranger: without pickle, and all or nothing."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import chainer
import numpy as np

from chainer_ssd._files import read_json, read_npz
from chainer_ssd._options import check_label_names

#: A file may hold the arrays of the model several times, in another dtype, or with more classes.
MAX_GROWTH, SPARE_BYTES = 8, 1 << 24
#: Where Chainer's files hold a model: the model itself, a training chain, a trainer's snapshot.
_PREFIXES = (
    '',
    'model/',
    'predictor/',
    'updater/model:main/model/',
    'updater/model:main/',
    'trainer/updater/model:main/model/',
    'trainer/updater/model:main/',
)


def load_weights(
    path: str | os.PathLike[str], model: chainer.Link, ignore: str | Iterable[str] = ()
) -> tuple[str, ...]:
    """Load the weights of a file into a model, without pickle.

    Use it in place of ``chainer.serializers.load_npz`` for files that you have not written. That
    function unpickles, so a file can run code.

    Parameters
    ----------
    path : str or path
        npz file that ``chainer.serializers.save_npz(path, model)`` or ChainerCV wrote. A file of a
        training chain or of a trainer's snapshot is accepted, too. Names in it that the model does
        not have are passed over.
    model : chainer.Link
        Receives the weights. It is not changed if an error is raised.
    ignore : str or iterable of str
        Names that keep their values, or beginnings of names. For example ``'multibox/conf/'`` if
        the file has another number of classes. Default: none.

    Returns
    -------
    tuple of str
        Names of the parameters and persistent values that keep their values, sorted.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no npz or damaged, if a value is missing, or if it has another shape, is no
        number, or is not finite. If ``ignore`` leaves nothing to load. The message names the file
        and the value.
    TypeError
        If ``ignore`` is not a str or an iterable of str.

    Examples
    --------
    >>> import tempfile
    >>> from chainer_ssd import SSDMini
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     chainer.serializers.save_npz(f'{folder}/twenty.npz', SSDMini(20, 32))
    ...     kept = load_weights(f'{folder}/twenty.npz', SSDMini(3, 32), ignore='heads/')
    >>> kept[0]
    'heads/0/conv/W'
    """
    path = os.fspath(path)
    beginnings = _as_beginnings(ignore)
    values = values_of(model)
    arrays = read_weights(path, values)
    kept = {name for name in values if name.startswith(beginnings)}
    for beginning in beginnings:
        if not any(name.startswith(beginning) for name in values):
            raise ValueError(f'ignore: no parameter of the model begins with {beginning!r}')
    load_arrays(arrays, model, kept, path)
    return tuple(sorted(kept))


def load_pretrained(
    path: str | os.PathLike[str],
    model: chainer.Link,
    label_names: Sequence[str] | None = None,
) -> tuple[str, ...]:
    """Load the weights of another detector into a model that may have other classes.

    If the classes differ, the class part of each head keeps its initial values, and the offsets are
    loaded. A class with a name that both have keeps its weights. The names of the file's classes
    are known for a folder only. For a file, classes differ if their number does.

    A head with another number of default boxes keeps its initial values. So do the layers that a
    file of VGG-16 alone lacks.

    Parameters
    ----------
    path : str or path
        npz file as for :func:`load_weights`, or a folder that :func:`save_detector` wrote.
    model : SSD
        Receives the weights. It is not changed if an error is raised.
    label_names : sequence of str, optional
        The classes of the model. Default: ``model.label_names``.

    Returns
    -------
    tuple of str
        Names of the values that keep all or a part of their initial values, sorted.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`load_weights`.

    Warns
    -----
    UserWarning
        If a file holds VGG-16's 13 convolutions without conv6 and conv7.
    """
    path = os.fspath(path)
    label_names = getattr(model, 'label_names', None) if label_names is None else label_names
    names_of_file = None
    if os.path.isdir(path):
        names_of_file = _read_label_names(path)
        path = os.path.join(path, 'model.npz')
    values = values_of(model)
    class_layers = tuple(getattr(model, 'class_layers', ()))
    class_values = {name for name in values if class_layers and name.startswith(class_layers)}
    arrays = read_weights(path, values)
    kept = set()
    backbone = getattr(model, 'backbone_layers', ())
    if backbone and not any(name in arrays for name in values if not name.startswith(backbone)):
        kept = {name for name in values if not name.startswith(backbone)}
    kept |= missing_fully_connected(arrays, kept, path)
    has_other_classes = any(
        name not in arrays or arrays[name].shape != values[name].shape for name in class_values
    )
    if names_of_file is not None and label_names is not None:
        has_other_classes |= tuple(names_of_file) != tuple(label_names)
    partly = set()
    if has_other_classes:
        for name in class_values - kept:
            adapted = _adapt_classes(
                arrays.get(name), values[name], name, model, names_of_file, label_names
            )
            if adapted is None:
                kept.add(name)
            else:
                arrays[name] = adapted
                partly.add(name)
    # A head of its own for the offsets fits as long as the number of default boxes is the same.
    load_arrays(arrays, model, kept, path)
    return tuple(sorted(kept | partly))


def missing_fully_connected(
    arrays: Mapping[str, np.ndarray], kept: set[str], path: str
) -> set[str]:
    """Return the values of conv6 and conv7 if a file of VGG-16 alone lacks them, with a warning.

    ``kept`` holds the values that a file of VGG-16 lacks. It is empty for another file.
    """
    names = {f'extractor/{layer}/{value}' for layer in ('conv6', 'conv7') for value in 'Wb'}
    has_convolutions = 'extractor/conv5_3/W' in arrays
    if not kept or not has_convolutions or names & arrays.keys():
        return set()
    warnings.warn(
        f'{path} holds the 13 convolutions of VGG-16 alone: conv6 and conv7 start from random '
        'weights',
        stacklevel=4,
    )
    return names


def _adapt_classes(
    array: np.ndarray | None,
    value: np.ndarray,
    name: str,
    model: Any,
    names_of_file: Sequence[str] | None,
    label_names: Sequence[str] | None,
) -> np.ndarray | None:
    """Return a copy of ``value`` with the offsets and the classes of ``array`` that both have.

    None: nothing of it fits.
    """
    joint_heads = getattr(model, 'joint_heads', ())
    n_offset = 4 if joint_heads and name.startswith(joint_heads) else 0
    n_value = n_offset + 1 + model.n_fg_class
    if array is None or array.ndim != value.ndim or array.shape[1:] != value.shape[1:]:
        return None
    n_box, rest = divmod(len(value), n_value)
    if rest or not n_box or len(array) % n_box or len(array) // n_box < n_offset + 2:
        return None
    n_value_of_file = len(array) // n_box
    pairs = [(i, i) for i in range(n_offset)]
    if names_of_file is not None and label_names is not None:
        if n_value_of_file != n_offset + 1 + len(names_of_file):
            return None
        place = {each: i for i, each in enumerate(names_of_file)}
        classes = [(i, place[each]) for i, each in enumerate(label_names) if each in place]
        if classes:  # background is what differs from the objects
            pairs += [(n_offset + 1 + i, n_offset + 1 + j) for i, j in classes]
            pairs.append((n_offset, n_offset))
    if not pairs:
        return None
    adapted = value.reshape(n_box, n_value, *value.shape[1:]).copy()
    source = array.reshape(n_box, n_value_of_file, *value.shape[1:])
    for i, j in pairs:
        adapted[:, i] = source[:, j]
    return adapted.reshape(value.shape)


def _read_label_names(folder: str) -> Sequence[str] | None:
    """Return the class names of a detector's folder, or None if they are not known."""
    try:
        label_names = read_json(os.path.join(folder, 'model.json'))['label_names']
        return check_label_names(label_names)
    except (OSError, KeyError, TypeError, ValueError):
        return None  # the weights alone are enough


def values_of(model: chainer.Link) -> dict[str, Any]:
    """Return the parameters and persistent values of a model by name.

    The value of a parameter without a shape yet is an object array.
    """
    serializer = chainer.serializers.DictionarySerializer()
    serializer.save(model)
    return {name: np.asarray(value) for name, value in serializer.target.items()}


def read_weights(path: str, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of a file that have names of the model, whatever chain held it.

    A file whose arrays would need far more memory than the model is refused before it is read.
    """
    names = {prefix + name for prefix in _PREFIXES for name in values}
    has_shapes = all(value.dtype != object for value in values.values())
    n_byte = sum(value.nbytes for value in values.values())
    arrays = read_npz(path, names, MAX_GROWTH * n_byte + SPARE_BYTES if has_shapes else None)
    prefix = max(_PREFIXES, key=lambda prefix: sum(prefix + name in arrays for name in values))
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}


def load_arrays(
    arrays: Mapping[str, np.ndarray], model: chainer.Link, kept: set[str], path: str
) -> None:
    """Load arrays into a model, or raise ``ValueError`` before anything has changed."""
    values = values_of(model)
    if kept >= values.keys():
        raise ValueError(f'{path}: nothing is left to load, because all values are ignored')
    for name in sorted(values.keys() - kept):
        if name not in arrays:
            raise ValueError(
                f'{path}: {name} is missing: expected the weights of {_describe(model)}'
            )
        _check_array(arrays[name], values[name], f'{path}: {name}', model)
    loaded = {name: arrays[name] for name in values.keys() - kept}
    chainer.serializers.NpzDeserializer(loaded, ignore_names=list(kept)).load(model)


def _check_array(array: np.ndarray, value: np.ndarray, name: str, model: chainer.Link) -> None:
    is_initialized = value.dtype != object
    if is_initialized and array.shape != value.shape:  # Chainer would broadcast
        raise ValueError(
            f'{name} has shape {array.shape}: expected {value.shape} of {_describe(model)}'
        )
    kinds = 'fiu' if not is_initialized or value.dtype.kind == 'f' else 'iu'
    if array.dtype.kind not in kinds:
        raise ValueError(f'{name} has dtype {array.dtype}: expected numbers')
    if value.dtype.kind == 'f' and is_initialized:  # a float64 may exceed float32
        with np.errstate(over='ignore'):
            array = array.astype(value.dtype, copy=False)
    if array.dtype.kind == 'f' and not np.isfinite(array).all():
        raise ValueError(f'{name} holds NaN or inf: expected finite numbers of {array.dtype}')


def _describe(model: chainer.Link) -> str:
    n_fg_class = getattr(model, 'n_fg_class', None)
    return type(model).__name__ + ('' if n_fg_class is None else f'(n_fg_class={n_fg_class})')


def _as_beginnings(ignore: Any) -> tuple[str, ...]:
    beginnings = (ignore,) if isinstance(ignore, str) else ignore
    if not isinstance(beginnings, Iterable) or not all(isinstance(x, str) for x in beginnings):
        raise TypeError(f'ignore = {ignore!r}: expected a name, or an iterable of names')
    return tuple(name.lstrip('/') for name in beginnings)
