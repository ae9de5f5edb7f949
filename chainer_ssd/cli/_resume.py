"""How ``chainer-ssd train`` continues from snapshots, and when it refuses to start over."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from typing import Any

import chainer

from chainer_ssd._files import read_json, write_json
from chainer_ssd.cli._load_data import describe_data
from chainer_ssd.cli._objective_arguments import OBJECTIVE_OPTIONS, read_objective
from chainer_ssd.cli._ranks import refusing_together
from chainer_ssd.cli._result import RESULT_FILE
from chainer_ssd.images import printable_name
from chainer_ssd.runtime import (
    Snapshot,
    interruptible,
    newest_snapshot,
    remove_snapshots,
    snapshot_files,
)

OPTIONS_FILE = 'options.json'
#: Options that describe the model. Snapshots with other values do not fit.
MODEL_OPTIONS = 'model', 'insize', 'box_scale', 'default_boxes', 'dtype', 'label_names'
#: Options that the weights do not depend on. They are not saved.
UNRELATED_OPTIONS = (
    'command',
    'command_line',
    'root',
    'data',
    'format',
    'out',
    'overwrite',
    'resume',
    'accept_changed_data',
    'on_bad_image',
    'gpu',
    'communicator',
    'workers',
    'snapshot_interval',
    'watchdog_timeout',
    'watchdog_port',
    'watchdog_interface',
    'no_watchdog',
    'use_07_metric',
    'nms_top_k',
    'keep_top_k',
    'tensorboard',
)
TRAIN_DATA, TEST_DATA, VAL_DATA = 'train_data', 'test_data', 'val_data'
DEFAULT_BOXES = 'default_boxes'  # sizes and aspect ratios of --fit-boxes
_DATA_NAMES = {TRAIN_DATA: 'training', TEST_DATA: 'test', VAL_DATA: 'validation'}
MAX_VALUE_LETTERS = 200


def collect_options(
    args: argparse.Namespace,
    model: chainer.Chain,
    label_names: Any,
    train: Any,
    test: Any,
    val: Any = None,
) -> dict[str, Any]:
    """Return the options that the weights depend on, the class names, and facts on the data."""
    options = {key: value for key, value in vars(args).items() if key not in UNRELATED_OPTIONS}
    return {
        **options,
        'insize': model.insize,
        'label_names': list(label_names),
        TRAIN_DATA: describe_data(train),
        TEST_DATA: describe_data(test),
        VAL_DATA: None if val is None else describe_data(val),
        DEFAULT_BOXES: describe_default_boxes(model) if args.fit_boxes else None,
    }


def describe_default_boxes(model: chainer.Chain) -> dict[str, Any]:
    """Return the sizes and aspect ratios of a model as lists."""
    return {
        'sizes': list(model.sizes),
        'aspect_ratios': [list(ratios) for ratios in model.aspect_ratios],
    }


def read_default_boxes(args: argparse.Namespace) -> dict[str, Any] | None:
    """Return the sizes and aspect ratios of the training that is resumed, or None."""
    folder = args.out if args.resume == 'auto' else args.resume
    if folder is None or not snapshot_files(folder):
        return None
    try:
        return read_json(os.path.join(folder, OPTIONS_FILE)).get(DEFAULT_BOXES)
    except (OSError, AttributeError, ValueError):
        return None  # the check of the options names the fault


def save_options(folder: str, options: dict[str, Any]) -> None:
    """Write ``folder/options.json``, whole or not at all."""
    os.makedirs(folder, exist_ok=True)
    write_json(os.path.join(folder, OPTIONS_FILE), options)


def check_resume_folder(folder: str | None) -> None:
    """Raise ``ValueError`` if the folder that ``--resume`` names holds no snapshot."""
    if folder is None or folder == 'auto':
        return
    if os.path.isfile(folder):
        raise ValueError(
            f'--resume {folder}: a file, expected the folder of a training. '
            'For the weights of another model, give --pretrained'
        )
    if not snapshot_files(folder):
        raise ValueError(f'--resume {folder}: no snapshot of a training in this folder')


def resume_training(
    trainer: chainer.training.Trainer,
    args: argparse.Namespace,
    options: dict[str, Any],
    comm: Any = None,
) -> None:
    """Restore the newest snapshot if ``--resume`` is given.

    A new training with ``--overwrite`` removes the snapshots and the result of another one.

    Raises
    ------
    ValueError
        If the snapshots do not fit the model, the data or the length of the training, or if there
        is none. If a new training would overwrite another one.
    """
    folder = args.out if args.resume == 'auto' else args.resume
    rank = 0 if comm is None else comm.rank
    keeps_out = folder is not None and os.path.realpath(folder) == os.path.realpath(args.out)
    changed: dict[str, tuple[Any, Any]] = {}
    iteration = None
    with refusing_together(comm):
        if not rank and not keeps_out and not args.overwrite:
            _refuse_other_training(args.out)
        if not rank and folder is not None:
            changed = _find_changed_options(folder, options)
            _refuse_misfit(folder, changed, args.accept_changed_data)
            _refuse_short_training(folder, trainer.stop_trigger.period)
    if folder is not None:
        with refusing_together(comm):
            iteration = Snapshot(folder, comm).resume(trainer)
        with refusing_together(comm):
            if iteration is None and args.resume != 'auto':
                raise ValueError(f'--resume {folder}: no complete snapshot of a training here')
            if iteration is None and not rank and not args.overwrite:
                _refuse_other_training(args.out)
        if not rank:
            print(_describe_start(folder, iteration, changed))
    if not rank and not keeps_out:
        remove_snapshots(args.out)  # a later --resume would take them for this training's
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(args.out, RESULT_FILE))


@contextlib.contextmanager
def interruptible_training(trainer: chainer.training.Trainer, comm: Any = None) -> Iterator[None]:
    """Make a signal on any rank save a snapshot and raise an error that shows how to resume."""

    def describe_resume() -> str:
        newest = newest_snapshot(trainer.out)
        if newest is None:
            return 'no snapshot was written yet (--snapshot-interval)'
        return f'--resume auto goes on after iteration {newest}'

    with interruptible(trainer, describe_resume, trainer.get_extension('Snapshot'), comm):
        yield


def _refuse_misfit(
    folder: str, changed: dict[str, tuple[Any, Any]], accepts_changed_data: bool
) -> None:
    """Raise unless snapshots fit the model, the objective and the data."""
    for name, keys in (('model', MODEL_OPTIONS), ('objective', OBJECTIVE_OPTIONS)):
        others = {key: changed[key] for key in keys if key in changed}
        if others:
            raise ValueError(
                f'--resume {folder}: its snapshots belong to another {name}: '
                + _join_changes(others)
            )
    if TRAIN_DATA not in changed:
        return
    before, after = changed[TRAIN_DATA]
    if before['images'] != after['images']:
        raise ValueError(
            f'--resume {folder}: its snapshots were made with {before["images"]} training images, '
            f'and there are {after["images"]} now. A snapshot fits only the same images. '
            'Start a new training'
        )
    if not accepts_changed_data:
        raise ValueError(
            f'--resume {folder}: names or boxes of the training data have changed since the '
            f'snapshot ({after["objects"]} objects, {before["objects"]} before). '
            'To go on with the new ones, add --accept-changed-data'
        )


def _refuse_short_training(folder: str, total: int) -> None:
    """Raise if the training ends before its newest snapshot."""
    newest = newest_snapshot(folder)
    if newest is not None and newest > total:
        raise ValueError(
            f'--resume {folder}: its newest snapshot is of iteration {newest}, and this '
            f'training ends after {total}. Give a length of at least {newest} iterations'
        )


def _describe_start(folder: str, iteration: int | None, changed: dict[str, tuple[Any, Any]]) -> str:
    if iteration is None:
        return f'{folder}: no snapshot, starts a new training'
    options = {key: changed[key] for key in changed if key not in _DATA_NAMES}
    text = f'{folder}: goes on after iteration {iteration}'
    if options:
        text += f', with other options: {_join_changes(options)}'
    for key, name in _DATA_NAMES.items():
        if key in changed:
            text += f', with other {name} data'
    return text


def _find_changed_options(folder: str, options: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the value before and the value now of each option that differs."""
    path = os.path.join(folder, OPTIONS_FILE)
    if newest_snapshot(folder) is None:
        return {}
    if not os.path.isfile(path):
        raise ValueError(
            f'--resume {folder}: {OPTIONS_FILE} is missing, so the data and the options of its '
            'snapshots are not known'
        )
    try:
        before = {'schedule': 'cosine', **read_json(path)}  # earlier versions had no other one
        before.update(read_objective(before))
        for key in (TRAIN_DATA, TEST_DATA):
            before[key]['images'] + before[key]['objects']
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{path}: not a file that chainer-ssd train wrote: {error}') from error
    return {
        key: (before[key], value)
        for key, value in options.items()
        if key in before and before[key] != value
    }


