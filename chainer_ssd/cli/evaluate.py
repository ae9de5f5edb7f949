"""Measure a detector that chainer-ssd train wrote.

    chainer-ssd evaluate result
    chainer-ssd evaluate result --data path/to/bolts --split val
    chainer-ssd evaluate result --dataset voc --root path/to/BCCD

Prints the average precision (AP) of each class at an IoU of 0.5, as Pascal VOC computes it: the
area under the curve, or with --use-07-metric the mean at 11 recalls. Beside it stands the score
threshold with the best F1, with its precision and recall. This threshold is a good --score for
chainer-ssd predict. COCO's figures follow if pycocotools is installed. Objects flagged difficult
are crowds for them.

The folder --out then holds:

  - evaluation.json: all figures
  - report.html: one page with the figures, the errors and the suspicious labels
  - suspicious_labels.json: labels that the detector contradicts
  - precision_recall.png: the curve of each class
  - confusion_matrix.png: which classes are taken for each other
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

import chainer
import numpy as np

from chainer_ssd._files import write_json
from chainer_ssd.cli._arguments import (
    add_gpu_argument,
    add_limit_arguments,
    exit_in_one_line,
    limit_detections,
    use_device,
)
from chainer_ssd.cli._data_arguments import add_data_arguments
from chainer_ssd.cli._load_data import SPLITS_FILE, load_shapes
from chainer_ssd.cli._report_page import write_report_page
from chainer_ssd.datasets import (
    VOCBboxDataset,
    find_dataset,
    open_split,
    open_stored_splits,
    read_stored_splits,
)
from chainer_ssd.images import printable_name, write_image
from chainer_ssd.inspection import (
    DetectedImages,
    DetectorReport,
    detect_images_of,
    inspect_detector,
)
from chainer_ssd.links import load_detector
from chainer_ssd.visualizations import draw_confusion_matrix, draw_precision_recall

DEFAULT_SPLIT = 'test'
EVALUATION_FILE, CURVES_FILE = 'evaluation.json', 'precision_recall.png'
MATRIX_FILE = 'confusion_matrix.png'
MAX_MATRIX_CLASSES = 60  # in the picture
MAX_NAME_LETTERS, MAX_PATH_LETTERS, MAX_REASON_LETTERS = 40, 300, 2000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``chainer-ssd evaluate``."""
    add = parser.add_argument
    add('result', help='folder that chainer-ssd train wrote (its --out)')
    add_data_arguments(add)
    add(
        '--dataset',
        choices=('shapes', 'voc'),
        help='shapes: the drawn test images of chainer-ssd train. voc: your own data in the folder '
        "--root, in Pascal VOC's own layout. (default: the test images of a training with --data, "
        'or else shapes)',
    )
    add(
        '--root',
        metavar='FOLDER',
        help='for voc: the folder that holds Annotations/, ImageSets/ and JPEGImages/',
    )
    add(
        '--split',
        metavar='NAME',
        help='the list in ImageSets/Main/, or the split of --data, to evaluate on. Use one that '
        'neither the training nor your choice of options has used. For data of the training, '
        f'train, val and test are its own parts. (default: {DEFAULT_SPLIT})',
    )
    add(
        '--use-07-metric',
        action='store_true',
        help='compute the AP as VOC 2007: the mean precision at recalls of 0, 0.1, ..., 1. For '
        'comparison with figures from papers. (default: the area under the curve)',
    )
    add(
        '--on-bad-image',
        choices=('error', 'skip'),
        default='error',
        help='what happens if an image cannot be read. skip: it is left out and named, and the '
        'figures are those of the other images. (default: %(default)s)',
    )
    add_limit_arguments(add)
    add_gpu_argument(add)
    add(
        '--out',
        metavar='FOLDER',
        help='folder for the output (default: the folder of the detector)',
    )


