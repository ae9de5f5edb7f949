"""The checks of option values, and every option of the core with wrong values."""

import math
import warnings

import chainer
import numpy as np
import pytest

from chainer_ssd import (
    Matcher,
    MultiboxCoder,
    MultiBoxLoss,
    generate_default_bbox,
    hard_example_mining,
    match,
    multibox_loss,
    non_maximum_suppression,
    ssd_loss,
)
from chainer_ssd._options import (
    check_choice,
    check_flag,
    check_fraction,
    check_integer,
    check_label_names,
    check_number,
    check_part,
    check_positive_number,
    check_ratio,
    short_repr,
)
from chainer_ssd.functions import hard_negative_limit, n_hard_negative

NAN, INF = math.nan, math.inf
#: Values that are no number for any option.
NO_NUMBERS = NAN, '3', b'3', None, True, 1j, [3], np.array([3]), np.array(3.0), object()


@pytest.mark.parametrize(
    ('check', 'valid', 'invalid'),
    [
        (check_number, [-1, 0, 2.5, 10**25, np.float32(3), np.int64(2)], [INF, -INF, 10**400]),
        (check_ratio, [0, 0.5, 1e308], [-1e-9, INF]),
        (check_positive_number, [1e-300, 3], [0, -1, INF]),
        (check_part, [0.5, 1e-9, np.float32(0.5)], [0, 1, -0.1, 1.1, INF]),
        (check_fraction, [0, 1, 0.5, np.float32(0.5)], [-0.1, 1.1, INF]),
        (check_integer, [0, 5, np.int32(3), 10**30], [-1, 1.0, 1.5, INF]),
    ],
)
def test_numbers(check, valid, invalid):
    for value in valid:
        assert check('x', value) == value
    for value in (*invalid, *NO_NUMBERS):
        with pytest.raises((TypeError, ValueError), match='^x = .*expected'):
            check('x', value)


def test_the_range_of_an_integer_is_named():
    with pytest.raises(ValueError, match='n = 7: expected an integer from 1 to 5'):
        check_integer('n', 7, 1, 5)


def test_flags():
    for value in True, np.True_, 1, np.int32(1):
        assert check_flag('x', value) is True
    for value in False, np.False_, 0:
        assert check_flag('x', value) is False
    for value in 'no', '', None, 2, 0.0, [], np.array(True):
        with pytest.raises(TypeError, match='^x = .*expected True or False'):
            check_flag('x', value)


def test_choices():
    assert check_choice('x', 'a', ('a', 'b')) == 'a'
    for value in 'c', None, 1, ['a'], np.array(['a', 'b']):
        with pytest.raises(ValueError, match='^x = .*expected one of'):
            check_choice('x', value, ('a', 'b'))


def test_label_names():
    assert check_label_names(['b', 'a']) == ('b', 'a')
    assert check_label_names(np.array(['b', 'a'])) == ('b', 'a')
    for value in 'ab', {'a', 'b'}, frozenset('ab'), {'a': 1}, [1, 2], None, 3, [b'a'], [None]:
        with pytest.raises(TypeError, match='label_names = .*expected a sequence of str'):
            check_label_names(value)
    with pytest.raises(ValueError, match='expected each name once'):
        check_label_names(['a', 'b', 'a'])
    with pytest.raises(ValueError, match='has 2 names: expected 3'):
        check_label_names(['a', 'b'], 3)


DEFAULT_BBOX = np.array([(2, 2, 4, 4), (6, 6, 4, 4)], 'f')
BBOX = np.array([(0, 0, 4, 4), (5, 5, 8, 8)], 'f')
LOCS, CONFS = np.zeros((1, 2, 4), 'f'), np.zeros((1, 2, 3), 'f')
LABELS = np.array([[1, 0]])


def call_ssd_loss(**options):
    return ssd_loss(LOCS, CONFS, [BBOX[:1]], [[1]], BBOX, (0.1, 0.1, 0.2, 0.2), **options)


