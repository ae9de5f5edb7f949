"""What ``chainer-ssd train`` starts from: default boxes and weights."""

from __future__ import annotations

import argparse
from typing import Any

import chainer

from chainer_ssd.cli._resume import read_default_boxes
from chainer_ssd.images import printable_name
from chainer_ssd.inspection.coverage import MIN_GAIN
from chainer_ssd.links import fit_ssd_mini_boxes
from chainer_ssd.ops import DefaultBoxFit


def choose_default_boxes(
    args: argparse.Namespace, train: Any, insize: int | None, notes: list[str]
) -> dict[str, Any]:
    """Return the sizes and aspect ratios of ``--fit-boxes``, or nothing for the default ones.

    A training that is resumed keeps its own. What was found is added to ``notes``.

    Raises
    ------
    ValueError
        If ``--fit-boxes`` does not fit the other options.
    """
    if args.fit_boxes and args.model != 'ssd_mini':
        raise ValueError(
            f'--fit-boxes goes with --model ssd_mini: {args.model} has the default boxes of the '
            'paper. --box-scale scales them'
        )
    if args.fit_boxes and args.box_scale != 1:
        raise ValueError('--fit-boxes and --box-scale: expected one of them')
    if not args.fit_boxes:
        return {}
    stored = read_default_boxes(args)
    if stored is not None:
        return stored
    fit = fit_ssd_mini_boxes(train, insize or 192, args.iou_thresh)
    notes.append(describe_fit(fit, args.iou_thresh))
    return {'sizes': fit.sizes, 'aspect_ratios': fit.aspect_ratios}


def describe_fit(fit: DefaultBoxFit, iou_thresh: float) -> str:
    """Return what ``--fit-boxes`` has changed, in several lines."""
    sizes = ', '.join(f'{size:.3g}' for size in fit.sizes)
    ratios = '; '.join(
        ', '.join(f'{each:g}' for each in scale) or '-' for scale in fit.aspect_ratios
    )
    text = (
        f'training objects with a default box of IoU >= {iou_thresh:g}: {fit.recall:.1%} '
        f'(before: {fit.recall_before:.1%})\n'
        f'  mean best IoU {fit.mean_iou:.3f} (before: {fit.mean_iou_before:.3f}), '
        f'{fit.n_box} default boxes (before: {fit.n_box_before})\n'
        f'  sizes as fractions of the input: {sizes}. Aspect ratios of each scale: {ratios}'
    )
    if fit.recall < fit.recall_before + MIN_GAIN:
        text += '\n  hardly more objects can be matched: the mAP may be higher without --fit-boxes'
    return text


def describe_loaded(path: str, model: chainer.Chain, kept: tuple[str, ...]) -> str:
    """Return which weights were loaded and which start anew."""
    n_value = sum(1 for _ in model.params()) + sum(len(link._persistent) for link in model.links())
    path = printable_name(path, 300)
    if not kept:
        return f'{path}: all {n_value} arrays are loaded'
    beginnings = tuple(model.class_layers)
    classes = sorted({name.rpartition('/')[0] for name in kept if name.startswith(beginnings)})
    others = sorted({name.rpartition('/')[0] for name in kept if not name.startswith(beginnings)})
    text = f'{path}: {n_value - len(kept)} of {n_value} arrays are loaded whole'
    if others:
        text += f'. From initial weights: {", ".join(sorted(classes + others))}'
    elif classes:
        text += f'. Other classes: their part starts anew in {", ".join(classes)}'
    return text