def run(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Evaluate the detector, print the figures, and write them with their curves."""
    with exit_in_one_line(parser):
        model = load_detector(args.result)
        label_names = model.label_names
        model.to_device(use_device(args.gpu))
        model.use_preset('evaluate')
        limit_detections(model, args)
        test = load_test_set(args, label_names)
        if not len(test):
            raise ValueError(f'no image in {args.split or DEFAULT_SPLIT}: nothing to evaluate')
        left_out: list[str] = []
        name = args.split or DEFAULT_SPLIT
        images = detect(model, test, name, args.on_bad_image, left_out)
        report = inspect_detector(images, label_names, use_07_metric=args.use_07_metric)
        summary = report.summary
        summary['left_out'] = left_out
        print_table(summary)
        out = args.out or args.result
        os.makedirs(out, exist_ok=True)
        write_json(os.path.join(out, EVALUATION_FILE), summary)
        if importlib.util.find_spec('matplotlib') is None:
            print('no curves are drawn, matplotlib is missing: pip install "chainer_ssd[plot]"')
        else:
            draw_figures(report, out)
        write_report_page(out, report, model, args.result)
        print(f'see {printable_name(out, MAX_PATH_LETTERS)}')


def detect(
    model: chainer.Link,
    test: Sequence[tuple],
    name: str,
    on_bad_image: str,
    left_out: list[str],
) -> DetectedImages:
    """Return the detections and ground truths of all images that can be read."""

    def skip(i: int, error: Exception) -> None:
        reason = ' '.join(str(error).split()) or type(error).__name__
        left_out.append(printable_name(reason, MAX_REASON_LETTERS))
        print(f'left out: {left_out[-1]}', file=sys.stderr)

    on_unreadable = skip if on_bad_image == 'skip' else None
    return detect_images_of(model, test, name, on_unreadable=on_unreadable)


def draw_figures(report: DetectorReport, out: str) -> None:
    """Draw the curves, and the confusion matrix unless it has too many classes."""
    ap = [each['ap'] for each in report.summary['classes'].values()]
    picture = draw_precision_recall(*report.curves, ap, report.label_names)
    write_image(picture, os.path.join(out, CURVES_FILE))
    if len(report.label_names) <= MAX_MATRIX_CLASSES:
        matrix = np.array(report.summary['confusion_matrix']['matrix'])
        picture = draw_confusion_matrix(matrix, report.label_names)
        write_image(picture, os.path.join(out, MATRIX_FILE))


def load_test_set(
    args: argparse.Namespace, label_names: Sequence[str]
) -> chainer.dataset.DatasetMixin:
    """Return the data set to evaluate on.

    Raises
    ------
    ValueError
        If the options do not fit together, or the data set has other classes.
    """
    stored = os.path.join(args.result, SPLITS_FILE)
    if args.data or (args.dataset is None and args.root is None and os.path.isfile(stored)):
        return load_found(args, label_names, stored)
    if args.dataset is None or args.dataset == 'shapes':
        if args.split is not None:
            raise ValueError(f'--split {args.split} goes with --dataset voc or with --data')
        if args.root is not None:
            raise ValueError(f'--root {args.root} goes with --dataset voc')
        test, names = load_shapes().test, load_shapes().label_names
        if tuple(names) != tuple(label_names):
            raise ValueError(
                f'{args.result} detects {", ".join(map(printable_name, label_names[:20]))}: '
                'give the data that it was trained for, --data ...'
            )
        return test
    if args.root is None:
        raise ValueError('--dataset voc needs --root')
    split = args.split or DEFAULT_SPLIT
    return VOCBboxDataset(args.root, split, label_names=label_names, return_difficult=True)


def load_found(
    args: argparse.Namespace, label_names: Sequence[str], stored: str
) -> chainer.dataset.DatasetMixin:
    """Return images of ``--data``, or of the data of the training."""
    if args.root is not None or args.dataset is not None:
        raise ValueError('--dataset and --root do not go with --data')
    leaves_out_others = False
    if os.path.isfile(stored):
        chosen = read_stored_splits(stored)
        leaves_out_others = chosen['classes'] is not None
        known = {os.path.realpath(each['path']) for each in chosen['data']}
        given = {os.path.realpath(find_dataset(path, args.format).path) for path in args.data or ()}
        if not args.data or known == given:
            splits = open_stored_splits(stored)
            if tuple(splits.label_names) != tuple(label_names):
                raise ValueError(f'{stored}: other classes than those of the detector beside it')
            parts = {name: getattr(splits, name) for name in ('train', 'val', 'test')}
            part = args.split or DEFAULT_SPLIT
            if parts.get(part) is not None:
                print(splits.describe())
                return parts[part]
            if not args.data:
                there = [name for name, each in parts.items() if each is not None]
                raise ValueError(f'--split {part}: {stored} has {", ".join(there)}')
    test = open_split(args.data, args.format, args.split, label_names, leaves_out_others)
    n_object = sum(len(test.get_annotation(i)[0]) for i in range(len(test)))
    print(f'{", ".join(map(printable_name, args.data))}: {len(test)} images, {n_object} objects')
    for name, count in test.n_left_out.items():
        print(f'  objects of another class, left out on purpose: {count} {printable_name(name)}')
    return test


def print_table(summary: dict[str, Any]) -> None:
    """Print one line per class, then the mean and COCO's figures."""
    names = [printable_name(name, MAX_NAME_LETTERS) for name in summary['classes']]
    classes = summary['classes'].values()
    width = max(map(count_columns, [*names, 'class']))
    print(f'{"class":{width}}      AP  objects  detections  best F1  precision  recall  at score')
    for name, each in zip(names, classes):
        best = each['best_f1'] or dict.fromkeys(('f1', 'precision', 'recall', 'score_thresh'))
        print(
            name + ' ' * (width - count_columns(name)) + f'  {format_figure(each["ap"], 4):>6}  '
            f'{each["n_truth"]:7}  {each["n_detection"]:10}  '
            f'{format_figure(best["f1"]):>7}  {format_figure(best["precision"]):>9}  '
            f'{format_figure(best["recall"]):>6}  {format_figure(best["score_thresh"]):>8}'
        )
    print(
        f'{"mAP":{width}}  {format_figure(summary["map"], 4):>6}  '
        f'of {summary["n_image"]} images, at an IoU of 0.5'
        + (', at the 11 recalls of VOC 2007' if summary.get('use_07_metric') else '')
    )
    areas = {area: each for area, each in summary.get('by_area', {}).items() if each['n_truth']}
    if areas:
        print(
            'mAP by area: '
            + ', '.join(
                f'{area} {format_figure(each["map"])} ({each["n_truth"]} objects)'
                for area, each in areas.items()
            )
        )
    by_iou = summary.get('by_iou', {})
    if by_iou and summary['map'] is not None:
        figures = (f'{iou} {format_figure(each["map"])}' for iou, each in by_iou.items())
        print('mAP by IoU:', ', '.join(figures))
    if summary.get('left_out'):
        print(f'images that cannot be read and are left out: {len(summary["left_out"])}')
    if summary['map'] is None:
        n_difficult = sum(each['n_difficult'] for each in classes)
        reason = f'all {n_difficult} objects are difficult' if n_difficult else 'no object'
        print(f'there is no mAP, because no object counts in these images: {reason}')
    if 'coco' in summary:
        figures = (f'{name} {format_figure(value)}' for name, value in summary['coco'].items())
        print('COCO:', ', '.join(figures))
    else:
        print('COCO\'s figures need pycocotools: pip install "chainer_ssd[eval]"')


def count_columns(text: str) -> int:
    """Return how many columns of a terminal a text takes. A Chinese character takes two."""
    return sum(1 + (unicodedata.east_asian_width(letter) in 'WF') for letter in text)


def format_figure(value: float | None, n_digit: int = 3) -> str:
    """Return a figure as text, or a dash for a figure that does not exist."""
    return '-' if value is None else f'{value:.{n_digit}f}'
