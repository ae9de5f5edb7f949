import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainer_ssd.evaluation import calc_detection_voc_prec_rec, eval_detection_voc
from tests import reference
from tests.conftest import GOLDEN

N_GOLDEN = 35
NAN = float('nan')


def one_image(pred=(), gt=(), difficult=None):
    """Arguments for one image of (box, label, score) and (box, label)."""
    return {
        'pred_bboxes': [np.array([p[0] for p in pred], dtype=np.float32).reshape(-1, 4)],
        'pred_labels': [np.array([p[1] for p in pred], dtype=np.int32)],
        'pred_scores': [np.array([p[2] for p in pred], dtype=np.float32)],
        'gt_bboxes': [np.array([g[0] for g in gt], dtype=np.float32).reshape(-1, 4)],
        'gt_labels': [np.array([g[1] for g in gt], dtype=np.int32)],
        'gt_difficults': None if difficult is None else [np.array(difficult, dtype=bool)],
    }


def oracle(images, iou_thresh, use_07_metric):
    """AP per class of [(pred, gt)], pred = [(box, label, score)], gt = [(box, label, difficult)].

    Follows the definition, one detection after the other, on plain numbers.
    """
    labels = [item[1] for pred, gt in images for item in pred + gt]
    aps = []
    for c in range(max(labels, default=-1) + 1):
        ranking = []  # (score, image, place in the image's ranking, outcome)
        n_positive = 0
        for i, (pred, gt) in enumerate(images):
            gt = [g for g in gt if g[1] == c]
            n_positive += sum(not g[2] for g in gt)
            of_class = [p for p in pred if p[1] == c]
            taken = set()
            for place, r in enumerate(
                sorted(range(len(of_class)), key=lambda r: (-of_class[r][2], -r))
            ):
                box, _, score = of_class[r]
                overlaps = [reference.iou(inclusive(box), inclusive(g[0])) for g in gt]
                best = overlaps.index(max(overlaps)) if overlaps else None
                if best is None or overlaps[best] < iou_thresh:
                    outcome = 'false'
                elif gt[best][2]:
                    outcome = 'not counted'
                else:
                    outcome = 'false' if best in taken else 'true'
                    taken.add(best)
                ranking.append((-score, -i, -place, outcome))
        curve = [(0.0, 0.0)]
        n_true = n_false = 0
        for *_, outcome in sorted(ranking):
            n_true += outcome == 'true'
            n_false += outcome == 'false'
            if n_positive:
                curve.append(
                    (Fraction(n_true, n_positive), n_true / (n_true + n_false) if n_true else 0.0)
                )
        if not n_positive:
            aps.append(NAN)
        elif use_07_metric:
            aps.append(
                sum(
                    max([p for r, p in curve if r >= Fraction(t, 10)], default=0) for t in range(11)
                )
                / 11
            )
        else:
            aps.append(
                sum(
                    (b[0] - a[0]) * max(p for r, p in curve if r >= b[0])
                    for a, b in zip(curve, curve[1:])
                )
            )
    return aps


def inclusive(box):
    return box[0], box[1], box[2] + 1, box[3] + 1


def arguments(images):
    return {
        'pred_bboxes': [[p[0] for p in pred] for pred, _ in images],
        'pred_labels': [[p[1] for p in pred] for pred, _ in images],
        'pred_scores': [[p[2] for p in pred] for pred, _ in images],
        'gt_bboxes': [[g[0] for g in gt] for _, gt in images],
        'gt_labels': [[g[1] for g in gt] for _, gt in images],
        'gt_difficults': [[g[2] for g in gt] for _, gt in images],
    }


@pytest.fixture(scope='module')
def golden():
    with np.load(GOLDEN / 'eval_voc.npz') as f:
        return dict(f)


