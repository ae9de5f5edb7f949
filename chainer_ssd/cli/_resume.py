"""How ``chainer-ssd train`` continues from snapshots, and when it refuses to start over."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from typing import Any

import chainer

from chainer_ssd._files import read_json, write_json
from chainer_ssd.cli._result import RESULT_FILE
from chainer_ssd.runtime import (
    Snapshot,
    interruptible,
    newest_snapshot,
    remove_snapshots,
    snapshot_files,
)

OPTIONS_FILE = 'options.json'
#: Options that describe the model. Snapshots with other values do not fit.
MODEL_OPTIONS = 'model', 'insize', 'box_scale', 'label_names'
#: Options that the weights do not depend on. They are not saved.
UNRELATED_OPTIONS = (
    'command',
    'command_line',
    'root',
    'out',
    'resume',
    'gpu',
    'communicator',
    'workers',
    'snapshot_interval',
    'watchdog_timeout',
)


def collect_options(
    args: argparse.Namespace, model: chainer.Chain, label_names: Any
) -> dict[str, Any]:
    """Return the options that the weights depend on, and the class names."""
    options = {key: value for key, value in vars(args).items() if key not in UNRELATED_OPTIONS}
    return {**options, 'insize': model.insize, 'label_names': list(label_names)}


def save_options(folder: str, options: dict[str, Any]) -> None:
    """Write ``folder/options.json``, whole or not at all."""
    os.makedirs(folder, exist_ok=True)
    write_json(os.path.join(folder, OPTIONS_FILE), options)


def resume_training(
    trainer: chainer.training.Trainer,
    args: argparse.Namespace,
    options: dict[str, Any],
    comm: Any = None,
) -> None:
    """Restore the newest snapshot if ``--resume`` is given.

    A new training removes the snapshots of a finished one from ``--out``.

    Raises
    ------
    ValueError
        If the snapshots belong to another model, if there is none, or if a new training would
        overwrite those of an unfinished one.
    """
    folder = args.out if args.resume == 'auto' else args.resume
    rank = 0 if comm is None else comm.rank
    keeps_out = folder is not None and os.path.realpath(folder) == os.path.realpath(args.out)
    if not rank and not keeps_out:
        _refuse_unfinished(args.out)
    if folder is not None:
        changed = {} if rank else _find_changed_options(folder, options)
        if changed.keys() & set(MODEL_OPTIONS):
            raise ValueError(
                f'--resume {folder}: its snapshots belong to another model: '
                + _join_changes({key: changed[key] for key in MODEL_OPTIONS if key in changed})
            )
        iteration = Snapshot(folder, comm).resume(trainer)
        if iteration is None and args.resume != 'auto':
            raise ValueError(f'--resume {folder}: no snapshot of a training in this folder')
        if not rank:
            print(_describe_start(folder, iteration, changed))
    if not rank and not keeps_out:
        remove_snapshots(args.out)  # a later --resume would take them for this training's


@contextlib.contextmanager
def interruptible_training(trainer: chainer.training.Trainer, rank: int = 0) -> Iterator[None]:
    """Make Ctrl-C raise a KeyboardInterrupt that shows how to resume."""

    def describe_resume() -> str:
        newest = newest_snapshot(trainer.out, rank)
        if newest is None:
            return 'no snapshot was written yet (--snapshot-interval)'
        return f'--resume auto goes on after iteration {newest}'

    with interruptible(trainer, describe_resume):
        yield


def _describe_start(folder: str, iteration: int | None, changed: dict[str, Any]) -> str:
    if iteration is None:
        return f'{folder}: no snapshot, starts a new training'
    options = f', with other options: {_join_changes(changed)}' if changed else ''
    return f'{folder}: goes on after iteration {iteration}{options}'


def _find_changed_options(folder: str, options: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the value before and the value now of each option that differs."""
    path = os.path.join(folder, OPTIONS_FILE)
    if newest_snapshot(folder) is None or not os.path.isfile(path):
        return {}
    try:
        before = dict(read_json(path))
    except (TypeError, ValueError) as error:
        raise ValueError(f'{path}: not a file that chainer-ssd train wrote: {error}') from error
    return {
        key: (before[key], value)
        for key, value in options.items()
        if key in before and before[key] != value
    }


def _join_changes(changed: dict[str, tuple[Any, Any]]) -> str:
    return ', '.join(
        f'{key.replace("_", "-")} {after} (before: {before})'
        for key, (before, after) in changed.items()
    )


def _refuse_unfinished(folder: str) -> None:
    newest, result = newest_snapshot(folder), os.path.join(folder, RESULT_FILE)
    if newest is None:
        return
    written = max(os.path.getmtime(path) for path in snapshot_files(folder))
    if not _is_json(result) or os.path.getmtime(result) < written:
        raise ValueError(
            f'--out {folder}: holds snapshots of an unfinished training. --resume auto goes on '
            f'after iteration {newest}. To start over, give another --out or remove the snapshots'
        )


def _is_json(path: str) -> bool:
    """Return whether a file exists and is complete. Version 0.1 could leave a part of it."""
    try:
        read_json(path)
    except (OSError, ValueError):
        return False
    return True
