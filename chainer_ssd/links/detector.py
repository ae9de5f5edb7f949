"""A detector as a folder: ``model.json`` describes it, ``model.npz`` holds its weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import chainer

from chainer_ssd._files import read_npz, write_json, write_npz
from chainer_ssd._options import check_choice, check_integer, check_label_names, short_repr
from chainer_ssd.images import printable_name
from chainer_ssd.links._detector_description import (
    DESCRIPTION_FILE,
    box_options,
    check_class_count,
    describe_detector,
    read_description,
    shorten,
)
from chainer_ssd.links.ssd_mini import SSDMini
from chainer_ssd.links.ssd_vgg16 import SSD300, SSD512
from chainer_ssd.links.weights import MAX_GROWTH, SPARE_BYTES, load_arrays, values_of

#: Models that :func:`create_detector` builds by name.
MODELS: dict[str, Callable[..., chainer.Chain]] = {
    'ssd_mini': SSDMini,
    'ssd300': SSD300,
    'ssd512': SSD512,
}

#: Sides of the inputs of models that have one size.
FIXED_INSIZES = {'ssd300': 300, 'ssd512': 512}
#: Above this, the size of the weight file is compared with the number of names before memory is
#: allocated.
MANY_CLASSES = 200
WEIGHTS_FILE = 'model.npz'


def create_detector(
    name: str,
    n_fg_class: int,
    insize: int | None = None,
    norm: Callable[[int], chainer.Link] | None = None,
    pretrained_model: str | os.PathLike[str] | None = None,
    box_scale: float = 1,
    sizes: Sequence[float] | None = None,
    aspect_ratios: Sequence[Sequence[float]] | None = None,
) -> chainer.Chain:
    """Build an untrained detector by name.

    Parameters
    ----------
    name : {'ssd_mini', 'ssd300', 'ssd512'}
        Which model.
    n_fg_class : int
        Number of classes without background.
    insize : int, optional
        Side of the network's input in pixels. SSD300 and SSD512 have a fixed one.
    norm : callable, optional
        Normalization of :class:`chainer_ssd.SSDMini`. The other models have none.
    pretrained_model : str or path, optional
        npz file that SSD300 and SSD512 start from. SSDMini starts from random weights.
    box_scale : float
        Factor on the sides of all default boxes.
    sizes, aspect_ratios : sequences, optional
        Shapes of the default boxes of :class:`chainer_ssd.SSDMini`. The other models have those of
        the paper.

    Returns
    -------
    chainer.Chain
        With ``predict(imgs)``, ``use_preset(preset)``, ``coder`` and ``insize``.

    Raises
    ------
    ValueError
        If there is no such model, or it does not take this size or these weights.
    TypeError
        If ``norm`` is not callable, or a number has the wrong type.
    """
    check_choice('model', name, MODELS)
    if norm is not None and not callable(norm):
        raise TypeError(f'norm = {short_repr(norm)}: expected a callable, norm(channels)')
    options: dict[str, Any] = {'box_scale': box_scale}
    if name == 'ssd_mini':
        if pretrained_model is not None:
            raise ValueError(f'pretrained_model = {pretrained_model!r}: ssd_mini takes none')
        given = {'insize': insize, 'norm': norm, 'sizes': sizes, 'aspect_ratios': aspect_ratios}
        options.update({key: value for key, value in given.items() if value is not None})
    else:
        for key, value in (('sizes', sizes), ('aspect_ratios', aspect_ratios)):
            if value is not None:
                raise ValueError(f'{key} = {short_repr(value)}: {name} has those of the paper')
        options['pretrained_model'] = pretrained_model
        if insize is not None and check_integer('insize', insize, 1) != FIXED_INSIZES[name]:
            raise ValueError(
                f'insize = {short_repr(insize)}: {name} takes {FIXED_INSIZES[name]} only'
            )
    return MODELS[name](n_fg_class, **options)


def save_detector(
    folder: str | os.PathLike[str], model: chainer.Link, label_names: Sequence[str]
) -> None:
    """Save a trained model with its class names as a folder.

    Writes ``model.npz`` and ``model.json``, each whole or not at all.

    Parameters
    ----------
    folder : str or path
        Created if missing.
    model : chainer.Link
        The model. For a class that :func:`create_detector` does not build, only the class name
        and the weights are saved: pass such a model to :func:`load_detector`.
    label_names : sequence of str
        Class names, in the order of the labels.

    Raises
    ------
    TypeError, ValueError
        If ``model`` is not a link, or ``label_names`` is not a sequence of distinct names, one per
        foreground class.
    OSError
        If a file cannot be written.

    Examples
    --------
    >>> model = SSDMini(2, insize=64)                  # doctest: +SKIP
    >>> save_detector('result', model, ['cat', 'dog'])  # doctest: +SKIP
    >>> load_detector('result').label_names             # doctest: +SKIP
    ('cat', 'dog')
    """
    _check_link(model)
    label_names = check_label_names(label_names, getattr(model, 'n_fg_class', None))
    names = {model_type: name for name, model_type in MODELS.items()}
    description = describe_detector(names.get(type(model)), model, label_names)
    os.makedirs(folder, exist_ok=True)
    write_npz(os.path.join(folder, WEIGHTS_FILE), values_of(model))
    write_json(os.path.join(folder, DESCRIPTION_FILE), description)


def load_detector(
    folder: str | os.PathLike[str], model: chainer.Link | None = None
) -> chainer.Link:
    """Load the trained detector of a folder, on the CPU.

    Parameters
    ----------
    folder : str or path
        What :func:`save_detector` or ``chainer-ssd train --out`` wrote. Folders of version 0.1
        load as well.
    model : chainer.Link, optional
        Receives the weights. Needed for a network that the package cannot build by name.

    Returns
    -------
    chainer.Link
        The model with its weights and an attribute ``label_names``, a tuple of str. The models
        of this package have ``predict(imgs)`` and ``use_preset(preset)``.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is damaged or does not fit. The message names the file and what was expected.
        If ``model`` has another ``n_fg_class``, ``insize`` or ``box_scale`` than the folder. For
        weights alone, use :func:`chainer_ssd.links.load_weights`.
    TypeError
        If ``model`` is not a link.
    """
    if model is not None:
        _check_link(model)
    path, weights = (os.path.join(folder, file) for file in (DESCRIPTION_FILE, WEIGHTS_FILE))
    description = read_description(path)
    name, label_names = description['model'], tuple(description['label_names'])
    if model is not None:
        _check_same_detector(model, description, path)
    else:
        if name not in MODELS:
            raise ValueError(
                f"{path}: 'model' is {shorten(name)}, expected one of {tuple(MODELS)}. For another "
                'network call load_detector(folder, model)'
            )
        if description['insize'] is None:
            raise ValueError(f"{path}: 'insize' is None, expected an int")
    if not os.path.isfile(weights):
        raise FileNotFoundError(
            f'{weights}: no such file. A training writes its weights with its first evaluation'
        )
    if model is None:
        options = {
            key: description[key]
            for key in ('insize', 'box_scale', 'sizes', 'aspect_ratios')
            if key in description
        }
        try:
            if len(label_names) > MANY_CLASSES:
                smallest = create_detector(name, 1, **options)
                check_class_count(len(label_names), smallest, os.path.getsize(weights))
            model = create_detector(name, len(label_names), **options)
        except (TypeError, ValueError) as error:
            raise ValueError(f'{path}: {printable_name(str(error), 1000)}') from error
    _load_weights(model, weights, description)
    model.label_names = label_names
    return model


def _check_link(model: Any) -> None:
    if not isinstance(model, chainer.Link):
        raise TypeError(f'model = {short_repr(model)}: expected a chainer.Link')


def _check_same_detector(model: chainer.Link, description: dict[str, Any], path: str) -> None:
    """Raise ``ValueError`` if a given model has other classes, another size or other boxes."""
    found = {**description, 'n_fg_class': len(description['label_names'])}
    for key in 'n_fg_class', 'insize', 'box_scale':
        value = found[key]
        own = getattr(model, key, None)
        if own is not None and value is not None and own != value:
            raise ValueError(
                f'{path}: {key} is {shorten(value)}: expected {shorten(own)}, as model has it. '
                'For the weights alone use load_weights'
            )
    own_boxes = box_options(model)
    for key in ('sizes', 'aspect_ratios') if hasattr(model, 'sizes') else ():
        if own_boxes.get(key) != found.get(key):
            raise ValueError(
                f'{path}: {key} is {shorten(found.get(key))}: expected '
                f'{shorten(own_boxes.get(key))}, as model has it (None: the default ones)'
            )


def _load_weights(model: chainer.Link, path: str, description: dict[str, Any]) -> None:
    expected = (
        f'expected the weights of {description["model"]} with an input of '
        f'{description["insize"]} pixels and {len(description["label_names"])} classes, '
        f'as {DESCRIPTION_FILE} states'
    )
    try:
        n_byte = sum(value.nbytes for value in values_of(model).values())
        arrays = read_npz(path, max_bytes=MAX_GROWTH * n_byte + SPARE_BYTES)
        unknown = sorted(arrays.keys() - values_of(model).keys())
        load_arrays(arrays, model, set(), path)
    except (KeyError, TypeError, ValueError) as error:
        reason = str(error)
        reason = reason[len(path) + 2 :] if reason.startswith(path) else reason
        raise ValueError(f'{path}: {expected}: {reason}') from error
    if unknown:  # the deserializer passes over weights that the model does not have
        raise ValueError(
            f'{path}: {expected}: the model has no {shorten(unknown[0])} '
            '(was it trained by another version?)'
        )
