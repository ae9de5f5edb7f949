"""The folder of a trained detector: model.json says what it is, model.npz holds its weights.

train.py writes both, predict.py and evaluate.py read them.
"""
import json
import os

import chainer
import numpy as np

import chainer_ssd

# What --model calls it, and the class.
MODELS = {'ssd_mini': 'SSDMini', 'ssd300': 'SSD300', 'ssd512': 'SSD512'}
DESCRIPTION, WEIGHTS = 'model.json', 'model.npz'


def create_model(name, n_fg_class, insize=None, norm=None, pretrained_model=None, box_scale=1):
    """An untrained detector.

    Parameters
    ----------
    name : str
        One of ``MODELS``.
    n_fg_class : int
        Number of classes without background.
    insize : int, optional
        Side of the network's input in pixels. SSD300 and SSD512 have but one.
    norm : callable, optional
        What SSDMini makes its normalisation with, see there; the others have none.
    pretrained_model : str, optional
        The npz file that SSD300 and SSD512 begin with, see there; SSDMini begins from random
        weights.
    box_scale : float
        Factor of the default boxes' sides.

    Returns
    -------
    chainer.Chain
        With ``predict(imgs)``, ``use_preset(preset)``, ``coder`` and ``insize``.

    Raises
    ------
    ValueError
        If there is no such model, not of this size, or not with such weights.
    """
    if name not in MODELS:
        raise ValueError(f'model {name!r}: expected one of {", ".join(MODELS)}')
    options = {}
    if name == 'ssd_mini':
        given = {'insize': insize, 'norm': norm}
        options = {key: value for key, value in given.items() if value is not None}
        if pretrained_model is not None:
            raise ValueError(f'pretrained_model = {pretrained_model!r}: ssd_mini takes none')
    elif pretrained_model is not None:
        options['pretrained_model'] = pretrained_model
    model = getattr(chainer_ssd, MODELS[name])(n_fg_class, **options)
    if insize not in (None, model.insize):
        raise ValueError(f'insize = {insize}: {name} takes {model.insize} only')
    model.coder.default_bbox[:, 2:] *= np.float32(box_scale)
    return model


def save_description(folder, name, model, label_names, box_scale=1):
    """Writes ``folder``/model.json; the weights, model.npz, are the trainer's to write.

    Parameters
    ----------
    folder : str or path
        Made if it is not there.
    name : str
        What :func:`create_model` was given.
    model : chainer.Chain
        What it returned.
    label_names : sequence of str
        The classes, in the order of the labels.
    box_scale : float
        What :func:`create_model` was given.
    """
    os.makedirs(folder, exist_ok=True)
    description = {'model': name, 'insize': model.insize, 'box_scale': box_scale,
                   'label_names': list(label_names)}
    with open(os.path.join(folder, DESCRIPTION), 'w', encoding='utf-8') as file:
        json.dump(description, file, indent=1, ensure_ascii=False)


def load_detector(folder):
    """The trained detector of a folder, on the CPU.

    Parameters
    ----------
    folder : str or path
        What train.py was given as ``--out``.

    Returns
    -------
    model : chainer.Chain
        With its weights; see :func:`create_model`.
    label_names : tuple of str
        The classes, in the order of the labels.

    Raises
    ------
    FileNotFoundError
        If a file is missing; where it is the weights, training has not come so far.
    ValueError
        If a file is not what it should be. The message names it and what was expected.
    """
    path, weights = (os.path.join(folder, file) for file in (DESCRIPTION, WEIGHTS))
    name, insize, box_scale, label_names = _read_description(path)
    try:
        model = create_model(name, len(label_names), insize, box_scale=box_scale)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error
    if not os.path.isfile(weights):
        raise FileNotFoundError(
            f'{weights}: no such file; the training that writes to {folder} is not finished: '
            'its weights come with its first evaluation')
    try:
        # Chainer's load_npz would unpickle, and so run, what a stranger's file holds.
        with open(weights, 'rb') as binary, np.load(binary, allow_pickle=False) as file:
            chainer.serializers.NpzDeserializer(file).load(model)
            _refuse_others(file, model)
    except Exception as error:  # what is broken or not npz raises what it likes
        raise ValueError(
            f'{weights}: expected the weights of {name} with an input of {model.insize} pixels '
            f'and {len(label_names)} classes, as {path} says: {error}') from error
    return model, label_names


def _refuse_others(file, model):
    """The deserializer passes over weights that the model does not have."""
    serializer = chainer.serializers.DictionarySerializer()
    serializer.save(model)
    others = sorted(set(file) - set(serializer.target))
    if others:
        raise ValueError(f'the model has no {others[0]!r} (was it trained by another version?)')


def _read_description(path):
    try:
        with open(path, encoding='utf-8') as file:
            description = json.load(file)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'{path}: no such file; expected the folder that train.py wrote (--out)') from error
    except NotADirectoryError as error:
        raise FileNotFoundError(
            f'{os.path.dirname(path)}: not a folder; expected the one that train.py wrote (--out)'
        ) from error
    except ValueError as error:
        raise ValueError(f'{path}: not a well-formed JSON file: {error}') from error
    if isinstance(description, dict):
        description.setdefault('box_scale', 1)
    expected = {'model': str, 'insize': int, 'box_scale': (int, float), 'label_names': list}
    for key, types in expected.items():
        value = description.get(key) if isinstance(description, dict) else None
        if not isinstance(value, types):
            name = 'number' if isinstance(types, tuple) else types.__name__
            raise ValueError(f'{path}: {key!r} is {value!r}, expected a {name}')
    label_names = tuple(description['label_names'])
    if not label_names or not all(isinstance(name, str) for name in label_names):
        raise ValueError(f"{path}: 'label_names' is {label_names}, expected one name or more")
    return description['model'], description['insize'], description['box_scale'], label_names
