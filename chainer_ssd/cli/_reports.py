"""The extensions of ``chainer-ssd train``: evaluation, log, pictures, snapshots."""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Callable, Sequence, Set
from typing import Any

import chainer
from chainer.training import PRIORITY_WRITER, extensions

from chainer_ssd._extras import require
from chainer_ssd.cli._progress import MEAN_AP, extend_with_progress
from chainer_ssd.cli._selection import VALIDATION, save_weights
from chainer_ssd.cli._train_arguments import MAX_SNAPSHOT_INTERVAL, N_SNAPSHOT, N_VALIDATION
from chainer_ssd.extensions import (
    DetectionEvaluator,
    DetectionVisReport,
    MatchReport,
    MatchVisReport,
)
from chainer_ssd.images import has_glyphs
from chainer_ssd.links import MultiboxTrainChain
from chainer_ssd.runtime import (
    BestWeights,
    CSVReport,
    MeanOverRanks,
    PlotReport,
    Snapshot,
    StragglerReport,
    TensorBoardReport,
    TimeReport,
    Watchdog,
)

N_LOG, N_EVALUATION = 20, 4  # per training, whatever its length
MAX_CLASS_CURVES = 9
N_DETECTION_PICTURE = 4


def extend_with_reports(
    trainer: chainer.training.Trainer,
    matched: chainer.dataset.DatasetMixin,
    test: chainer.dataset.DatasetMixin,
    evaluator: DetectionEvaluator,
    args: argparse.Namespace,
    comm: Any = None,
    watchdog: Watchdog | None = None,
    validator: tuple[DetectionEvaluator, BestWeights] | None = None,
) -> None:
    """Extend the trainer with everything that reports or saves.

    Parameters
    ----------
    trainer : chainer.training.Trainer
        The trainer.
    matched : chainer.dataset.DatasetMixin
        Training examples ``(img, bbox, label, index)``.
    test : chainer.dataset.DatasetMixin
        Test examples.
    evaluator : DetectionEvaluator
        Evaluates on the test examples.
    args : argparse.Namespace
        Options of the command.
    comm : chainermn.CommunicatorBase, optional
        Rank 0 alone writes and prints.
    watchdog : Watchdog, optional
        Watchdog of the job. It knows the slowest rank.
    validator : tuple, optional
        The evaluator on the validation images, and what keeps the best weights.
    """
    iteration = trainer.stop_trigger.period
    logs = divide(iteration, N_LOG)
    evaluations = divide(iteration, N_EVALUATION)
    chain = trainer.updater.get_optimizer('main').target
    trainer.extend(evaluator, trigger=_at(evaluations))
    judged, best = evaluator.get_target('main'), None
    saves = evaluations
    if validator is not None:
        validate, best = validator
        validations = divide(iteration, N_VALIDATION)
        trainer.extend(validate, name=VALIDATION, trigger=_at(validations))
        trainer.extend(best)
        saves = saves | validations
    trainer.extend(TimeReport())
    # The matching does not depend on the weights: the first and the last iteration are enough.
    trainer.extend(
        MatchReport(
            matched,
            chain.model.coder.default_bbox,
            args.iou_thresh,
            args.k,
            comm=comm,
            min_negatives=args.min_negatives or 0,
        ),
        trigger=_at({1, iteration}),
    )
    every = args.snapshot_interval or min(MAX_SNAPSHOT_INTERVAL, max(1, iteration // N_SNAPSHOT))
    trainer.extend(Snapshot(args.out, comm), trigger=(every, 'iteration'))
    if comm is not None:
        trainer.extend(MeanOverRanks(comm, _at(logs)))
        if watchdog is not None:
            trainer.extend(StragglerReport(watchdog), trigger=_at(logs))
        if comm.rank:
            return
    names = tuple(evaluator.label_names or ())
    trainer.extend(
        lambda trainer: save_weights(trainer, judged, names, best),
        name='save_detector',
        trigger=_at(saves),
        priority=PRIORITY_WRITER - 2,  # after the best weights are known
    )
    trainer.extend(extensions.LogReport(trigger=_at(logs)))
    trainer.extend(CSVReport(), trigger=_at(logs))
    if args.tensorboard:
        folder = os.path.join(trainer.out, 'tensorboard')
        trainer.extend(TensorBoardReport(folder), trigger=_at(logs))
    losses = ['main/loss']
    if isinstance(chain, MultiboxTrainChain):
        losses += ['main/loss/loc', 'main/loss/conf']
    extend_with_progress(trainer, losses, _at(logs))
    if importlib.util.find_spec('pycocotools') is None:
        print(
            "report.html will be without COCO's figures, pycocotools is missing: "
            'pip install "chainer_ssd[eval]"'
        )
    try:
        require('matplotlib', 'plot').use('Agg')  # needs no display
    except ImportError:
        print('nothing is drawn, matplotlib is missing: pip install "chainer_ssd[plot]"')
        return
    _extend_with_curves(trainer, losses, evaluator.class_keys, logs, evaluations)
    trainer.extend(
        DetectionVisReport(
            test, judged, names, 'detection_{index}.jpg', n_image=N_DETECTION_PICTURE
        ),
        trigger=_at(evaluations),
    )
    if isinstance(chain, MultiboxTrainChain):
        trainer.extend(
            MatchVisReport(matched, chain, names, 'match_{index}.png'), trigger=_at(evaluations)
        )


def _extend_with_curves(
    trainer: chainer.training.Trainer,
    losses: Sequence[str],
    class_keys: Sequence[str],
    logs: Set[int],
    evaluations: Set[int],
) -> None:
    curves = [MEAN_AP]
    if len(class_keys) <= MAX_CLASS_CURVES:
        curves += [f'validation/main/ap/{key}' for key in class_keys]
    trainer.extend(PlotReport(losses, trigger=_at(logs), filename='loss.png'))
    trainer.extend(
        PlotReport(
            curves,
            trigger=_at(evaluations),
            filename='map.png',
            postprocess=_replace_missing_glyphs,
        )
    )


def _replace_missing_glyphs(figure: Any, axes: Any, summary: Any) -> None:
    """Name a curve by its number if the font has no glyph for a letter of its name."""
    for i, line in enumerate(axes.lines):
        if not has_glyphs(line.get_label()):
            line.set_label(f'validation/main/ap/label {i - 1}')  # the first curve is the mean


def divide(iteration: int, n: int) -> set[int]:
    """Return the last iterations of ``n`` parts of a training. The last one is among them."""
    return {max(1, iteration * i // n) for i in range(1, n + 1)}


def _at(iterations: Set[int]) -> Callable[[chainer.training.Trainer], bool]:
    """Return a trigger for these iterations. A function has no state that a snapshot can lack."""
    return lambda trainer: trainer.updater.iteration in iterations
