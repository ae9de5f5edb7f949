"""chainer-ssd evaluate."""

import json
import os
import shutil
import sys

import chainer
import numpy as np
import pytest
from PIL import Image

from chainer_ssd import DetectionEvaluator, VOCBboxDataset, load_detector
from chainer_ssd.cli import evaluate
from tests.cli.command import LABEL_NAMES, run_command
from tests.datasets.voc_folder import annotation

NAMES = ('blue', 'red', 'green')
COLORS = {'blue': (0, 0, 255), 'red': (255, 0, 0)}


class Scripted(chainer.Chain):
    """Returns fixed detections: those whose number is the value of the upper left pixel."""

    insize = 32

    def __init__(self, detections, label_names=NAMES):
        super().__init__()
        self.detections, self.label_names = detections, label_names
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
# blue, by falling score: difficult, so not counted. Then correct, wrong, and two correct of one
# score. red: wrong, correct.


@pytest.fixture
def run(monkeypatch, run_in_process, tmp_path):
    """``run(*args)``: exit status, output, errors and evaluation.json."""

    def run(*args, model=None):
        if model is not None:
            monkeypatch.setattr(evaluate, 'load_detector', lambda _: model)
        status, printed, errors = run_in_process('evaluate', *args)
        file = tmp_path / 'evaluation.json'
        content = file.exists() and json.loads(file.read_text(encoding='utf-8'))
        return status, printed, errors, content

    return run


def test_figures_by_hand(run, root, tmp_path):
    model = Scripted(DETECTIONS)
    status, printed, errors, result = run(tmp_path, '--dataset', 'voc', '--root', root, model=model)
    assert status == 0 and errors == '' and model.preset == 'evaluate'
    blue, red, green = (result['classes'][name] for name in NAMES)
    # precision 1 up to a recall of 1/3, then 3/4
    assert blue['ap'] == pytest.approx(1 / 3 + 2 / 3 * 3 / 4)
    assert red['ap'] == pytest.approx(0.5)
    assert result['map'] == pytest.approx((blue['ap'] + red['ap']) / 2)
    assert (blue['n_truth'], blue['n_difficult'], blue['n_detection']) == (3, 1, 5)
    assert (red['n_truth'], red['n_difficult'], red['n_detection']) == (1, 0, 2)
    # at 0.7, where both count: 3 of 4 detections are correct, 3 of 3 objects are found
    assert blue['best_f1'] == pytest.approx(
        {'f1': 6 / 7, 'precision': 3 / 4, 'recall': 1, 'score_thresh': 0.7}
    )
    assert green == {'ap': None, 'n_truth': 0, 'n_difficult': 0, 'n_detection': 0, 'best_f1': None}
    assert result['n_image'] == 4
    lines = printed.splitlines()
    assert lines[1].split() == ['blue', '0.8333', '3', '5', '0.857', '0.750', '1.000', '0.700']
    assert lines[2].split() == ['red', '0.5000', '1', '2', '0.667', '0.500', '1.000', '0.600']
    assert lines[3].split() == ['green', '-', '0', '0', '-', '-', '-', '-']
    assert lines[4].split()[:2] == ['mAP', '0.6667']
    assert len({len(line) for line in lines[:4]}) == 1
    with Image.open(tmp_path / 'precision_recall.png') as picture:
        assert picture.size[1] == 600


def test_the_report_the_labels_and_the_matrix_are_written(run, root, tmp_path):
    _, printed, _, result = run(
        tmp_path, '--dataset', 'voc', '--root', root, model=Scripted(DETECTIONS)
    )
    assert 'mAP by area: small 0.667 (4 objects)' in printed
    by_iou = result['by_iou']
    assert f'mAP by IoU: 0.3 {by_iou["0.3"]["map"]:.3f}, 0.75 ' in printed
    matrix = result['confusion_matrix']
    assert matrix['labels'] == [*NAMES, None]
    # blue at 0.7, red at 0.6: one red detection lies on a blue object that is found
    assert matrix['matrix'] == [[3, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]]
    with Image.open(tmp_path / 'confusion_matrix.png') as picture:
        assert picture.size[0] > 200
    labels = json.loads((tmp_path / 'suspicious_labels.json').read_text())
    assert {each['kind'] for each in labels} == {'missing label'}
    assert all(each['image'].endswith('.png') and each['images'] == 'test' for each in labels)
    page = (tmp_path / 'report.html').read_text()
    assert 'mAP 0.6667' in page and '<details' in page


