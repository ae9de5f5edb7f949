"""Find the faults of a data set before a training.

    chainer-ssd check path/to/bolts
    chainer-ssd check --data VOC2007 --data VOC2012
    chainer-ssd check path/to/BCCD --html report.html --json report.json

All images are read. The exit status is 0 if the data set is fit to train on, 1 if it has errors,
and 2 if an option is wrong.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

import chainer

from chainer_ssd._files import replace_file, write_json
from chainer_ssd._options import check_fraction, check_positive_number
from chainer_ssd.cli._arguments import exit_in_one_line, integer, number
from chainer_ssd.cli._data_arguments import add_data_arguments
from chainer_ssd.cli._load_data import (
    TEST_SPLIT,
    TRAIN_SPLIT,
    split_names,
)
from chainer_ssd.datasets import choose_splits, find_dataset, read_label_names
from chainer_ssd.inspection import Report, inspect_datasets, inspect_voc, write_html
from chainer_ssd.links import create_detector
from chainer_ssd.links.detector import MODELS

UNFIT_STATUS = 1
DEFAULT_INSIZE = 192  # of ssd_mini


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``chainer-ssd check``."""
    add = parser.add_argument
    add('root', nargs='?', metavar='PATH', help='the same as --data PATH')
    add_data_arguments(add)
    add(
        '--train-split',
        metavar='NAME',
        help='the list in ImageSets/Main/, or the split, to train on '
        f'(default: {TRAIN_SPLIT}, or else train)',
    )
    add(
        '--test-split',
        metavar='NAME',
        help='the list in ImageSets/Main/, or the split, to test on, or "none" '
        f'(default: {TEST_SPLIT}, or else val)',
    )
    add(
        '--classes',
        metavar='NAMES',
        help='the classes to use, with commas between them (default: all)',
    )
    add(
        '--label-names',
        metavar='FILE',
        help='text file with one class name per line. Names that it lacks are errors. '
        '(default: the names in the data)',
    )
    add(
        '--model',
        choices=tuple(MODELS),
        default='ssd_mini',
        help='the model whose default boxes are compared with the objects (default: %(default)s)',
    )
    add(
        '--insize',
        type=integer(1),
        metavar='N',
        help=f'for ssd_mini: side of its input in pixels (default: {DEFAULT_INSIZE})',
    )
    add(
        '--box-scale',
        type=number(check_positive_number),
        default=1.0,
        metavar='X',
        help='factor of the sides of all default boxes. The report proposes one. '
        '(default: %(default)g)',
    )
    add(
        '--iou-thresh',
        type=number(check_fraction),
        default=0.5,
        metavar='X',
        help='IoU from which on a default box matches an object (default: %(default)g)',
    )
    add('--json', metavar='FILE', help='write the report as JSON (default: not written)')
    add(
        '--html',
        metavar='FILE',
        help='write the report as one page for a browser, with pictures (default: not written)',
    )
    add(
        '--max-pictures',
        type=integer(0),
        default=24,
        metavar='N',
        help='pictures on the page. Lower it for a smaller file. (default: %(default)s)',
    )


def run(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Inspect the data set, print the report, and exit with status 1 if it has errors."""
    with exit_in_one_line(parser):
        label_names = None if args.label_names is None else read_label_names(args.label_names)
        insize = args.insize or (DEFAULT_INSIZE if args.model == 'ssd_mini' else None)
        model = create_detector(args.model, 1, insize, box_scale=args.box_scale)
        report = inspect_paths(args, model, label_names)
        print(report.to_text())
        if args.json is not None:
            write_json(args.json, report.to_dict())
        if args.html is not None:
            page = write_html(report, args.max_pictures)
            with replace_file(args.html) as file:
                file.write(page.encode('utf-8', 'surrogateescape'))
    if not report.is_fit:
        parser.exit(UNFIT_STATUS)


def inspect_paths(
    args: argparse.Namespace, model: chainer.Chain, label_names: Sequence[str] | None
) -> Report:
    """Return the report on the data that the options name."""
    paths = [*([] if args.root is None else [args.root]), *(args.data or ())]
    if not paths:
        raise ValueError('expected a path of a data set')
    test_split = None if args.test_split == 'none' else args.test_split
    train_list, test_list = args.train_split or TRAIN_SPLIT, args.test_split or TEST_SPLIT
    lists = os.path.join(paths[0], 'ImageSets', 'Main')
    has_lists = os.path.isfile(os.path.join(lists, f'{train_list}.txt')) and (
        test_list == 'none' or os.path.isfile(os.path.join(lists, f'{test_list}.txt'))
    )
    if len(paths) == 1 and args.classes is None and args.format in ('auto', 'voc') and has_lists:
        return inspect_voc(
            paths[0],
            model,
            train_list,
            None if test_list == 'none' else test_list,
            label_names,
            args.iou_thresh,
        )
    found = [find_dataset(path, args.format) for path in paths]
    for each in found:
        print(f'{each.path}: {each.format}, {each.layout}, splits {", ".join(each.splits)}')
    choices = choose_splits(found, args.train_split, None, test_split)
    if args.test_split == 'none':
        choices = [{part: c for part, c in each.items() if part != 'test'} for each in choices]
    return inspect_datasets(
        found, model, choices, label_names, split_names(args.classes), args.iou_thresh
    )
