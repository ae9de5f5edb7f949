"""Evaluates a detector that chainer-ssd train has trained.

    chainer-ssd evaluate result
    chainer-ssd evaluate result --dataset voc --root path/to/BCCD --split test

Prints of each class the average precision (AP) at an IoU of 0.5, as Pascal VOC counts it, and the
score threshold of the best F1 with its precision and recall: a good --score for chainer-ssd predict. Where
pycocotools is installed, COCO's figures follow, for which difficult objects are crowds. The folder
--out, by default that of the detector, then holds all of it as evaluation.json, and the curves as
precision_recall.png.
"""

import importlib.util
import math
import os
import unicodedata

import numpy as np

from chainer_ssd import (
    VOCBboxDataset,
    calc_detection_voc_prec_rec,
    draw_precision_recall,
    eval_detection_coco,
    eval_detection_voc,
    write_image,
)
from chainer_ssd._files import write_json
from chainer_ssd.cli._arguments import told_in_one_line, use_device
from chainer_ssd.cli._reports import none_if_nan
from chainer_ssd.cli._training_data import load_data
from chainer_ssd.links import load_detector

COCO_FIGURES = {
    'mAP@[.5:.95]': 'map/iou=0.50:0.95/area=all/max_dets=100',
    'mAP@.5': 'map/iou=0.50/area=all/max_dets=100',
    'mAP@.75': 'map/iou=0.75/area=all/max_dets=100',
}


def run(args, parser):
    with told_in_one_line(parser):
        model = load_detector(args.result)
        label_names = model.label_names
        model.to_device(use_device(args.gpu))
        model.use_preset('evaluate')
        images = detect(model, load_test_set(args, label_names))
        result, curves = compare(images, label_names)
        print_table(result)
        out = args.out or args.result
        os.makedirs(out, exist_ok=True)
        write_json(os.path.join(out, 'evaluation.json'), result)
        if importlib.util.find_spec('matplotlib') is None:
            print('no curves are drawn, matplotlib is missing: pip install "chainer_ssd[plot]"')
        else:
            ap = [each['ap'] for each in result['classes'].values()]
            write_image(
                draw_precision_recall(*curves, ap, label_names),
                os.path.join(out, 'precision_recall.png'),
            )
        print(f'see {out}')


def add_arguments(parser):
    add = parser.add_argument
    add('result', help='the folder that chainer-ssd train wrote (--out)')
    add('--dataset', choices=('shapes', 'voc'), default='shapes')
    add('--root', help='voc: the folder of Annotations/, ImageSets/ and JPEGImages/')
    add('--split', default='test', help='voc: the list in ImageSets/Main/ to evaluate on')
    add('--gpu', type=int, default=-1, help='CUDA device; -1: CPU')
    add('--out', help='folder for whatever is written; default: the folder of the detector')


def load_test_set(args, label_names):
    if args.dataset == 'shapes':
        _, test, names = load_data('shapes', args.root)
        if tuple(names) != label_names:
            raise ValueError(
                f'{args.result} detects {", ".join(label_names)}: '
                'give the data that it was trained for, --dataset voc --root ...'
            )
        return test
    if args.root is None:
        raise ValueError('--dataset voc needs --root')
    return VOCBboxDataset(args.root, args.split, label_names=label_names, return_difficult=True)


def detect(model, dataset):
    """Detections and ground truths, one list of all images for each argument of the evaluation.

    One image at a time, as chainer-ssd train evaluates: in a batch of another size sums are rounded
    otherwise.
    """
    images = []
    for i in range(len(dataset)):
        img, bbox, label, *difficult = dataset[i]
        found = [column[0] for column in model.predict([img])]
        images.append((*found, bbox, label, *(difficult or [np.zeros(len(label), bool)])))
    return list(zip(*images))


def compare(images, label_names):
    """What evaluation.json says, and the curves, precision and recall of each class."""
    n_class = len(label_names)
    voc = eval_detection_voc(*images)
    # They end with the last class that was met.
    unmet = n_class - len(voc['ap'])
    ap = np.append(voc['ap'], [math.nan] * unmet)
    prec, rec = (curve + [None] * unmet for curve in calc_detection_voc_prec_rec(*images))
    _, pred_label, pred_score, _, gt_label, gt_difficult = images
    pred_label, pred_score, gt_label, gt_difficult = map(
        np.concatenate, (pred_label, pred_score, gt_label, gt_difficult)
    )
    classes = {}
    for i, name in enumerate(label_names):
        score = np.sort(pred_score[pred_label == i])[::-1]
        classes[name] = {
            'ap': none_if_nan(ap[i]),
            'n_truth': int(np.sum(~gt_difficult[gt_label == i])),
            'n_difficult': int(np.sum(gt_difficult[gt_label == i])),
            'n_detection': len(score),
            'best_f1': None if rec[i] is None else best_f1(prec[i], rec[i], score),
        }
    result = {'map': none_if_nan(voc['map']), 'n_image': len(images[0]), 'classes': classes}
    if importlib.util.find_spec('pycocotools') is not None:
        *boxes, gt_difficults = images
        coco = eval_detection_coco(*boxes, gt_crowdeds=gt_difficults)
        result['coco'] = {name: none_if_nan(coco[key]) for name, key in COCO_FIGURES.items()}
    return result, (prec, rec)


def best_f1(prec, rec, score):
    """The threshold with the largest F1, and what holds there; None where nothing is right."""
    # F1 = 2 · precision · recall / (precision + recall); a threshold parts unequal scores only
    prec = np.nan_to_num(prec)
    f1 = 2 * prec * rec / np.maximum(prec + rec, np.finfo(float).tiny)
    f1[:-1][score[:-1] == score[1:]] = 0
    if not f1.any():
        return None
    i = f1.argmax()
    values = {'f1': f1[i], 'precision': prec[i], 'recall': rec[i], 'score_thresh': score[i]}
    return {key: float(value) for key, value in values.items()}


def print_table(result):
    width = max(map(n_column, [*result['classes'], 'class']))
    print(f'{"class":{width}}      AP  objects  detections  best F1  precision  recall  at score')
    for name, each in result['classes'].items():
        best = each['best_f1'] or dict.fromkeys(('f1', 'precision', 'recall', 'score_thresh'))
        print(
            name + ' ' * (width - n_column(name)) + f'  {number(each["ap"], 4):>6}  '
            f'{each["n_truth"]:7}  {each["n_detection"]:10}  '
            f'{number(best["f1"]):>7}  {number(best["precision"]):>9}  '
            f'{number(best["recall"]):>6}  {number(best["score_thresh"]):>8}'
        )
    print(
        f'{"mAP":{width}}  {number(result["map"], 4):>6}  '
        f'of {result["n_image"]} images, at an IoU of 0.5'
    )
    if 'coco' in result:
        print(
            'COCO:', ', '.join(f'{name} {number(value)}' for name, value in result['coco'].items())
        )
    else:
        print('COCO\'s figures need pycocotools: pip install "chainer_ssd[eval]"')


def n_column(text):
    """Of a terminal, in which Chinese letters have two."""
    return sum(1 + (unicodedata.east_asian_width(letter) in 'WF') for letter in text)


def number(value, n_digit=3):
    return '-' if value is None else f'{value:.{n_digit}f}'