def test_the_limits_reach_the_model_and_0_is_none(run, root, tmp_path):
    arguments = tmp_path, '--dataset', 'voc', '--root', root
    for options, expected in (
        ((), (400, 200)),
        (('--nms-top-k', '7', '--keep-top-k', '0'), (7, None)),
    ):
        model = Scripted(DETECTIONS)
        assert run(*arguments, *options, model=model)[0] == 0
        assert (model.nms_top_k, model.keep_top_k) == expected
    status, _, errors, _ = run(*arguments, '--keep-top-k', '-1', model=Scripted(DETECTIONS))
    assert status == 2 and '--keep-top-k' in errors


def test_columns_align_beside_names_in_wide_characters(capsys):
    figures = {'ap': 0, 'n_truth': 0, 'n_detection': 0, 'best_f1': None}
    names = ('白血球', 'white cell')
    evaluate.print_table({'map': 0, 'n_image': 1, 'classes': dict.fromkeys(names, figures)})
    wide, narrow = (line.index('0.0000') for line in capsys.readouterr().out.splitlines()[1:3])
    assert wide + 3 == narrow  # three characters of two columns


def test_cocos_figures(run, root, tmp_path):
    pytest.importorskip('pycocotools')
    _, printed, _, result = run(
        tmp_path, '--dataset', 'voc', '--root', root, model=Scripted(DETECTIONS)
    )
    # All boxes are exact. red has a precision of 1/2 at all 101 recalls.
    recalls = np.linspace(0, 1, 101)
    blue = np.where(recalls <= 1 / 3, 1, 3 / 4).mean()
    expected = pytest.approx((blue + 0.5) / 2)
    assert result['coco'] == {'mAP@[.5:.95]': expected, 'mAP@.5': expected, 'mAP@.75': expected}
    assert f'mAP@[.5:.95] {result["coco"]["mAP@[.5:.95]"]:.3f}' in printed


def test_the_map_equals_that_of_the_training(run, root, tmp_path, write_detector):
    write_detector(tmp_path)
    model = load_detector(tmp_path)
    label_names = model.label_names
    model.use_preset('evaluate')
    data = VOCBboxDataset(root, 'test', label_names, return_difficult=True)
    expected = DetectionEvaluator(
        chainer.iterators.SerialIterator(data, 1, repeat=False, shuffle=False),
        model,
        label_names=label_names,
    )()
    status, _, _, result = run(tmp_path, '--dataset', 'voc', '--root', root)
    assert status == 0
    assert result['map'] == expected['main/map']
    assert sum(each['n_detection'] for each in result['classes'].values()) > 0
    for name in LABEL_NAMES:
        assert result['classes'][name]['ap'] == expected[f'main/ap/{name}']


def test_missing_extras_are_named(run, root, tmp_path, monkeypatch):
    for name in ('matplotlib', 'pycocotools', 'pycocotools.coco', 'pycocotools.cocoeval'):
        monkeypatch.setitem(sys.modules, name, None)
    status, printed, _, result = run(
        tmp_path, '--dataset', 'voc', '--root', root, model=Scripted(DETECTIONS)
    )
    assert status == 0 and 'coco' not in result and result['map'] == pytest.approx(2 / 3)
    assert 'pip install "chainer_ssd[eval]"' in printed
    assert 'pip install "chainer_ssd[plot]"' in printed
    assert not (tmp_path / 'precision_recall.png').exists()


