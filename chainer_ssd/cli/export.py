"""Write a detector that chainer-ssd train wrote for another runtime.

    chainer-ssd export result --to onnx
    chainer-ssd export result --to onnx --raw-heads --out heads.onnx
    chainer-ssd export result --to torch

--to onnx writes one file with the whole detector: normalization, network, decoding and
non-maximum suppression. Its input is float32 (B, 3, H, W), RGB, 0 to 255, of the network's size.
Its outputs are boxes (y_min, x_min, y_max, x_max) in pixels of the input, labels and scores. With
--raw-heads it ends with the network's predictions, which OpenCV's DNN can run. The default boxes
are then written beside it.

--to torch writes the weights as a state_dict of PyTorch.
"""

from __future__ import annotations

import argparse
import json
import os

from chainer_ssd._options import check_fraction
from chainer_ssd.cli._arguments import exit_in_one_line, integer, number
from chainer_ssd.export import default_bbox_path, export_onnx, export_torch
from chainer_ssd.links import load_detector

SUFFIXES = {'onnx': '.onnx', 'torch': '.pth'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``chainer-ssd export``."""
    add = parser.add_argument
    add('result', help='folder that chainer-ssd train wrote (its --out)')
    add(
        '--to',
        choices=tuple(SUFFIXES),
        default='onnx',
        help='onnx: the whole detector, for onnxruntime and others. torch: the weights. '
        '(default: %(default)s)',
    )
    add(
        '--out',
        metavar='FILE',
        help='file to write (default: model.onnx or model.pth in the folder of the detector)',
    )
    add(
        '--raw-heads',
        action='store_true',
        help='for onnx: end with offsets and logits. Choose it for a runtime without '
        'NonMaxSuppression, such as OpenCV. (default: end with boxes, labels and scores)',
    )
    add(
        '--batchsize',
        type=integer(1),
        metavar='N',
        help='for onnx: images of a call. Choose it for a runtime that needs a fixed number. '
        '(default: any number)',
    )
    add(
        '--score',
        type=number(check_fraction),
        default=0.05,
        metavar='X',
        help='for onnx: smallest score of a detection. Raise it to get fewer rows. '
        '(default: %(default)s)',
    )
    add(
        '--nms',
        type=number(check_fraction),
        default=0.45,
        metavar='X',
        help='for onnx: IoU from which on the box with the lower score is suppressed. Raise it if '
        'objects of a class overlap. (default: %(default)s)',
    )
    add(
        '--max-per-class',
        type=integer(1),
        default=400,
        metavar='N',
        help='for onnx: boxes of a class that enter the suppression. Raise it for images with '
        'hundreds of objects. (default: %(default)s)',
    )
    add(
        '--max-per-image',
        type=integer(1),
        default=200,
        metavar='N',
        help='for onnx: detections of an image. Raise it for images with more objects. '
        '(default: %(default)s)',
    )


def run(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Load the detector and write the file."""
    with exit_in_one_line(parser):
        model = load_detector(args.result)
        path = args.out or os.path.join(args.result, 'model' + SUFFIXES[args.to])
        if args.to == 'torch':
            export_torch(path, model)
            print(f'{path}: the weights of {type(model).__name__} as a state_dict')
            return
        export_onnx(
            path,
            model,
            raw_heads=args.raw_heads,
            batchsize=args.batchsize,
            nms_thresh=args.nms,
            score_thresh=args.score,
            max_per_class=args.max_per_class,
            max_per_image=args.max_per_image,
        )
        n_image = args.batchsize or 'N'
        size = f'{n_image} x 3 x {model.insize} x {model.insize}'
        outputs = 'mb_locs, mb_confs' if args.raw_heads else 'boxes, labels, scores'
        print(f'{path}: images float32 {size}, RGB, 0 to 255 -> {outputs}')
        print(f'classes: {json.dumps(model.label_names, ensure_ascii=False)}')
        if args.raw_heads:
            print(f'{default_bbox_path(path)}: the default boxes')
