"""The options that name data in any format, its splits and its classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainer_ssd._options import check_part
from chainer_ssd.cli._arguments import integer, number
from chainer_ssd.datasets import FORMATS


def add_data_arguments(add: Callable[..., Any]) -> None:
    """Add the options that name data in any format."""
    add(
        '--data',
        action='append',
        metavar='PATH',
        help='your own data: a folder, a JSON file of COCO, or a data.yaml of YOLO. Give it '
        'several times to take data sets together. (default: none)',
    )
    add(
        '--format',
        choices=FORMATS,
        default='auto',
        help='format of --data. Give it if a folder holds several. (default: %(default)s)',
    )


def add_split_arguments(add: Callable[..., Any]) -> None:
    """Add the options that say which images and classes are used."""
    add(
        '--classes',
        metavar='NAMES',
        help='for --data: the classes to use, with commas between them. Objects of the others are '
        'left out on purpose. (default: all)',
    )
    add(
        '--val-split',
        metavar='NAME',
        help='for --data: the split that the model is chosen by. (default: val, if neither the '
        'training nor the test images are its images)',
    )
    add(
        '--val',
        type=number(check_part),
        metavar='X',
        help='fraction of the training images to hold out, by their content. The model is chosen '
        'by them, or if there are no other images to test on, they are the test images. '
        '(default: none)',
    )
    add(
        '--test-fraction',
        type=number(check_part),
        metavar='X',
        help='for --data without a test split: fraction of the images to test on, by their '
        'content. Give it with --val to hold out both. (default: that of --val, or 0.2)',
    )
    add(
        '--split-seed',
        type=integer(0),
        default=0,
        metavar='N',
        help='seed of the choice of the images that are held out. Change it to measure how much '
        'the result depends on them. (default: %(default)s)',
    )
