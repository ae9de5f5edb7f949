import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainer_ssd.evaluation import eval_detection_coco
from tests import reference
from tests.conftest import GOLDEN

N_GOLDEN = 12
NAN = float('nan')
AP, AP50, AP75 = (f'ap/iou={iou}/area=all/max_dets=100' for iou in ('0.50:0.95', '0.50', '0.75'))
KEYS = {AP, AP50, AP75, *(f'ar/iou=0.50:0.95/area=all/max_dets={n}' for n in (1, 10, 100))}
AREA_KEYS = {
    f'{figure}/iou=0.50:0.95/area={area}/max_dets=100'
    for figure in ('ap', 'ar')
    for area in ('small', 'medium', 'large')
}
BOX, OTHER = (0, 0, 10, 10), (50, 50, 60, 60)
ONE = pytest.approx(1, abs=1e-12)  # pycocotools adds an epsilon to every denominator


def arguments(images):
    """Return the arguments for [(pred, gt)].

    pred = [(box, label, score)], gt = [(box, label, crowd)]
    """
    return {
        'pred_bboxes': [[p[0] for p in pred] for pred, _ in images],
        'pred_labels': [[p[1] for p in pred] for pred, _ in images],
        'pred_scores': [[p[2] for p in pred] for pred, _ in images],
        'gt_bboxes': [[g[0] for g in gt] for _, gt in images],
        'gt_labels': [[g[1] for g in gt] for _, gt in images],
        'gt_crowdeds': [[g[2] for g in gt] for _, gt in images],
    }


def evaluate(*images, **options):
    return eval_detection_coco(**arguments(images), **options)


def oracle(images, thresh, max_dets=100):
    """Return (AP, recall) of each class at one IoU, one detection after the other."""
    labels = [item[1] for pred, gt in images for item in pred + gt]
    figures = []
    for c in range(max(labels, default=-1) + 1):
        ranking, n_positive = [], 0
        for pred, gt in images:
            gt = [g for g in gt if g[1] == c]
            n_positive += sum(not g[2] for g in gt)
            of_class = sorted((p for p in pred if p[1] == c), key=lambda p: -p[2])
            taken = set()
            for box, _, score in of_class[:max_dets]:
                free = [
                    (reference.iou(box, g[0]), j)
                    for j, g in enumerate(gt)
                    if not g[2] and j not in taken
                ]
                best = max(free, default=(0, None))  # on a tie the later ground truth
                if best[0] >= thresh:
                    taken.add(best[1])
                    outcome = 'true'
                elif any(g[2] and fraction_inside(box, g[0]) >= thresh for g in gt):
                    outcome = 'not counted'
                else:
                    outcome = 'false'
                ranking.append((score, outcome))
        if not n_positive:
            figures.append((NAN, NAN))
            continue
        curve, n_true, n_false = [], 0, 0
        for _, outcome in sorted(ranking, key=lambda r: -r[0]):
            n_true += outcome == 'true'
            n_false += outcome == 'false'
            curve.append((n_true / n_positive, n_true / (n_true + n_false) if n_true else 0.0))
        ap = (
            sum(
                max([p for r, p in curve if r >= recall], default=0.0)
                for recall in np.linspace(0, 1, 101)
            )
            / 101
        )
        figures.append((ap, n_true / n_positive))
    return figures


def fraction_inside(box, crowd):
    """Return the fraction of the box's area that lies in the crowd."""
    sides = [max(0, min(box[i + 2], crowd[i + 2]) - max(box[i], crowd[i])) for i in (0, 1)]
    return sides[0] * sides[1] / ((box[2] - box[0]) * (box[3] - box[1]))


@pytest.fixture(scope='module')
def golden():
    with np.load(GOLDEN / 'eval_coco.npz') as f:
        return dict(f)


@pytest.mark.parametrize('case', range(N_GOLDEN))
def test_equals_chainercv(golden, case):
    """ChainerCV 0.13.1's figures of random images.

    They have float boxes, ties, crowds, masks' areas or none, empty images, classes that do not
    occur, and more than 100 detections.
    """
    assert len(golden['n_image']) == N_GOLDEN
    images = slice(*np.cumsum(np.append(0, golden['n_image']))[case : case + 2])

    def split(name):
        side = name.split('_')[0]
        return np.split(golden[name], np.cumsum(golden[f'{side}_count'])[:-1])[images]

    has_area = golden['has_area'][case]
    result = eval_detection_coco(
        split('pred_bbox'),
        split('pred_label'),
        split('pred_score'),
        split('gt_bbox'),
        split('gt_label'),
        split('gt_area') if has_area else None,
        split('gt_crowded'),
    )
    classes = slice(*np.cumsum(np.append(0, golden['n_class']))[case : case + 2])
    expected = dict(
        zip(golden['key'].tolist(), zip(golden['figure'][classes].T, golden['mean'][case]))
    )
    keys = KEYS | AREA_KEYS if has_area else KEYS
    assert {key for key in result if key[:2] in ('ap', 'ar')} == keys
    for key in keys:
        # ChainerCV keeps the figures of the classes in float32.
        np.testing.assert_allclose(result[key], expected[key][0], rtol=0, atol=1e-7, err_msg=key)
        np.testing.assert_allclose(
            result[f'm{key}'], expected[key][1], rtol=0, atol=1e-7, err_msg=key
        )


