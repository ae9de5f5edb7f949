"""What train.py goes on from: snapshots, and the options that they were made with."""

import contextlib
import os
import re
import signal

from chainer_ssd._files import read_json, write_json
from chainer_ssd.cli._reports import RESULT
from chainer_ssd.runtime import Snapshot

OPTIONS = 'options.json'
# What the weights are of: with another value no snapshot fits.
MODEL = 'model', 'insize', 'box_scale', 'label_names'
# What they do not depend on: where things lie, who computes, what is written and when.
UNRELATED = (
    'command',
    'root',
    'out',
    'resume',
    'gpu',
    'communicator',
    'workers',
    'snapshot_interval',
    'watchdog_timeout',
)


def options_of(args, model, label_names):
    """The options that the weights depend on, and the classes."""
    options = {key: value for key, value in vars(args).items() if key not in UNRELATED}
    return {**options, 'insize': model.insize, 'label_names': list(label_names)}


def save_options(folder, options):
    """Writes ``folder``/options.json, whole or not at all."""
    os.makedirs(folder, exist_ok=True)
    write_json(os.path.join(folder, OPTIONS), options)


def resume(trainer, args, options, comm=None):
    """Goes on from the newest snapshot if ``--resume`` says so, else begins anew.

    ValueError for snapshots of another model, and where a training anew would write over those of
    one that is not finished.
    """
    folder = args.out if args.resume == 'auto' else args.resume
    rank = 0 if comm is None else comm.rank
    goes_on = folder is not None and os.path.realpath(folder) == os.path.realpath(args.out)
    if not rank and not goes_on:
        _refuse_unfinished(args.out)
    if folder is not None:
        changed = {} if rank else _changed_options(folder, options)
        if changed.keys() & set(MODEL):
            raise ValueError(
                f'--resume {folder}: its snapshots are of another model, with '
                + _listed({key: changed[key] for key in MODEL if key in changed})
            )
        iteration = Snapshot(folder, comm).resume(trainer)
        if iteration is None and args.resume != 'auto':
            raise ValueError(f'--resume {folder}: no snapshot of such a training')
        if not rank:
            print(
                f'{folder}: no snapshot, begins anew'
                if iteration is None
                else f'{folder}: goes on after iteration {iteration}'
                + (f', but not as it began: with {_listed(changed)}' if changed else '')
            )
    if not rank and not goes_on:
        _remove_snapshots(args.out)  # or they would pass for this training's


def _changed_options(folder, options):
    """Of those that were others when the snapshots of the folder were made, both values."""
    path = os.path.join(folder, OPTIONS)
    if newest_snapshot(folder) is None or not os.path.isfile(path):
        return {}
    try:
        before = dict(read_json(path))
    except (TypeError, ValueError) as error:
        raise ValueError(f'{path}: not what chainer-ssd train wrote: {error}') from error
    return {
        key: (before[key], value)
        for key, value in options.items()
        if key in before and before[key] != value
    }


def _listed(changed):
    return ', '.join(
        f'{key.replace("_", "-")} {after} (there: {before})'
        for key, (before, after) in changed.items()
    )


def _refuse_unfinished(folder):
    newest, result = newest_snapshot(folder), os.path.join(folder, RESULT)
    if newest is None:
        return
    written = max(os.path.getmtime(path) for path in _snapshot_files(folder).values())
    if not _is_json(result) or os.path.getmtime(result) < written:
        raise ValueError(
            f'--out {folder}: holds snapshots of a training that is not finished: --resume auto '
            f'goes on after iteration {newest}; to begin anew give another --out, or remove '
            f'{os.path.join(folder, "snapshot_*")}'
        )


def _is_json(path):
    try:
        read_json(path)
    except (OSError, ValueError):  # missing, or torn by an older version
        return False
    return True


def newest_snapshot(folder, rank=0):
    """The iteration of the newest snapshot that a rank has written; None if there is none."""
    return max(
        (
            int(name[1])
            for name in _snapshot_files(folder)
            if name[2] == str(rank) and name[3] == 'json'
        ),
        default=None,
    )


def _snapshot_files(folder):
    """Paths of all ranks' files; the keys are iteration, rank and suffix, as matched."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    matches = (re.fullmatch(r'snapshot_(\d+)_rank(\d+)\.(json|npz)', name) for name in names)
    return {match: os.path.join(folder, match[0]) for match in matches if match}


def _remove_snapshots(folder):
    for path in _snapshot_files(folder).values():
        os.remove(path)


@contextlib.contextmanager
def interruptible(trainer, rank=0):
    """Ctrl-C raises a KeyboardInterrupt that says how to go on."""
    pressed = []

    def interrupt(*_):
        pressed.append(True)
        newest = newest_snapshot(trainer.out, rank)
        way = (
            'no snapshot was written yet (--snapshot-interval)'
            if newest is None
            else f'--resume auto goes on after iteration {newest}'
        )
        raise KeyboardInterrupt(f'interrupted after iteration {trainer.updater.iteration}; {way}')

    # What is raised in the moment of a fork, or in a destructor, Python prints and forgets.
    trainer.extend(lambda _: pressed and interrupt(), name='interrupt', trigger=(1, 'iteration'))
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # not where it is ignored, as under nohup
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
