import json
import os
import subprocess
import sys

import chainer
import numpy as np
import pytest
from PIL import Image

from chainer_ssd import DetectionEvaluator, VOCBboxDataset
from tests.conftest import ROOT
from tests.datasets.voc_folder import annotation
from tests.cli import detector_folder
from tests.cli.detector_folder import EXAMPLES, LABEL_NAMES

import evaluate  # isort: skip (an example: detector_folder has made it importable)
from detector import load_detector  # isort: skip

NAMES = ('blue', 'red', 'green')
COLORS = {'blue': (0, 0, 255), 'red': (255, 0, 0)}


class Scripted(chainer.Chain):
    """Detects what the upper left pixel of the image says."""

    insize = 32

    def __init__(self, detections):
        super().__init__()
        self.detections = detections
        self.preset = None

    def use_preset(self, preset):
        self.preset = preset

    def predict(self, imgs):
        rows = [self.detections[int(img[0, 0, 0])] for img in imgs]
        columns = [
            (
                np.array([r[0] for r in row], 'f').reshape(-1, 4),
                np.array([r[1] for r in row], 'i'),
                np.array([r[2] for r in row], 'f'),
            )
            for row in rows
        ]
        return [list(column) for column in zip(*columns)]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Four images in Pascal VOC's layout; number i has i as its upper left pixel."""
    root = tmp_path_factory.mktemp('voc')
    for folder in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
        (root / folder).mkdir(parents=True)
    objects = [
        [('blue', (1, 1, 20, 20), 0), ('red', (31, 31, 50, 50), 0)],
        [('blue', (1, 1, 20, 20), 0), ('blue', (31, 31, 50, 50), 1)],  # the second one difficult
        [],
        [('blue', (11, 11, 30, 30), 0)],
    ]
    for i, each in enumerate(objects):
        (root / 'Annotations' / f'{i}.xml').write_text(annotation(each))
        pixels = np.full((60, 80, 3), 200, np.uint8)
        for name, (x_min, y_min, x_max, y_max), _ in each:
            pixels[y_min - 1 : y_max, x_min - 1 : x_max] = COLORS[name]
        pixels[0, 0] = i
        Image.fromarray(pixels).save(root / 'JPEGImages' / f'{i}.png')
    (root / 'ImageSets/Main/test.txt').write_text('0\n1\n2\n3\n')
    return root


FIRST, SECOND, THIRD = (0, 0, 19, 19), (30, 30, 49, 49), (10, 10, 29, 29)
DETECTIONS = [
    [(FIRST, 0, 0.9), (SECOND, 1, 0.6)],
    [(SECOND, 0, 0.95), (FIRST, 0, 0.7), (FIRST, 1, 0.8)],
    [(THIRD, 0, 0.8)],
    [(THIRD, 0, 0.7)],
]
# blue, by falling score: difficult and not counted; right; wrong; right and right, of one score.
# red: wrong, right.


@pytest.fixture
def run(monkeypatch, capsys, tmp_path, root):
    """``run(*args)``: exit status, output, errors and evaluation.json."""

    def run(*args, model=None, label_names=NAMES):
        if model is not None:
            monkeypatch.setattr(evaluate, 'load_detector', lambda _: (model, label_names))
        status, said, errors = detector_folder.run(monkeypatch, capsys, evaluate, *args)
        file = tmp_path / 'evaluation.json'
        return status, said, errors, file.exists() and json.loads(file.read_text(encoding='utf-8'))

    return run


def test_figures_by_hand(run, root, tmp_path):
    model = Scripted(DETECTIONS)
    status, said, errors, result = run(tmp_path, '--dataset', 'voc', '--root', root, model=model)
    assert status == 0 and errors == '' and model.preset == 'evaluate'
    blue, red, green = (result['classes'][name] for name in NAMES)
    # precision 1 up to a recall of 1/3, then 3/4
    assert blue['ap'] == pytest.approx(1 / 3 + 2 / 3 * 3 / 4)
    assert red['ap'] == pytest.approx(0.5)
    assert result['map'] == pytest.approx((blue['ap'] + red['ap']) / 2)
    assert (blue['n_truth'], blue['n_difficult'], blue['n_detection']) == (3, 1, 5)
    assert (red['n_truth'], red['n_difficult'], red['n_detection']) == (1, 0, 2)
    # at 0.7, which lets both in: 3 right of 4 counted, 3 of 3 found
    assert blue['best_f1'] == pytest.approx(
        {'f1': 6 / 7, 'precision': 3 / 4, 'recall': 1, 'score_thresh': 0.7}
    )
    assert green == {'ap': None, 'n_truth': 0, 'n_difficult': 0, 'n_detection': 0, 'best_f1': None}
    assert result['n_image'] == 4
    lines = said.splitlines()
    assert lines[1].split() == ['blue', '0.8333', '3', '5', '0.857', '0.750', '1.000', '0.700']
    assert lines[2].split() == ['red', '0.5000', '1', '2', '0.667', '0.500', '1.000', '0.600']
    assert lines[3].split() == ['green', '-', '0', '0', '-', '-', '-', '-']
    assert lines[4].split()[:2] == ['mAP', '0.6667']
    assert len({len(line) for line in lines[:4]}) == 1
    with Image.open(tmp_path / 'precision_recall.png') as picture:
        assert picture.size[1] == 600


