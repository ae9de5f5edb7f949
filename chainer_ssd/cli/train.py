"""Train an SSD detector on drawn shapes, or on your own data.

    chainer-ssd train --dataset shapes
    chainer-ssd train --data path/to/bolts
    chainer-ssd train --data VOC2007 --data VOC2012 --model ssd300 --gpu 0
    mpiexec -n 2 python -m mpi4py -m chainer_ssd train --communicator naive --batchsize 4

The folder --out then holds:

  - model.npz, model.json: the detector, for chainer-ssd predict and chainer-ssd evaluate. Its
    weights are the best on the validation images if there are some (--val), or else the last
  - last.npz: the last weights
  - result.json: the average precision on the test split, and diagnostics
  - report.html: one page with the figures, the errors and the suspicious labels
  - suspicious_labels.json: labels that the detector contradicts
  - log, log.csv, loss.png, map.png: every reported value, and the curves
  - detection_*.jpg, match_*.png: detections and matched default boxes
  - snapshot_*, options.json: what --resume continues from
  - data.json: with --data, which images were trained and tested on

After Ctrl-C, SIGTERM or SIGUSR1 a last snapshot is saved, and one line shows how to continue. Over
MPI a signal to one process ends all, and --batchsize and --workers count for one process. The
learning rate does not depend on the number of processes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from typing import Any

import chainer
import numpy as np

from chainer_ssd._extras import require
from chainer_ssd.cli._arguments import (
    USER_ERRORS,
    exit_in_one_line,
    use_device,
)
from chainer_ssd.cli._data_summary import print_data
from chainer_ssd.cli._load_data import load_data, record_splits
from chainer_ssd.cli._model import create_model, snapshot_bytes
from chainer_ssd.cli._ranks import (
    create_communicator,
    create_watchdog,
    ending_together,
    refusing_together,
)
from chainer_ssd.cli._report_page import report_training
from chainer_ssd.cli._reports import extend_with_reports
from chainer_ssd.cli._result import save_result
from chainer_ssd.cli._resume import (
    check_resume_folder,
    collect_options,
    interruptible_training,
    resume_training,
    save_options,
)
from chainer_ssd.cli._selection import (
    create_average,
    create_validator,
    describe_selection,
    remove_leaks,
    restore_best,
    save_last_weights,
)
from chainer_ssd.cli._train_arguments import add_train_arguments, fill_in_defaults
from chainer_ssd.cli._trainer import create_trainer
from chainer_ssd.cli._training_data import augment_dataset, select_readable
from chainer_ssd.datasets import SkipUnreadable
from chainer_ssd.distributed import gather_values
from chainer_ssd.extensions import DetectionEvaluator
from chainer_ssd.runtime import AgreedError, Watchdog, lock_folder
from chainer_ssd.transforms import FixedEpoch, MatchTransform


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``chainer-ssd train``."""
    add_train_arguments(parser)


def run(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Train, evaluate, and write the result."""
    with exit_in_one_line(parser):
        args = fill_in_defaults(args)
        comm = create_communicator(args.communicator, args.gpu, parser.prog)
    # A data worker may die at any moment. Over MPI the watchdog reports errors of any rank on all.
    errors = USER_ERRORS if comm is None else (AgreedError,)
    dtype = chainer.mixed16 if args.dtype == 'mixed16' else np.dtype(args.dtype)
    with exit_in_one_line(parser, errors), ending_together(comm), create_watchdog(args, comm) as w:
        with chainer.using_config('dtype', dtype):
            train_on_ranks(args, comm, w)


def train_on_ranks(args: argparse.Namespace, comm: Any, watchdog: Watchdog | None) -> None:
    """Train on this rank."""
    rank = 0 if comm is None else comm.rank
    facts: dict[str, Any] = {}
    with refusing_together(comm, facts):
        device = use_device(comm.intra_rank if comm is not None and args.gpu >= 0 else args.gpu)
        if os.path.exists(args.out) and not os.path.isdir(args.out):
            raise ValueError(f'--out {args.out}: not a folder')
        data, leak = remove_leaks(load_data(args))
        notes = [] if leak is None else [leak]  # to print when nothing is refused any more
        train, test, label_names = data.train, data.test, data.label_names
        model = create_model(args, comm, label_names, train, notes)
        average = create_average(args, model)
        judged = model if average is None else average.average.to_device(device)
        options = collect_options(args, model, label_names, train, test, data.val)
        facts.update(options)
        readable = SkipUnreadable(train) if args.on_bad_image == 'skip' else train
        test_images, unreadable = select_readable(test, args.on_bad_image)
        augmented = augment_dataset(
            readable, args.augmentation, args.vertical_flip, model.insize, args.seed, comm
        )
        matched = chainer.datasets.TransformDataset(
            augmented,
            MatchTransform(model.coder.default_bbox, args.iou_thresh, match_type=args.match_type),
        )
        evaluator = DetectionEvaluator(
            chainer.iterators.SerialIterator(test_images, 1, repeat=False, shuffle=False),
            judged,
            use_07_metric=args.use_07_metric,
            label_names=label_names,
            comm=comm,
        )
        val_images, unreadable_val = select_readable(data.val, args.on_bad_image)
        unreadable += unreadable_val
        validator = create_validator(args, val_images, judged, label_names, comm)
        best = None if validator is None else validator[1]
        if not rank:
            check_resume_folder(args.resume)
            if args.tensorboard:
                require('tensorboardX', 'tensorboard')
    with refusing_together(comm, folder=args.out, size=0 if rank else snapshot_bytes(model)):
        n_image = len(readable)
        trainer = create_trainer(args, comm, model, device, augmented, matched, n_image, best)
        if average is not None:
            trainer.extend(average)
        if watchdog is not None:
            trainer.extend(watchdog)
        extend_with_reports(
            trainer, FixedEpoch(matched), test_images, evaluator, args, comm, watchdog, validator
        )
    with contextlib.ExitStack() as stack:
        with refusing_together(comm):
            stack.enter_context(lock_folder(args.out, comm))
        resume_training(trainer, args, options, comm)
        if not rank:
            save_options(args.out, options)
            record_splits(args.out, data)
            for note in notes:
                print(note)
            print_data(args, data, model)
        with interruptible_training(trainer, comm):
            trainer.run(show_loop_exception_msg=False)
            figures = trainer.observation
            if not rank:
                save_last_weights(args.out, judged)
            # Without figures, the snapshot was from the last iteration.
            if restore_best(trainer, judged, best) or 'validation/main/map' not in figures:
                figures = {**evaluator(), **trainer.get_extension('MatchReport')()}
            found = getattr(readable, 'unreadable', [])
            unreadable += [train.image_files[i] for i in found]
            left_out = sorted({file for each in gather_values(comm, unreadable) for file in each})
            if not rank:
                save_result(
                    args.out,
                    trainer,
                    judged,
                    label_names,
                    evaluator.class_keys,
                    figures,
                    args.command_line,
                    left_out,
                    describe_selection(trainer, 0 if best is None else len(val_images), best),
                )
                report_training(
                    args.out,
                    judged,
                    None if args.dataset == 'shapes' else train,
                    test,
                    label_names,
                    trainer.updater.iteration * args.batchsize,
                    args.use_07_metric,
                    args.on_bad_image == 'skip',
                )