@pytest.mark.parametrize('case', range(N_GOLDEN))
def test_equals_chainercv(golden, case):
    """ChainerCV 0.13.1's figures of random images.

    They have integer and float boxes, ties, difficult and empty images, classes that do not occur,
    thresholds from 0 to 1, and both metrics.
    """
    assert len(golden['n_image']) == N_GOLDEN
    images = slice(*np.cumsum(np.append(0, golden['n_image']))[case : case + 2])

    def split(name):
        side = name.split('_')[0]
        parts = np.split(golden[name], np.cumsum(golden[f'{side}_count'])[:-1])
        return parts[images]

    columns = [
        split('pred_bbox'),
        split('pred_label'),
        split('pred_score'),
        split('gt_bbox'),
        split('gt_label'),
        split('gt_difficult') if golden['has_difficult'][case] else None,
    ]
    result = eval_detection_voc(
        *columns,
        iou_thresh=golden['iou_thresh'][case],
        use_07_metric=golden['use_07_metric'][case],
    )

    classes = slice(*np.cumsum(np.append(0, golden['n_class']))[case : case + 2])
    expected, expected_map = golden['ap'][classes], golden['map'][case]
    if golden['use_07_metric'][case]:
        # ChainerCV misses recalls of exactly 0.3, 0.6 and 0.7. Its points give its figures.
        curves = calc_detection_voc_prec_rec(*columns, iou_thresh=golden['iou_thresh'][case])
        points = np.arange(0, 1.1, 0.1)
        np.testing.assert_allclose(eleven_point(*curves, points), expected, rtol=0, atol=1e-12)
        expected = eleven_point(*curves, points - 1e-9)
        known = [ap for ap in expected if ap == ap]
        expected_map = np.mean(known) if known else NAN
    np.testing.assert_allclose(result['ap'], expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(result['map'], expected_map, rtol=0, atol=1e-12)


def eleven_point(prec, rec, points):
    """Returns the mean precision at recalls of ``points`` and more, for each class."""
    return [
        NAN
        if recall is None
        else np.mean([max(np.nan_to_num(p)[recall >= t], default=0) for t in points])
        for p, recall in zip(prec, rec)
    ]


BOX = st.tuples(*[st.integers(0, 6)] * 2, *[st.integers(1, 6)] * 2).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
PRED = st.tuples(BOX, st.integers(0, 2), st.sampled_from([0.25, 0.5, 0.75]))
GT = st.tuples(BOX, st.integers(0, 2), st.booleans())


@settings(deadline=None, max_examples=300)
@given(
    images=st.lists(
        st.tuples(st.lists(PRED, max_size=8), st.lists(GT, max_size=5)), min_size=1, max_size=4
    ),
    iou_thresh=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]),
    use_07_metric=st.booleans(),
)
def test_equals_the_definition(images, iou_thresh, use_07_metric):
    result = eval_detection_voc(
        **arguments(images), iou_thresh=iou_thresh, use_07_metric=use_07_metric
    )
    expected = oracle(images, iou_thresh, use_07_metric)
    np.testing.assert_allclose(result['ap'], expected, rtol=0, atol=1e-12)
    known = [ap for ap in expected if ap == ap]
    np.testing.assert_allclose(
        result['map'], sum(known) / len(known) if known else NAN, rtol=0, atol=1e-12
    )


def test_many_ties_have_one_answer():
    # Past 16 scores NumPy's default sort gives ties in an order of its own.
    random = np.random.RandomState(0)
    images = []
    for _ in range(40):
        corner = random.randint(0, 12, (24, 2))
        boxes = [(y, x, y + 4, x + 4) for y, x in corner.tolist()]
        images.append(
            (
                [(box, 0, score) for box, score in zip(boxes, random.randint(0, 3, 16).tolist())],
                [(box, 0, False) for box in boxes[16:]],
            )
        )
    result = eval_detection_voc(**arguments(images))
    assert 0.05 < result['map'] < 0.95
    np.testing.assert_allclose(result['ap'], oracle(images, 0.5, False), rtol=0, atol=1e-12)


def test_by_hand():
    """Three ground truths. By falling score a true, a false and a true positive.

    Precision is 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3.
    """
    pred = [((0, 0, 9, 9), 0, 0.9), ((50, 50, 59, 59), 0, 0.8), ((20, 20, 29, 29), 0, 0.7)]
    gt = [((0, 0, 9, 9), 0), ((20, 20, 29, 29), 0), ((80, 80, 89, 89), 0)]
    area = eval_detection_voc(**one_image(pred, gt))
    np.testing.assert_allclose(area['ap'], [1 / 3 + 2 / 9])
    assert type(area['map']) is float
    eleven = eval_detection_voc(**one_image(pred, gt), use_07_metric=True)
    np.testing.assert_allclose(eleven['ap'], [(4 * 1 + 3 * 2 / 3) / 11])


