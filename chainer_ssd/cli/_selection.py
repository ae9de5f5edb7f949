"""Which weights ``chainer-ssd train`` keeps, and what chooses them."""

from __future__ import annotations

import argparse
import os
from typing import Any

import chainer

from chainer_ssd._files import write_npz
from chainer_ssd.cli._load_data import TrainingData
from chainer_ssd.extensions import DetectionEvaluator
from chainer_ssd.links import save_detector
from chainer_ssd.runtime import BestWeights, WeightAverage

LAST_FILE = 'last.npz'
VALIDATION = 'val'  # name of the evaluator, which begins its keys
VALIDATION_MAP = f'{VALIDATION}/main/map'


def remove_leaks(data: TrainingData) -> tuple[TrainingData, str | None]:
    """Return the data without validation images that are in another part, and what was found.

    A model that is chosen by test images has a test result that is too high. A model that is chosen
    by training images is the one that fits them best. So a split val is used as a whole, or not at
    all.
    """
    files = getattr(data.val, 'image_files', None)
    if files is None:
        return data, None
    for name, other in (('training', data.train), ('test', data.test)):
        others = set(map(os.path.realpath, other.image_files))
        n_shared = sum(os.path.realpath(file) in others for file in files)
        if n_shared:
            text = (
                f'{n_shared} of the {len(files)} images of the split val are {name} images too, so '
                'it does not choose the model. --val 0.1 holds training images out for that'
            )
            splits = None if data.splits is None else data.splits.without_val()
            return data._replace(val=None, splits=splits), text
    return data, None


def create_average(args: argparse.Namespace, model: chainer.Chain) -> WeightAverage | None:
    """Return the average of ``--ema``, whose model is on the CPU still."""
    return None if args.ema is None else WeightAverage(model, args.ema)


def create_validator(
    args: argparse.Namespace,
    val: chainer.dataset.DatasetMixin | None,
    judged: chainer.Chain,
    label_names: Any,
    comm: Any,
) -> tuple[DetectionEvaluator, BestWeights] | None:
    """Return the evaluator on the validation images and what keeps the best weights.

    Raises
    ------
    ValueError
        If ``--early-stopping`` is given without validation images.
    """
    if val is None:
        if args.early_stopping is not None:
            raise ValueError(
                f'--early-stopping {args.early_stopping} needs images that are neither training '
                'nor test images. --val 0.1 holds some out'
            )
        return None
    evaluator = DetectionEvaluator(
        chainer.iterators.SerialIterator(val, 1, repeat=False, shuffle=False),
        judged,
        use_07_metric=args.use_07_metric,
        label_names=label_names,
        comm=comm,
    )
    return evaluator, BestWeights(judged, VALIDATION_MAP, args.early_stopping)


def save_weights(
    trainer: chainer.training.Trainer,
    judged: chainer.Chain,
    label_names: Any,
    best: BestWeights | None,
) -> None:
    """Write the last weights. Write the detector if they are the best ones, or none are chosen."""
    if best is None or best.iteration == trainer.updater.iteration:
        save_detector(trainer.out, judged, label_names)
    save_last_weights(trainer.out, judged)


def save_last_weights(out: str, judged: chainer.Chain) -> None:
    """Write ``last.npz``."""
    serializer = chainer.serializers.DictionarySerializer()
    serializer.save(judged)
    write_npz(os.path.join(out, LAST_FILE), serializer.target)


def restore_best(
    trainer: chainer.training.Trainer, judged: chainer.Chain, best: BestWeights | None
) -> bool:
    """Load the best weights after a training, and return whether these are other ones."""
    if best is None or best.iteration in (0, trainer.updater.iteration):
        return False
    best.restore(judged)
    return True


def describe_selection(
    trainer: chainer.training.Trainer, n_val: int, best: BestWeights | None
) -> dict[str, Any]:
    """Return how the weights were chosen, for result.json, and print it."""
    if best is None or not best.iteration:
        return {'kept': 'last'}
    total = trainer.stop_trigger.period
    if best.is_stale and trainer.updater.iteration < total:
        print(f'ended early, after {trainer.updater.iteration} of {total} iterations')
    print(
        f'model.npz holds the weights of iteration {best.iteration}, with the best mAP on '
        f'{n_val} validation images: {best.value:.4f}'
    )
    return {
        'kept': 'best',
        'kept_iteration': best.iteration,
        'val_map': best.value,
        'val_images': n_val,
    }