def test_columns_stay_in_line_beside_names_in_wide_letters(capsys):
    figures = {'ap': 0, 'n_truth': 0, 'n_detection': 0, 'best_f1': None}
    names = ('白血球', 'white cell')
    evaluate.print_table({'map': 0, 'n_image': 1, 'classes': dict.fromkeys(names, figures)})
    wide, narrow = (line.index('0.0000') for line in capsys.readouterr().out.splitlines()[1:3])
    assert wide + 3 == narrow  # three letters of two columns


def test_cocos_figures(run, root, tmp_path):
    pytest.importorskip('pycocotools')
    _, said, _, result = run(
        tmp_path, '--dataset', 'voc', '--root', root, model=Scripted(DETECTIONS)
    )
    # all boxes are exact; red: 51 recalls... precision 1/2 at all of 101; the difficult is a crowd
    recalls = np.linspace(0, 1, 101)
    blue = np.where(recalls <= 1 / 3, 1, 3 / 4).mean()
    expected = pytest.approx((blue + 0.5) / 2)
    assert result['coco'] == {'mAP@[.5:.95]': expected, 'mAP@.5': expected, 'mAP@.75': expected}
    assert f'mAP@[.5:.95] {result["coco"]["mAP@[.5:.95]"]:.3f}' in said


def test_the_map_is_that_of_the_training(run, root, tmp_path):
    """Which DetectionEvaluator reports: to the last digit."""
    detector_folder.write(tmp_path)
    model, label_names = load_detector(tmp_path)
    model.use_preset('evaluate')
    data = VOCBboxDataset(root, 'test', label_names, return_difficult=True)
    expected = DetectionEvaluator(
        chainer.iterators.SerialIterator(data, 1, repeat=False, shuffle=False), model, label_names
    )()
    status, _, _, result = run(tmp_path, '--dataset', 'voc', '--root', root)
    assert status == 0
    assert result['map'] == expected['main/map']
    assert sum(each['n_detection'] for each in result['classes'].values()) > 0
    for name in LABEL_NAMES:
        assert result['classes'][name]['ap'] == expected[f'main/ap/{name}']


def test_without_the_extras_it_says_what_is_left_out(run, root, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate.importlib.util, 'find_spec', lambda name: None)
    status, said, _, result = run(
        tmp_path, '--dataset', 'voc', '--root', root, model=Scripted(DETECTIONS)
    )
    assert status == 0 and 'coco' not in result and result['map'] == pytest.approx(2 / 3)
    assert 'pip install "chainer_ssd[eval]"' in said and 'pip install "chainer_ssd[plot]"' in said
    assert not (tmp_path / 'precision_recall.png').exists()


def test_nothing_detected(run, root, tmp_path):
    status, said, _, result = run(
        tmp_path, '--dataset', 'voc', '--root', root, model=Scripted([[]] * 4)
    )
    assert status == 0 and result['map'] == 0
    assert result['classes']['blue'] == {
        'ap': 0,
        'n_truth': 3,
        'n_difficult': 1,
        'n_detection': 0,
        'best_f1': None,
    }


def test_a_threshold_parts_unequal_scores_only():
    prec, rec = np.array([1, 1, 2 / 3]), np.array([0.25, 0.5, 0.5])
    assert evaluate.best_f1(prec, rec, np.array([0.9, 0.8, 0.7]))['score_thresh'] == 0.8
    # 0.8 lets the third one in as well
    best = evaluate.best_f1(prec, rec, np.array([0.9, 0.8, 0.8]))
    assert best == pytest.approx(
        {'f1': 4 / 7, 'precision': 2 / 3, 'recall': 0.5, 'score_thresh': 0.8}
    )
    assert evaluate.best_f1(np.array([np.nan, 0]), np.zeros(2), np.array([0.9, 0.8])) is None


@pytest.mark.parametrize(
    'args, message',
    [
        (['--dataset', 'voc'], '--dataset voc needs --root'),
        (['--dataset', 'voc', '--root', 'nowhere'], 'nowhere'),
        (['--dataset', 'voc', '--root', '{root}', '--split', 'val'], 'val.txt'),
        ([], 'detects blue, red: give the data that it was trained for'),
    ],
)
def test_bad_arguments_are_told_in_one_line(run, root, tmp_path, args, message):
    detector_folder.write(tmp_path)
    status, _, errors, result = run(tmp_path, *(arg.format(root=root) for arg in args))
    assert status == 2 and message in errors.splitlines()[-1] and not result


def test_an_object_of_another_class_is_named(run, root, tmp_path):
    status, _, errors, _ = run(
        tmp_path,
        '--dataset',
        'voc',
        '--root',
        root,
        model=Scripted(DETECTIONS),
        label_names=('blue', 'green'),
    )
    assert status == 2 and "0.xml: the name 'red' is not among" in errors


def test_a_user_runs_it(root, tmp_path):
    detector_folder.write(tmp_path / 'result')
    done = subprocess.run(
        [
            sys.executable,
            EXAMPLES / 'evaluate.py',
            'result',
            '--dataset',
            'voc',
            '--root',
            root,
            '--out',
            'elsewhere',
        ],
        cwd=tmp_path,
        timeout=240,
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split()[:2] == ['class', 'AP']
    assert sorted(os.listdir(tmp_path / 'elsewhere')) == ['evaluation.json', 'precision_recall.png']