def test_precision_and_recall_by_hand():
    box, other, far = (0, 0, 9, 9), (20, 20, 29, 29), (50, 50, 59, 59)
    # difficult: not counted, a true positive, a second detection of it, a true positive
    pred = [(other, 1, 0.9), (box, 1, 0.8), (box, 1, 0.7), (far, 1, 0.6), (box, 2, 0.5)]
    gt = [(other, 1), (box, 1), (far, 1), (box, 3), (far, 4)]
    prec, rec = calc_detection_voc_prec_rec(
        **one_image(pred, gt, [True, False, False, False, True])
    )
    assert [p is None for p in prec] == [True, False, False, False, False]
    assert [r is None for r in rec] == [True, False, True, False, True]
    np.testing.assert_allclose(prec[1], [NAN, 1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(rec[1], [0, 1 / 2, 1 / 2, 1])
    np.testing.assert_array_equal(prec[2], [0])
    for curve in (prec[3], rec[3], prec[4]):  # nothing detected
        assert curve.shape == (0,)


def test_precision_and_recall_at_a_higher_iou():
    example = one_image([((0, 0, 9, 8), 0, 1)], [((0, 0, 9, 9), 0)])
    assert [
        calc_detection_voc_prec_rec(**example, iou_thresh=iou)[1][0].tolist()
        for iou in (0.5, 0.9, 0.91)
    ] == [[1], [1], [0]]


def test_boxes_are_inclusive_pixels():
    # rows 0..9 against 0..4: 5 / 10 pixels, though (4 − 0) / (9 − 0) is less than a half
    half = one_image([((0, 0, 4, 9), 0, 1)], [((0, 0, 9, 9), 0)])
    assert eval_detection_voc(**half)['map'] == 1
    one_pixel = one_image([((3, 3, 3, 3), 0, 1)], [((3, 3, 3, 3), 0)])
    assert eval_detection_voc(**one_pixel)['map'] == 1


def test_only_the_first_detection_of_a_ground_truth_is_true():
    box = (0, 0, 9, 9)
    twice = one_image([(box, 0, 0.5), (box, 0, 0.9)], [(box, 0), ((50, 50, 59, 59), 0)])
    # a true and a false positive: half the recall at precision 1
    assert eval_detection_voc(**twice)['map'] == 0.5


def test_a_difficult_ground_truth_has_no_effect():
    box, other = (0, 0, 9, 9), (20, 20, 29, 29)
    pred = [(box, 0, 0.9), (other, 0, 0.8)]
    gt = [(box, 0), (other, 0)]
    assert eval_detection_voc(**one_image(pred, gt, [True, False]))['map'] == 1
    assert eval_detection_voc(**one_image(pred[1:], gt, [True, False]))['map'] == 1
    assert eval_detection_voc(**one_image(pred[1:], gt))['map'] == 0.5
    only = eval_detection_voc(**one_image(pred, gt, [True, True]))
    np.testing.assert_array_equal(only['ap'], [NAN])
    no_flags = one_image(pred, gt)
    no_flags['gt_difficults'] = [None]
    assert eval_detection_voc(**no_flags)['map'] == 1


def test_a_class_without_ground_truths_is_nan_and_left_out():
    box = (0, 0, 9, 9)
    result = eval_detection_voc(**one_image([(box, 3, 0.9), (box, 1, 0.9)], [(box, 1)]))
    np.testing.assert_array_equal(result['ap'], [NAN, 1, NAN, NAN])
    assert result['map'] == 1


@pytest.mark.parametrize('n_image', [1, 2])
def test_no_boxes(n_image):
    result = eval_detection_voc(
        *[
            [np.zeros((0, 4))] * n_image,
            *[[np.zeros(0)] * n_image] * 2,
            [np.zeros((0, 4))] * n_image,
            [np.zeros(0)] * n_image,
        ]
    )
    assert result['ap'].shape == (0,)
    assert np.isnan(result['map'])


@pytest.mark.parametrize('function', [eval_detection_voc, calc_detection_voc_prec_rec])
def test_exhausted_iterators_warn(function):
    columns = [iter(column) for column in arguments(GOOD).values()]
    expected = eval_detection_voc(**arguments(GOOD))
    np.testing.assert_equal(eval_detection_voc(*columns), expected)
    with pytest.warns(UserWarning, match='no image to evaluate: .*can be read only once'):
        result = function(*columns)
    np.testing.assert_equal(list(result), ['ap', 'map'] if isinstance(result, dict) else [[], []])


def ap_of_ranking(outcomes, n_positive, use_07_metric):
    """Returns the AP of detections by falling score, each true or false, of one class."""
    boxes = [(20 * i, 0, 20 * i + 9, 9) for i in range(n_positive)]
    free = iter(boxes)
    pred = [
        (next(free) if is_true else (0, 500, 9, 509), 0, 1 - i / 1000)
        for i, is_true in enumerate(outcomes)
    ]
    images = [(pred, [(box, 0, False) for box in boxes])]
    return eval_detection_voc(**arguments(images), use_07_metric=use_07_metric)['ap'][0]


def test_caffes_published_case():
    # TestComputeAP of Caffe's test_bbox_util.cpp: 11 detections, 5 ground truths.
    outcomes = [0, 1, 1, 0, 1, 0, 1, 0, 0, 0, 1]
    assert ap_of_ranking(outcomes, 5, True) == pytest.approx(0.598662, abs=1e-6)
    area = (2 / 3 + 2 / 3 + 3 / 5 + 4 / 7 + 5 / 11) / 5
    assert ap_of_ranking(outcomes, 5, False) == pytest.approx(area, abs=1e-12)


@pytest.mark.parametrize('n_positive', [3, 5, 10, 20, 30, 70, 100])
def test_the_eleven_points_are_exact(n_positive):
    # Without a false detection, the precision is 1 up to the recall that is reached, then 0.
    for n_true in range(n_positive + 1):
        n_point = 10 * n_true // n_positive + 1 if n_true else 0
        ap = ap_of_ranking([1] * n_true, n_positive, True)
        assert ap == pytest.approx(n_point / 11, abs=1e-12), (n_true, n_positive)


def test_nothing_found():
    result = eval_detection_voc(**one_image([], [((0, 0, 9, 9), 0)]))
    np.testing.assert_array_equal(result['ap'], [0])


def test_inverted_detection_overlaps_nothing():
    gt = [((0, 0, 9, 9), 0)]
    result = eval_detection_voc(**one_image([((9, 9, 0, 0), 0, 0.9), ((0, 0, 9, 9), 0, 0.5)], gt))
    assert result['map'] == 0.5


def test_iterators_lists_and_read_only_integers_are_accepted():
    images = [
        ([((0, 0, 9, 9), 0, 0.5), ((1, 1, 9, 9), 1, 0.75)], [((0, 0, 9, 9), 0, False)]),
        ([], [((2, 3, 4, 5), 1, False)]),
    ]
    expected = eval_detection_voc(**arguments(images))
    arrays = {name: [np.array(a) for a in column] for name, column in arguments(images).items()}
    for column in arrays.values():
        for array in column:
            array.flags.writeable = False
    for given_ in (arrays, {name: iter(column) for name, column in arrays.items()}):
        result = eval_detection_voc(**given_)
        np.testing.assert_array_equal(result['ap'], expected['ap'])


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_order_of_images_and_of_boxes_does_not_matter(seed):
    random = np.random.RandomState(seed)
    images = []
    scores = iter(random.permutation(1000).tolist())
    for _ in range(4):
        boxes = [(y, x, y + 5, x + 5) for y, x in random.randint(0, 10, (9, 2)).tolist()]
        images.append(
            (
                [(box, random.randint(2), next(scores)) for box in boxes[:6]],
                [(box, random.randint(2), random.rand() < 0.2) for box in boxes[6:]],
            )
        )
    shuffled = [
        ([pred[r] for r in random.permutation(len(pred))], gt)
        for pred, gt in (images[i] for i in random.permutation(4))
    ]
    np.testing.assert_allclose(
        eval_detection_voc(**arguments(shuffled))['ap'],
        eval_detection_voc(**arguments(images))['ap'],
        rtol=0,
        atol=1e-12,
    )


GOOD = [([((0, 0, 9, 9), 0, 0.5)], [((0, 0, 9, 9), 0, False)])] * 3


@pytest.mark.parametrize(
    'name, value, error, message',
    [
        ('pred_bboxes', [[0, 0, 9]], ValueError, r'pred_bboxes\[2\] has shape \(1, 3\)'),
        ('pred_bboxes', [[0, 0, 9, NAN]], ValueError, r'pred_bboxes\[2\]\[0\] = .*nan'),
        ('pred_bboxes', [['a', 'b', 'c', 'd']], TypeError, r'pred_bboxes\[2\] has dtype'),
        ('pred_labels', [-1], ValueError, r'pred_labels\[2\]\[0\] = -1'),
        ('pred_labels', [0.5], ValueError, r'pred_labels\[2\] has dtype float64'),
        ('pred_labels', [0, 1], ValueError, r'pred_labels\[2\] has shape \(2,\): expected \(1,\)'),
        ('pred_scores', [float('inf')], ValueError, r'pred_scores\[2\]\[0\] = inf'),
        ('pred_scores', [], ValueError, r'pred_scores\[2\] has shape \(0,\): expected \(1,\)'),
        ('pred_scores', ['high'], TypeError, r'pred_scores\[2\] has dtype'),
        ('pred_scores', [True], TypeError, r'pred_scores\[2\] has dtype bool'),
        ('pred_scores', [0.5 + 0j], TypeError, r'pred_scores\[2\] has dtype complex'),
        ('pred_scores', [NAN], ValueError, r'pred_scores\[2\]\[0\] = nan: expected a finite'),
        ('pred_scores', [2**53 + 1], ValueError, r'pred_scores\[2\]\[0\] = 9007199254740993: exp'),
        ('pred_scores', np.ma.ones(1), TypeError, r'pred_scores\[2\] is a masked array'),
        ('pred_scores', [[0.5], [0.5, 1]], ValueError, r'pred_scores\[2\]: expected an array of'),
        ('pred_bboxes', np.ma.ones((1, 4)), TypeError, r'pred_bboxes\[2\] is a masked array'),
        ('pred_labels', np.array([2**64 - 1]), ValueError, r'pred_labels\[2\]\[0\] = 1844674407'),
        ('pred_labels', [10**9], ValueError, r'pred_labels\[2\]\[0\] = 1000000000: expected a cl'),
        ('gt_labels', [10**9], ValueError, r'gt_labels\[2\]\[0\] = 1000000000: expected a class'),
        ('gt_labels', np.array([2**64 - 1]), ValueError, r'gt_labels\[2\]\[0\] = 1844674407'),
        ('gt_labels', [True], TypeError, r'gt_labels\[2\] has dtype bool'),
        ('gt_bboxes', [[9, 9, 0, 0]], ValueError, r'gt_bboxes\[2\]\[0\] = .*y_min <= y_max'),
        ('gt_bboxes', [[0, 0, float('inf'), 9]], ValueError, r'gt_bboxes\[2\]\[0\] = .*inf'),
        ('gt_labels', [[0]], ValueError, r'gt_labels\[2\] has shape \(1, 1\)'),
        ('gt_labels', [-2], ValueError, r'gt_labels\[2\]\[0\] = -2'),
        ('gt_difficults', [True, False], ValueError, r'gt_difficults\[2\] has shape \(2,\)'),
        (
            'gt_difficults',
            [NAN],
            ValueError,
            r'gt_difficults\[2\]\[0\] = nan: expected False or True',
        ),
        ('gt_difficults', [2], ValueError, r'gt_difficults\[2\]\[0\] = 2: expected False or True'),
        ('gt_difficults', ['no'], TypeError, r'gt_difficults\[2\] has dtype'),
    ],
)
def test_bad_image_is_named(name, value, error, message):
    given_ = arguments(GOOD)
    given_[name] = given_[name][:2] + [value]
    with pytest.raises(error, match=message):
        eval_detection_voc(**given_)


@pytest.mark.parametrize('name', arguments(GOOD))
def test_unequal_lengths_are_named(name):
    given_ = arguments(GOOD)
    given_[name] = given_[name][:2]
    with pytest.raises(ValueError, match=f'{name} ends after 2 images'):
        eval_detection_voc(**given_)
    given_[name] = itertools.repeat(given_[name][0], 4)
    with pytest.raises(ValueError, match=f'ends after 3 images, but {name} has more'):
        eval_detection_voc(**given_)


def test_the_largest_label_still_has_a_figure():
    result = eval_detection_voc(
        **one_image([((0, 0, 9, 9), 99_999, 0.9)], [((0, 0, 9, 9), 99_999)])
    )
    assert result['map'] == 1 and len(result['ap']) == 100_000


@pytest.mark.parametrize('value', [3, None, 'boxes', {0: []}, {1, 2}])
def test_an_argument_that_is_no_iterable_is_named(value):
    with pytest.raises(TypeError, match='pred_labels = .*: expected an iterable of one array'):
        eval_detection_voc(**{**arguments(GOOD), 'pred_labels': value})


@pytest.mark.parametrize('use_07_metric', ['no', 2, None, NAN, ['cat']])
def test_use_07_metric_is_a_flag(use_07_metric):
    with pytest.raises(TypeError, match='use_07_metric = .*: expected True or False'):
        eval_detection_voc(**arguments(GOOD), use_07_metric=use_07_metric)


@pytest.mark.parametrize('iou_thresh', [-0.1, 1.5, NAN, [0.5], '0.5', True, 10**400])
def test_bad_iou_thresh(iou_thresh):
    with pytest.raises((TypeError, ValueError), match='iou_thresh = '):
        eval_detection_voc(**arguments(GOOD), iou_thresh=iou_thresh)