def call_multi_box_loss(**options):
    options = {'num_classes': 3, 'overlap_thresh': 0.5, 'neg_pos': 3, 'bkg_label': 0, **options}
    return MultiBoxLoss(
        prior_for_matching=True, neg_mining=True, neg_overlap=0.5, encode_target=False, **options
    )


def decode_with_coder(**options):
    coder = MultiboxCoder((1,), ((),), (8,), (4, 6))
    return coder.decode(np.zeros((2, 4), 'f'), np.zeros((2, 3), 'f'), **options)


LONG = np.zeros((30, 3)), 'x' * 100_000, list(range(100_000)), 'a\nb', 10**400


@pytest.mark.parametrize('value', LONG, ids=['array', 'str', 'list', 'line end', 'int'])
def test_a_long_value_is_shortened_in_messages(value):
    calls = [
        lambda: check_ratio('x', value),
        lambda: check_flag('x', value),
        lambda: check_choice('x', value, ('a', 'b')),
        lambda: call_ssd_loss(background_label=value),
        lambda: call_ssd_loss(gt_lens=value),
        lambda: call_multi_box_loss(bkg_label=value),
        lambda: call_multi_box_loss(variance=value),
        lambda: generate_default_bbox(**spec(sizes=value)),
    ]
    for call in calls:
        with pytest.raises((TypeError, ValueError), match='expected') as caught:
            call()
        message = str(caught.value)
        assert len(message) < 300 and '\n' not in message
    assert len(short_repr(10**5000)) < 100


@pytest.mark.parametrize('comm', [5, 'x', {}, [None]])
def test_a_wrong_communicator_is_named(comm):
    for call in (
        lambda: multibox_loss(LOCS, CONFS, LOCS, LABELS, 3, comm),
        lambda: call_ssd_loss(comm=comm),
        lambda: call_multi_box_loss(comm=comm),
    ):
        with pytest.raises(TypeError, match='^comm = .*expected a communicator'):
            call()


@pytest.mark.parametrize('k', [NAN, -1, INF, '3', 1j, None])
def test_the_number_of_negatives_needs_a_valid_ratio(k):
    for call in (
        lambda: n_hard_negative(LABELS, k),
        lambda: hard_negative_limit(np.array([1]), np.array([3]), k),
    ):
        with pytest.raises(ValueError, match='^k = .*expected a finite number'):
            call()


@pytest.mark.parametrize('variance', [None, 5, 'x', (0.1, NAN), (0.1, -1), (0.1,), np.ones((2, 4))])
def test_a_coder_checks_its_variance(variance):
    with pytest.raises((TypeError, ValueError), match='variance'):
        MultiboxCoder((1,), ((),), (8,), (4, 6), variance)


def spec(**changed):
    return {'grids': (2,), 'aspect_ratios': ((2,),), 'steps': (8,), 'sizes': (4, 6), **changed}


#: Options that take a number: (call, name of the option, value that is valid).
NUMBERS = [
    (lambda **o: match(DEFAULT_BBOX, BBOX, **o), 'iou_thresh', 0.5),
    (lambda **o: match(DEFAULT_BBOX, BBOX, **o), 'neg_overlap', 0.5),
    (lambda **o: Matcher(DEFAULT_BBOX, **o), 'iou_thresh', 0.5),
    (lambda **o: non_maximum_suppression(BBOX, **o), 'thresh', 0.5),
    (lambda **o: non_maximum_suppression(BBOX, 0.5, **o), 'limit', 1),
    (lambda **o: hard_example_mining(np.zeros((1, 3)), **o), 'sample_size', 2),
    (lambda **o: multibox_loss(LOCS, CONFS, LOCS, LABELS, **o), 'k', 3),
    (call_ssd_loss, 'overlap_threshold', 0.5),
    (call_ssd_loss, 'neg_pos_ratio', 3),
    (call_ssd_loss, 'loc_loss_weight', 1),
    (call_ssd_loss, 'conf_loss_weight', 1),
    (call_ssd_loss, 'background_label', 0),
    (call_ssd_loss, 'neg_overlap', 0.5),
    (lambda **o: call_ssd_loss(mining_type='hard_example', **o), 'sample_size', 2),
    (call_multi_box_loss, 'num_classes', 3),
    (call_multi_box_loss, 'overlap_thresh', 0.5),
    (call_multi_box_loss, 'neg_pos', 3),
    (call_multi_box_loss, 'bkg_label', 0),
    (decode_with_coder, 'nms_thresh', 0.5),
    (decode_with_coder, 'score_thresh', 0.5),
]
#: None is a value of these.
OPTIONAL = 'neg_overlap', 'limit', 'nms_thresh'