CELLS = st.tuples(*[st.integers(0, 6)] * 2, *[st.integers(1, 6)] * 2).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@settings(deadline=None, max_examples=100)
@given(
    images=st.lists(
        st.tuples(
            st.lists(
                st.tuples(CELLS, st.integers(0, 2), st.sampled_from([0.25, 0.5, 0.75])), max_size=8
            ),
            st.lists(st.tuples(CELLS, st.integers(0, 2), st.booleans()), max_size=5),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_equals_the_definition(images):
    result = eval_detection_coco(**arguments(images))
    for key, thresh in ((AP50, 0.5), (AP75, 0.75)):
        expected = np.array([ap for ap, _ in oracle(images, thresh)])
        np.testing.assert_allclose(result[key], expected, rtol=0, atol=1e-12)
    threshs = np.linspace(0.5, 0.95, 10)
    for n in (1, 10, 100):
        recalls = [[recall for _, recall in oracle(images, thresh, n)] for thresh in threshs]
        np.testing.assert_allclose(
            result[f'ar/iou=0.50:0.95/area=all/max_dets={n}'],
            np.mean(recalls, axis=0),
            rtol=0,
            atol=1e-12,
        )


def test_by_hand():
    # IoU 0.9: true at nine of ten thresholds. A false one has a higher score: precision 1/2
    result = evaluate(([(BOX, 0, 0.8), ((0, 0, 20, 20), 0, 0.9)], [((0, 0, 10, 9), 0, False)]))
    np.testing.assert_allclose(
        [result[key][0] for key in (AP, AP50, AP75)], [0.45, 0.5, 0.5], atol=1e-12
    )
    recalls = [result[f'mar/iou=0.50:0.95/area=all/max_dets={n}'] for n in (1, 10, 100)]
    np.testing.assert_allclose(recalls, [0, 0.9, 0.9], atol=1e-12)
    # half the ground truths at precision 1: recalls 0, 0.01, ..., 0.5 of 101
    result = evaluate(([(BOX, 0, 0.9)], [(BOX, 0, False), (OTHER, 0, False)]))
    np.testing.assert_allclose(result[f'm{AP}'], 51 / 101, atol=1e-12)
    assert type(result[f'm{AP}']) is float


def test_height_and_width_are_differences():
    # 4 of 10 rows. With inclusive pixels it would be a half
    assert evaluate(([((0, 0, 4, 9), 0, 1.0)], [((0, 0, 9, 9), 0, False)]))[f'm{AP50}'] == 0
    assert evaluate(([((0, 0, 5, 10), 0, 1.0)], [(BOX, 0, False)]))[f'm{AP50}'] == ONE


def test_a_crowd_has_no_effect():
    # Two detections inside a crowd, whose IoU with it is small.
    crowd = ((50, 50, 90, 90), 0, True)
    inside = [((51, 51, 61, 61), 0, 0.95), ((70, 70, 80, 80), 0, 0.9)]
    found = (BOX, 0, 0.5)
    assert evaluate(([*inside, found], [(BOX, 0, False), crowd]))[f'm{AP}'] == ONE
    no_crowd = evaluate(([*inside, found], [(BOX, 0, False)]))
    np.testing.assert_allclose(no_crowd[f'm{AP}'], 1 / 3, atol=1e-12)
    only = evaluate((inside, [crowd]))
    np.testing.assert_array_equal(only[AP], [NAN])
    assert np.isnan(only[f'm{AP}'])
    with_none = arguments([([*inside, found], [(BOX, 0, False)])])
    with_none['gt_crowdeds'] = [None]
    np.testing.assert_allclose(eval_detection_coco(**with_none)[f'm{AP}'], 1 / 3, atol=1e-12)


def test_areas_classify_ground_truths_and_not_boxes():
    # 10 x 10 pixels, with areas of masks: small, medium, large
    image = [(BOX, 0, 0.5)], [(BOX, 0, False)]
    for area, expected in ((32**2 - 1, 'small'), (32**2 + 1, 'medium'), (96**2 + 1, 'large')):
        result = evaluate(image, gt_areas=[[area]])
        for name in ('small', 'medium', 'large'):
            value = result[f'map/iou=0.50:0.95/area={name}/max_dets=100']
            assert value == ONE if name == expected else np.isnan(value)
    assert not AREA_KEYS & set(evaluate(image))
    of_box = evaluate(image, gt_areas=[None])  # 100 square pixels
    assert of_box['map/iou=0.50:0.95/area=small/max_dets=100'] == ONE


def test_classes_that_do_not_occur_are_nan_and_left_out():
    result = evaluate(([(BOX, 3, 0.9), (BOX, 1, 0.9)], [(BOX, 1, False)]))
    np.testing.assert_allclose(result[AP], [NAN, 1, NAN, NAN], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(result['existent_labels'], [1, 3])
    assert result[f'm{AP}'] == ONE


def test_exhausted_iterators_warn():
    columns = {name: iter(column) for name, column in arguments(GOOD).items()}
    assert eval_detection_coco(**columns)[f'm{AP}'] == ONE
    with pytest.warns(UserWarning, match='no image to evaluate'):
        assert np.isnan(eval_detection_coco(**columns)[f'm{AP}'])


@pytest.mark.parametrize('n_image', [1, 2])
def test_no_boxes(n_image):
    result = evaluate(*[([], [])] * n_image, gt_areas=[[]] * n_image)
    for key in KEYS | AREA_KEYS:
        assert result[key].shape == (0,)
        assert np.isnan(result[f'm{key}'])


def test_nothing_found_and_empty_images():
    result = evaluate(([], [(BOX, 0, False)]), ([], []))
    np.testing.assert_array_equal(result[AP], [0])
    # a detection in an empty image is false
    result = evaluate(([(BOX, 0, 0.5)], [(BOX, 0, False)]), ([(BOX, 0, 0.9)], []))
    assert result[f'm{AP}'] == pytest.approx(0.5)


def test_an_inverted_detection_is_false():
    inverted = ((10, 0, 0, 10), 0, 0.9)
    result = evaluate(([inverted, (BOX, 0, 0.5)], [(BOX, 0, False)]))
    assert result[f'm{AP}'] == pytest.approx(0.5)


def test_iterators_and_read_only_arrays_are_accepted_and_nothing_is_printed(capsys):
    images = [([(BOX, 0, 0.5), (OTHER, 1, 0.75)], [(BOX, 0, False)]), ([], [(OTHER, 1, False)])]
    expected = evaluate(*images)
    arrays = {name: [np.array(a) for a in column] for name, column in arguments(images).items()}
    for column in arrays.values():
        for array in column:
            array.flags.writeable = False
    for given_ in (arrays, {name: iter(column) for name, column in arrays.items()}):
        np.testing.assert_array_equal(eval_detection_coco(**given_)[AP], expected[AP])
    assert capsys.readouterr() == ('', '')


GOOD = [([(BOX, 0, 0.5)], [(BOX, 0, False)])] * 3


@pytest.mark.parametrize(
    'name, value, error, message',
    [
        ('pred_bboxes', [[0, 0, 9]], ValueError, r'pred_bboxes\[2\] has shape \(1, 3\)'),
        ('pred_scores', [NAN], ValueError, r'pred_scores\[2\]\[0\] = nan'),
        ('pred_bboxes', [[0, 0, 9, NAN]], ValueError, r'pred_bboxes\[2\]\[0\] = .*nan'),
        ('pred_scores', [0.5j], TypeError, r'pred_scores\[2\] has dtype complex'),
        ('pred_labels', [10**9], ValueError, r'pred_labels\[2\]\[0\] = 1000000000: expected a cl'),
        ('gt_labels', np.array([2**64 - 1]), ValueError, r'gt_labels\[2\]\[0\] = 1844674407'),
        ('gt_areas', np.ma.ones(1), TypeError, r'gt_areas\[2\] is a masked array'),
        ('gt_bboxes', [[9, 9, 0, 0]], ValueError, r'gt_bboxes\[2\]\[0\] = .*y_min <= y_max'),
        ('gt_labels', [-2], ValueError, r'gt_labels\[2\]\[0\] = -2'),
        ('gt_crowdeds', [True, False], ValueError, r'gt_crowdeds\[2\] has shape \(2,\)'),
        ('gt_crowdeds', [NAN], ValueError, r'gt_crowdeds\[2\]\[0\] = nan: expected False or True'),
        ('gt_crowdeds', [2], ValueError, r'gt_crowdeds\[2\]\[0\] = 2: expected False or True'),
        ('gt_crowdeds', ['no'], TypeError, r'gt_crowdeds\[2\] has dtype'),
        ('gt_areas', [1, 2], ValueError, r'gt_areas\[2\] has shape \(2,\): expected \(1,\)'),
        ('gt_areas', [-1], ValueError, r'gt_areas\[2\]\[0\] = -1: expected a number >= 0'),
        ('gt_areas', [NAN], ValueError, r'gt_areas\[2\]\[0\] = nan: expected a finite number'),
        ('gt_areas', ['large'], TypeError, r'gt_areas\[2\] has dtype'),
    ],
)
def test_bad_image_is_named(name, value, error, message):
    given_ = {**arguments(GOOD), 'gt_areas': [[100]] * 3}
    given_[name] = given_[name][:2] + [value]
    with pytest.raises(error, match=message):
        eval_detection_coco(**given_)


@pytest.mark.parametrize('name', [*arguments(GOOD), 'gt_areas'])
def test_unequal_lengths_are_named(name):
    given_ = {**arguments(GOOD), 'gt_areas': [[100]] * 3}
    given_[name] = given_[name][:2]
    with pytest.raises(ValueError, match=f'{name} ends after 2 images'):
        eval_detection_coco(**given_)


def test_a_missing_pycocotools_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pycocotools.coco', None)
    with pytest.raises(ImportError, match=r'pip install "chainer_ssd\[eval\]"'):
        evaluate(*GOOD)
