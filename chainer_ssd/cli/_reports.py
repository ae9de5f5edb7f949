"""What train.py writes down: log, curves, diagnostics, weights, the result."""

import importlib.metadata
import math
import os
import platform
import shlex
import sys
import warnings

import numpy as np
from chainer.training import PRIORITY_WRITER, extensions, triggers

from chainer_ssd import (
    DetectionVisReport,
    MatchReport,
    MatchVisReport,
    MeanOverRanks,
    MultiboxTrainChain,
    Snapshot,
    TimeReport,
    save_detector,
)
from chainer_ssd._files import write_json

RESULT = 'result.json'


def extend(trainer, matched, test, evaluator, args, comm=None):
    """Extends the trainer: evaluation four times, the log twenty times, whatever its length."""
    iteration = trainer.stop_trigger.period
    interval = max(1, iteration // 20), 'iteration'
    quarters = [iteration * quarter // 4 for quarter in (1, 2, 3, 4)]

    def at(*iterations):
        return triggers.ManualScheduleTrigger(list(iterations), 'iteration')

    chain = trainer.updater.get_optimizer('main').target
    trainer.extend(evaluator, trigger=at(*quarters))
    trainer.extend(TimeReport())
    trainer.extend(
        MatchReport(matched, chain.model.coder.default_bbox, args.iou_thresh, args.k, comm=comm),
        trigger=at(1, iteration),
    )  # the weights change nothing
    trainer.extend(Snapshot(args.out, comm), trigger=(args.snapshot_interval, 'iteration'))
    if comm is not None:
        trainer.extend(MeanOverRanks(comm, interval))
        if comm.rank:
            return
    names = evaluator.label_names
    trainer.extend(
        lambda trainer: save_detector(trainer.out, chain.model, names),
        name='save_detector',
        trigger=at(*quarters),
        priority=PRIORITY_WRITER,
    )
    trainer.extend(extensions.LogReport(trigger=interval))
    losses = ['main/loss']
    if isinstance(chain, MultiboxTrainChain):
        losses += ['main/loss/loc', 'main/loss/conf']
    is_terminal = sys.stdout.isatty()  # elsewhere cursor movements would be read as text
    trainer.extend(
        extensions.PrintReport(
            ['epoch', 'iteration', *losses, 'validation/main/map', 'elapsed_time'],
            out=sys.stdout if is_terminal else PlainText(),
        ),
        trigger=interval,
    )
    if is_terminal:
        trainer.extend(extensions.ProgressBar(update_interval=10))

    try:
        import matplotlib
    except ImportError:
        print('nothing is drawn, matplotlib is missing: pip install "chainer_ssd[plot]"')
        return
    matplotlib.use('Agg')  # needs no display
    curves = ['map', *(f'ap/{name}' for name in names)] if len(names) < 10 else ['map']
    trainer.extend(PlotReport(losses, trigger=interval, filename='loss.png'))
    trainer.extend(
        PlotReport(
            [f'validation/main/{curve}' for curve in curves],
            trigger=at(*quarters),
            filename='map.png',
        )
    )
    trainer.extend(
        DetectionVisReport(test, chain.model, names, 'detection_{index}.jpg', n_image=4),
        trigger=at(*quarters),
    )
    if isinstance(chain, MultiboxTrainChain):
        trainer.extend(
            MatchVisReport(matched, chain, names, 'match_{index}.png'), trigger=at(*quarters)
        )


class PlainText:
    """The standard output, without the sequence that PrintReport begins each line with."""

    def write(self, text):
        sys.stdout.write(text.replace('\033[J', ''))

    def flush(self):
        sys.stdout.flush()


class PlotReport(extensions.PlotReport):
    """A plot that cannot be written is warned of, once, and the training goes on."""

    has_warned = False

    def __call__(self, trainer):
        try:
            super().__call__(trainer)
        except OSError as error:
            import matplotlib.pyplot

            matplotlib.pyplot.close()
            self._init_summary()
            if not self.has_warned:
                self.has_warned = True
                warnings.warn(f'{self._file_name} is not written: {error}', stacklevel=2)


def save_result(out, trainer, model, label_names, figures):
    """Writes the weights and result.json, and prints the result.

    ``figures`` is what was observed last, the average precision among it.
    """
    ap = {name: figures[f'validation/main/ap/{name}'] for name in label_names}
    mean_ap = figures['validation/main/map']
    seconds = mean_seconds(trainer.get_extension('LogReport').log)
    match = {key: value for key, value in figures.items() if key.startswith('match/')}
    result = {
        'map': none_if_nan(mean_ap),
        'ap': {name: none_if_nan(value) for name, value in ap.items()},
        'seconds': trainer.elapsed_time,
        'iteration': trainer.updater.iteration,
        'insize': model.insize,
        'seconds_per_iteration': seconds,
        'match': {key[len('match/') :]: none_if_nan(value) for key, value in match.items()},
        'command': shlex.join([os.path.basename(sys.executable), *sys.argv]),
        'versions': {
            'python': platform.python_version(),
            **{
                name: importlib.metadata.version(name)
                for name in ('numpy', 'chainer', 'chainer_ssd')
            },
        },
    }
    save_detector(out, model, label_names)
    write_json(os.path.join(out, RESULT), result)
    if seconds:
        print(
            'seconds an iteration: '
            + ', '.join(f'{part} {value:.3f}' for part, value in seconds.items())
        )
    if match:
        print_matching(result['match'])
    for name, value in ap.items():
        print(f'AP  {"-" if math.isnan(value) else f"{value:.4f}":>6}  {name}')  # -: none to find
    print(f'mAP {mean_ap:.4f} after {trainer.elapsed_time:.0f} s; see {out}')


def mean_seconds(log):
    """Seconds an iteration in each of its parts; the first entry, in which all is cold, apart."""
    key = 'main/time/'
    entries = [
        {name[len(key) :]: value for name, value in entry.items() if name.startswith(key)}
        for entry in log
    ]
    entries = [entry for entry in entries[1:] or entries if entry]
    return {
        part: float(np.mean([entry[part] for entry in entries if part in entry]))
        for part in (entries[0] if entries else ())
    }


def print_matching(match):
    """The last sample of MatchReport as a table."""
    print('ground truths                an image  boxes an image  recall  unmatched')
    sizes = sorted(
        (name.split('/')[1] for name in match if name.startswith('recall/')),
        key=lambda name: int(name.split('-')[0]),
    )
    for size in ['', *sizes]:
        truths, boxes, recall, unmatched = (
            match[f'{name}/{size}'.rstrip('/')] or 0
            for name in ('n_truth', 'n_positive', 'recall', 'unmatched')
        )
        print(f'{size or "all":28} {truths:8.2f} {boxes:15.2f} {recall:7.3f} {unmatched:10.3f}')
    print(f'{match["hard_negative"]:.1%} of the negatives are mined')


def none_if_nan(value):
    return None if math.isnan(value) else float(value)
