"""The result of a training: result.json, and the summary that is printed at the end."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import chainer
import numpy as np

from chainer_ssd._files import none_if_nan, write_json
from chainer_ssd.images import printable_name
from chainer_ssd.links import save_detector

RESULT_FILE = 'result.json'
MAX_LISTED, MAX_FILE_LETTERS = 20, 300
TIME_PREFIX, MATCH_PREFIX = 'main/time/', 'match/'


def save_result(
    out: str,
    trainer: chainer.training.Trainer,
    model: chainer.Chain,
    label_names: Sequence[str],
    class_keys: Sequence[str],
    figures: Mapping[str, Any],
    command_line: str,
    left_out: Sequence[str] = (),
    selection: Mapping[str, Any] | None = None,
) -> None:
    """Write the weights and result.json, and print the result.

    Parameters
    ----------
    out : str
        The folder.
    trainer : chainer.training.Trainer
        The trainer after its last iteration.
    model : chainer.Chain
        The trained model.
    label_names : sequence of str
        Its class names.
    class_keys : sequence of str
        The name of each class in the keys of ``figures``.
    figures : mapping of str to float
        The last observation, with the average precision of each class.
    command_line : str
        The command, as one types it.
    left_out : sequence of str
        Image files that could not be read.
    selection : mapping, optional
        How the weights were chosen.
    """
    ap = {name: figures[f'validation/main/ap/{key}'] for name, key in zip(label_names, class_keys)}
    mean_ap = figures['validation/main/map']
    seconds = average_seconds(trainer.get_extension('LogReport').log)
    match = {
        key[len(MATCH_PREFIX) :]: none_if_nan(value)
        for key, value in figures.items()
        if key.startswith(MATCH_PREFIX)
    }
    result = {
        'map': none_if_nan(mean_ap),
        'ap': {name: none_if_nan(value) for name, value in ap.items()},
        'seconds': trainer.elapsed_time,
        'iteration': trainer.updater.iteration,
        'insize': model.insize,
        **(selection or {}),
        'seconds_per_iteration': seconds,
        'match': match,
        'left_out': list(left_out),
        'command': command_line,
        'versions': {
            'python': platform.python_version(),
            **{
                name: importlib.metadata.version(name)
                for name in ('numpy', 'chainer', 'chainer_ssd')
            },
        },
    }
    save_detector(out, model, label_names)
    write_json(os.path.join(out, RESULT_FILE), result)
    if seconds:
        parts = (f'{part} {value:.3f}' for part, value in seconds.items())
        print('seconds an iteration: ' + ', '.join(parts))
    if match:
        print_matching(match)
    for name, value in ap.items():
        # A dash for a class without ground truths.
        print(f'AP  {"-" if math.isnan(value) else f"{value:.4f}":>6}  {printable_name(name)}')
    if left_out:
        files = ', '.join(printable_name(file, MAX_FILE_LETTERS) for file in left_out[:MAX_LISTED])
        more = f' and {len(left_out) - MAX_LISTED} more' if len(left_out) > MAX_LISTED else ''
        print(f'images that cannot be read and were left out: {len(left_out)}: {files}{more}')
    if math.isnan(mean_ap):
        print('there is no mAP, because no object of the test images counts')
    print(f'mAP {mean_ap:.4f} after {trainer.elapsed_time:.0f} s; see {out}')


def average_seconds(log: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean time of each part of an iteration.

    The first entry of the log is left out if there are others: its iterations fill the caches.
    """
    entries = [
        {
            name[len(TIME_PREFIX) :]: value
            for name, value in entry.items()
            if name.startswith(TIME_PREFIX)
        }
        for entry in log
    ]
    entries = [entry for entry in entries[1:] or entries if entry]
    return {
        part: float(np.mean([entry[part] for entry in entries if part in entry]))
        for part in (entries[0] if entries else ())
    }


def print_matching(match: Mapping[str, float | None]) -> None:
    """Print the last figures of ``MatchReport`` as a table."""
    print('ground truths                an image  boxes an image  recall  unmatched')
    sizes = sorted(
        (name.split('/')[1] for name in match if name.startswith('recall/')),
        key=lambda name: int(name.split('-')[0]),
    )
    for size in ['', *sizes]:
        n_truth, n_positive, recall, unmatched = (
            match[f'{name}/{size}'.rstrip('/')] or 0
            for name in ('n_truth', 'n_positive', 'recall', 'unmatched')
        )
        print(
            f'{size or "all":28} {n_truth:8.2f} {n_positive:15.2f} {recall:7.3f} {unmatched:10.3f}'
        )
    if 'hard_negative' in match:
        print(f'{match["hard_negative"]:.1%} of the negatives are mined')
