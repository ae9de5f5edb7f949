import sys

import chainer
import numpy as np
import pytest

from chainer_ssd import DetectionCOCOEvaluator, eval_detection_coco
from tests.distributed.threads import run_ranks

pytest.importorskip('pycocotools')
NAMES = ('bolt', 'nut', 'unicorn')
MEAN = 'map/iou=0.50:0.95/area=all/max_dets=100'
# An image: bbox, label, area, crowd. The area of a mask is smaller than that of its box.
TRUTHS = [
    ([(0, 0, 40, 40), (50, 50, 60, 60)], [0, 1], [900.0, 50.0], [False, False]),
    ([(10, 10, 90, 90)], [0], [5000.0], [True]),
    ([], [], [], []),
    ([(0, 0, 20, 30), (5, 50, 50, 99)], [1, 1], [400.0, 1500.0], [False, False]),
]


class Detector(chainer.Link):
    """Detector that shifts the ground truths and adds one box, by the number of the image."""

    def predict(self, imgs):
        numbers = [int(img[0, 0, 0]) for img in imgs]
        bboxes, labels, scores = [], [], []
        for i in numbers:
            bbox, label = TRUTHS[i][:2]
            bboxes.append(np.array([*[np.add(box, 2) for box in bbox], (70, 0, 90, 20)], 'f'))
            labels.append(np.array([*label, 0], 'i'))
            scores.append(np.linspace(0.9, 0.5, len(label) + 1).astype('f'))
        return bboxes, labels, scores


def examples_of(*columns):
    dtypes = 'f', 'i', 'f', bool
    return [
        (
            np.full((3, 4, 4), i, 'f'),
            *(np.array(truth[column], dtypes[column]) for column in columns),
        )
        for i, truth in enumerate(TRUTHS)
    ]


def examples_with_boxes(*columns):
    return [(img, bbox.reshape(-1, 4), *rest) for img, bbox, *rest in examples_of(0, 1, *columns)]


def evaluator_of(examples, *args, **kwargs):
    iterator = chainer.iterators.SerialIterator(examples, 2, repeat=False, shuffle=False)
    return DetectionCOCOEvaluator(iterator, Detector(), *args, **kwargs)


def expected_of(examples, **options):
    imgs, bboxes, labels = zip(*(example[:3] for example in examples))
    return eval_detection_coco(*Detector().predict(imgs), bboxes, labels, **options)


@pytest.mark.parametrize(
    ('columns', 'names'),
    [
        ((), {}),
        ((2,), {'gt_areas': 3}),
        ((3,), {'gt_crowdeds': 3}),
        ((2, 3), {'gt_areas': 3, 'gt_crowdeds': 4}),
    ],
)
def test_reports_the_figures_of_a_direct_evaluation(columns, names):
    examples = examples_with_boxes(*columns)
    expected = expected_of(
        examples, **{name: [example[i] for example in examples] for name, i in names.items()}
    )
    evaluator = evaluator_of(examples, NAMES)
    for _ in range(2):
        result = evaluator()
        assert 0 < result[f'main/{MEAN}'] < 1
        means = {f'main/{key}' for key in expected if key[:4] in ('map/', 'mar/')}
        assert len(means) == (12 if 2 in columns else 6)
        assert len(result) == len(means) * (1 + len(NAMES))
        for key, figure in expected.items():
            if key[:3] in ('ap/', 'ar/'):
                for label, name in enumerate(NAMES):
                    value = figure[label] if label < len(figure) else np.nan
                    np.testing.assert_equal(result[f'main/{key}/{name}'], value)
            elif key[:4] in ('map/', 'mar/'):
                np.testing.assert_equal(result[f'main/{key}'], figure)


def test_areas_and_crowds_change_the_figures():
    plain = evaluator_of(examples_with_boxes())()
    crowds = evaluator_of(examples_with_boxes(3))()
    assert plain[f'main/{MEAN}'] != crowds[f'main/{MEAN}']
    small = 'main/map/iou=0.50:0.95/area=small/max_dets=100'
    assert small in evaluator_of(examples_with_boxes(2))() and small not in plain


def test_without_names_it_reports_only_the_means():
    assert all(
        key[:9] in ('main/map/', 'main/mar/') for key in evaluator_of(examples_with_boxes())()
    )


@pytest.mark.parametrize('only_rank_0', [False, True])
def test_all_ranks_report_the_figures_of_one_process(only_rank_0):
    examples = examples_with_boxes(2, 3)

    def report(comm):
        iterator = None
        if not (only_rank_0 and comm.rank):
            iterator = chainer.iterators.SerialIterator(examples, 1, repeat=False, shuffle=False)
        evaluator = DetectionCOCOEvaluator(iterator, Detector(), NAMES, comm)
        reporter = chainer.Reporter()
        reporter.add_observer('main', evaluator.get_target('main'))
        with reporter:
            return evaluator.evaluate()

    expected = evaluator_of(examples, NAMES)()
    for found in run_ranks(2, report):
        np.testing.assert_equal(found, expected)


@pytest.mark.parametrize(
    ('names', 'error'), [('cat', TypeError), ({'cat', 'dog'}, TypeError), (['cat'] * 2, ValueError)]
)
def test_bad_label_names(names, error):
    with pytest.raises(error, match='label_names = '):
        evaluator_of(examples_with_boxes(), names)


def test_a_repeating_iterator_is_refused():
    iterator = chainer.iterators.SerialIterator(examples_with_boxes(), 1)
    with pytest.raises(ValueError, match='the iterator repeats'):
        DetectionCOCOEvaluator(iterator, Detector())


def test_a_missing_pycocotools_is_an_error_at_construction(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pycocotools.cocoeval', None)
    with pytest.raises(ImportError, match=r'pip install "chainer_ssd\[eval\]"'):
        evaluator_of(examples_with_boxes())


def test_a_test_set_without_images_is_an_error():
    with pytest.raises(ValueError, match='DetectionCOCOEvaluator: the data set holds no image'):
        evaluator_of([])