def test_nothing_detected(run, root, tmp_path):
    status, _, _, result = run(
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


@pytest.mark.parametrize(
    'args, message',
    [
        (['--dataset', 'voc'], '--dataset voc needs --root'),
        (['--dataset', 'voc', '--root', 'nowhere'], 'nowhere'),
        (['--dataset', 'voc', '--root', '{root}', '--split', 'val'], 'val.txt'),
        (['--split', 'val'], '--split val goes with --dataset voc'),
        (['--root', '{root}'], 'goes with --dataset voc'),
        ([], 'detects blue, red: give the data that it was trained for'),
    ],
)
def test_bad_arguments_give_one_line(run, root, tmp_path, write_detector, args, message):
    write_detector(tmp_path)
    status, _, errors, result = run(tmp_path, *(arg.format(root=root) for arg in args))
    assert status == 2 and message in errors.splitlines()[-1] and not result


def test_an_object_of_another_class_is_named(run, root, tmp_path):
    status, _, errors, _ = run(
        tmp_path,
        '--dataset',
        'voc',
        '--root',
        root,
        model=Scripted(DETECTIONS, ('blue', 'green')),
    )
    assert status == 2 and "0.xml: the name 'red' is not among" in errors


def test_it_runs_as_a_command(root, tmp_path, write_detector):
    write_detector(tmp_path / 'result')
    options = ('--dataset', 'voc', '--root', root, '--out', 'elsewhere')
    done = run_command('evaluate', 'result', *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split()[:2] == ['class', 'AP']
    assert sorted(os.listdir(tmp_path / 'elsewhere')) == [
        'confusion_matrix.png',
        'evaluation.json',
        'precision_recall.png',
        'report.html',
        'suspicious_labels.json',
    ]


def test_evaluation_json_is_written_whole_or_not_at_all(run, root, tmp_path, monkeypatch):
    arguments = (tmp_path, '--dataset', 'voc', '--root', root)
    *_, before = run(*arguments, model=Scripted(DETECTIONS))

    def fail(descriptor):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', fail)
    status, _, errors, after = run(*arguments, model=Scripted([[]] * 4))
    assert status == 2 and after == before
    assert errors == (
        'chainer-ssd evaluate: error: [Errno 28] No space left on device: '
        f"'{tmp_path}/evaluation.json'\n"
    )
    assert not list(tmp_path.glob('*.tmp'))


def test_the_metric_of_2007(run, root, tmp_path):
    model = Scripted(DETECTIONS)
    arguments = (tmp_path, '--dataset', 'voc', '--root', root)
    status, printed, _, result = run(*arguments, '--use-07-metric', model=model)
    assert status == 0 and result['use_07_metric'] is True
    assert 'at the 11 recalls of VOC 2007' in printed
    # blue: precision 1 at recalls 0 to 0.3, then 3/4 at 7 recalls. red: 1/2 everywhere.
    assert result['classes']['blue']['ap'] == pytest.approx((4 + 7 * 3 / 4) / 11)
    assert result['classes']['red']['ap'] == pytest.approx(0.5)
    *_, result = run(*arguments, model=model)
    assert result['use_07_metric'] is False


def write_split(root, tmp_path, names, difficult=False):
    """Returns a copy of the data set with the split ``other``."""
    shutil.copytree(root, tmp_path / 'data')
    (tmp_path / 'data/ImageSets/Main/other.txt').write_text(''.join(f'{n}\n' for n in names))
    if difficult:
        for name in names:
            file = tmp_path / f'data/Annotations/{name}.xml'
            text = file.read_text().replace('<difficult>0<', '<difficult>1<')
            file.write_text(text)
    return ['--dataset', 'voc', '--root', tmp_path / 'data', '--split', 'other']


@pytest.mark.parametrize(
    ('names', 'difficult', 'message'),
    [
        (['2'], False, 'images: no object'),
        (['0', '1'], True, 'images: all 4 objects are difficult'),
    ],
)
def test_a_split_without_objects_that_count_says_so(run, root, tmp_path, names, difficult, message):
    data = write_split(root, tmp_path, names, difficult)
    status, printed, _, result = run(tmp_path, *data, model=Scripted(DETECTIONS))
    assert status == 0 and result['map'] is None
    assert 'there is no mAP' in printed and message in printed


def test_an_empty_split_is_an_error_in_one_line(run, root, tmp_path):
    data = write_split(root, tmp_path, [])
    status, _, errors, result = run(tmp_path, *data, model=Scripted(DETECTIONS))
    assert status == 2 and not result and 'other' in errors and 'Traceback' not in errors
    assert errors.count('\n') == 1


def test_a_truncated_image_ends_in_one_line_with_its_name(run, root, tmp_path):
    data = write_split(root, tmp_path, ['0', '1'])
    file = tmp_path / 'data/JPEGImages/1.png'
    file.write_bytes(file.read_bytes()[:-40])
    status, _, errors, result = run(tmp_path, *data, model=Scripted(DETECTIONS))
    assert status == 2 and not result and errors.count('\n') == 1
    assert 'JPEGImages/1.png: ' in errors and 'Traceback' not in errors


def test_nan_predictions_end_in_one_line(run, root, tmp_path):
    detections = [[(FIRST, 0, 0.9)], [(SECOND, 0, np.nan)], [], []]
    status, _, errors, result = run(
        tmp_path, '--dataset', 'voc', '--root', root, model=Scripted(detections)
    )
    assert status == 2 and not result and 'pred_scores[1][0] = nan: expected a finite' in errors


def test_odd_class_names_are_printed_in_bounded_lines(capsys):
    figures = {'ap': 0, 'n_truth': 0, 'n_detection': 0, 'best_f1': None}
    names = ('x' * 100_000, '\x1b[31mred', 'cat\n')
    evaluate.print_table({'map': 0, 'n_image': 1, 'classes': dict.fromkeys(names, figures)})
    lines = capsys.readouterr().out.splitlines()
    assert all(line.isprintable() and len(line) < 150 for line in lines)
    assert lines[1].startswith('xxx') and lines[2].startswith('\\x1b[31mred ')


@pytest.mark.parametrize('name', ['evaluation.json', 'precision_recall.png', 'report.html'])
@pytest.mark.parametrize('suffix', ['', '.tmp'])
def test_outputs_do_not_follow_links(run, root, tmp_path, name, suffix):
    (tmp_path / 'precious').write_text('precious')
    os.symlink(tmp_path / 'precious', tmp_path / f'{name}{suffix}')
    run(tmp_path, '--dataset', 'voc', '--root', root, model=Scripted(DETECTIONS))
    assert (tmp_path / 'precious').read_bytes() == b'precious'


def test_unreadable_images_are_left_out_counted_and_named(run, root, tmp_path):
    data = write_split(root, tmp_path, ['0', '1', '3'])
    expected = write_split(root, tmp_path / 'whole', ['0', '3'])
    file = tmp_path / 'data/JPEGImages/1.png'
    file.write_bytes(file.read_bytes()[:-40])
    skip = ('--on-bad-image', 'skip')
    *_, whole = run(tmp_path, *expected, *skip, model=Scripted(DETECTIONS))
    assert whole['left_out'] == []
    status, printed, errors, result = run(tmp_path, *data, *skip, model=Scripted(DETECTIONS))
    assert status == 0 and 'images that cannot be read and are left out: 1' in printed
    assert errors.startswith('left out: ') and errors.count('JPEGImages/1.png') == 1
    assert len(result.pop('left_out')) == 1 and whole.pop('left_out') == []
    assert result == whole and result['n_image'] == 2


def test_a_split_of_unreadable_images_is_an_error(run, root, tmp_path):
    data = write_split(root, tmp_path, ['1'])
    (tmp_path / 'data/JPEGImages/1.png').write_text('no image')
    status, _, errors, result = run(
        tmp_path, *data, '--on-bad-image', 'skip', model=Scripted(DETECTIONS)
    )
    assert status == 2 and not result and 'none of 1 images can be read' in errors