def _join_changes(changed: dict[str, tuple[Any, Any]]) -> str:
    return ', '.join(
        f'{key.replace("_", "-")} {printable_name(str(after), MAX_VALUE_LETTERS)} '
        f'(before: {printable_name(str(before), MAX_VALUE_LETTERS)})'
        for key, (before, after) in changed.items()
    )


def _refuse_other_training(folder: str) -> None:
    """Raise if a folder holds a training, finished or not."""
    newest = newest_snapshot(folder)
    result = _read_result(os.path.join(folder, RESULT_FILE))
    if newest is not None and (result is None or result['iteration'] < newest):
        raise ValueError(
            f'--out {folder}: holds snapshots of an unfinished training. --resume auto goes on '
            f'after iteration {newest}. To start over, give another --out, or --overwrite'
        )
    if result is not None:
        mean_ap = result.get('map')
        figure = f', mAP {mean_ap:.4f}' if isinstance(mean_ap, float) else ''
        raise ValueError(
            f'--out {folder}: holds a finished training ({result["iteration"]} iterations{figure}).'
            ' Give another --out, or --overwrite to replace it'
        )
    if os.path.exists(os.path.join(folder, 'model.npz')):
        raise ValueError(
            f'--out {folder}: holds the weights model.npz of another training. '
            'Give another --out, or --overwrite to replace them'
        )


def _read_result(path: str) -> dict[str, Any] | None:
    """Return a complete result, or None. Version 0.1 could leave a part of one."""
    try:
        result = read_json(path)
    except (OSError, ValueError):
        return None
    is_complete = isinstance(result, dict) and isinstance(result.get('iteration'), int)
    return result if is_complete else None