@pytest.mark.parametrize(('call', 'name', 'valid'), NUMBERS, ids=lambda x: x)
def test_a_wrong_number_is_named(call, name, valid):
    call(**{name: valid})
    for value in (*NO_NUMBERS, -1, INF, -INF, '', 'no'):
        if value is None and name in OPTIONAL:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            with pytest.raises((TypeError, ValueError), match=f'{name} = .*(expected|needs)'):
                call(**{name: value})


@pytest.mark.parametrize('name', ['normalize', 'mine_with_loc_loss'])
def test_a_text_is_no_flag(name):
    for value in 'no', 'False', None, 2, 0.5, []:
        with pytest.raises(TypeError, match=f'{name} = .*expected True or False'):
            call_ssd_loss(**{name: value})


@pytest.mark.parametrize('name', ['match_type', 'mining_type', 'reduce', 'neg_overlap_mode'])
def test_a_wrong_choice_is_named(name):
    for value in 'x', None, 1, ['sum']:
        with pytest.raises(ValueError, match=f'{name} = .*expected one of'):
            call_ssd_loss(**{name: value})


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        ({'grids': (2.5,)}, r'grids\[0\] = 2.5: expected an integer'),
        ({'grids': 2}, 'grids = 2: expected a sequence'),
        ({'grids': '2'}, "grids = '2': expected a sequence"),
        ({'steps': (NAN,)}, r'steps\[0\] = nan'),
        ({'steps': ('8',)}, r"steps\[0\] = '8'"),
        ({'sizes': (4, -6)}, r'sizes\[1\] = -6'),
        ({'sizes': (4, INF)}, r'sizes\[1\] = inf'),
        ({'aspect_ratios': 2}, 'aspect_ratios = 2: expected a sequence'),
        ({'aspect_ratios': (2,)}, r'aspect_ratios\[0\] = 2: expected a sequence'),
        ({'sizes': (1e39, 1e39)}, r'default_bbox\[0\] = .*inf.* expected finite'),
        ({'sizes': (1e-60, 1e-60)}, r'default_bbox\[0\] = .*sizes that float32 can hold'),
        ({'aspect_ratios': ((1e300,),)}, r'default_bbox\[2\] = .*inf'),
        ({'steps': (1e308,)}, r'default_bbox\[0\] = .*inf'),
        ({'grids': (10**12,)}, 'grids = .*at most 2147483647 default boxes'),
        ({'aspect_ratios': ((0,),)}, r'aspect_ratios\[0\]\[0\] = 0'),
    ],
)
def test_a_wrong_layout_of_default_boxes_is_named(changed, message):
    for function in generate_default_bbox, MultiboxCoder:
        with pytest.raises((TypeError, ValueError), match=message):
            function(**spec(**changed))


@pytest.mark.parametrize('k', [10**25, 1e308, 2.0**60, 10**300])
@pytest.mark.parametrize('use', ['auto', 'never'])
def test_a_huge_ratio_selects_all_negatives(k, use):
    rng = np.random.default_rng(0)
    locs, confs = rng.normal(size=(2, 50, 4)).astype('f'), rng.normal(size=(2, 50, 3)).astype('f')
    labels = (rng.random((2, 50)) < 0.1).astype('i')
    with chainer.using_config('use_fused_multibox', use), np.errstate(all='raise'):
        huge = multibox_loss(locs, confs, locs, labels, k)
        enough = multibox_loss(locs, confs, locs, labels, 50)
    for a, b in zip(huge, enough):
        np.testing.assert_array_equal(a.array, b.array)
