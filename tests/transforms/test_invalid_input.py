"""Images and options that the transforms would misread."""

import math

import numpy as np
import pytest

from chainer_ssd import EncodeTransform, MatchTransform
from chainer_ssd.transforms import (
    Augmentation,
    CropTransform,
    DistortTransform,
    ExpandTransform,
    FlipTransform,
    MildAugmentation,
    RandomResizeTransform,
    ResizeTransform,
    SSDAugmentation,
)

TRANSFORMS = {
    'distort': DistortTransform(),
    'expand': ExpandTransform(),
    'crop': CropTransform(),
    'random resize': RandomResizeTransform(16),
    'flip': FlipTransform(),
    'several': Augmentation(FlipTransform(), DistortTransform()),
    'mild': MildAugmentation(16),
    'ssd': SSDAugmentation(32),
}
IMG = np.random.default_rng(0).integers(0, 256, (3, 20, 30))
BBOX, LABEL = [(2, 3, 12, 13)], [0]
WRONG_IMAGES = {
    'scaled to [0, 1]': IMG / 255,
    'scaled to [0, 1], float32': (IMG / 255).astype('f'),
    'without its mean': IMG - 127.0,
    'without its mean, int': IMG - 127,
    '16 bits': (IMG * 257).astype(np.uint16),
    '12 bits': (IMG * 16).astype(np.uint16),
    'NaN': np.where(IMG > 100, np.nan, IMG),
    'inf': np.where(IMG > 100, np.inf, IMG),
    'bool': IMG > 100,
    'str': IMG.astype(str),
    'object': IMG.astype(object),
    'complex': IMG.astype(complex),
    '(H, W, 3)': IMG.transpose(1, 2, 0),
    'grey': IMG[0],
    'grey (1, H, W)': IMG[:1],
    'a batch': IMG[None],
    'None': None,
}


def name_of(transform):
    return type(transform).__name__


def apply(transform, img, bbox=BBOX):
    if isinstance(transform, ResizeTransform):
        return transform((img, bbox, LABEL))
    return transform((img, bbox, LABEL), np.random.default_rng(0))


@pytest.mark.parametrize('transform', [*TRANSFORMS.values(), ResizeTransform(16)], ids=name_of)
@pytest.mark.parametrize('kind', WRONG_IMAGES)
def test_an_image_that_would_be_misread_is_an_error(transform, kind):
    with pytest.raises((TypeError, ValueError), match='^img has .*expected'):
        apply(transform, WRONG_IMAGES[kind])


@pytest.mark.parametrize('transform', [*TRANSFORMS.values(), ResizeTransform(16)], ids=name_of)
@pytest.mark.parametrize('dtype', ['u1', 'u2', 'i8', 'f', 'd'])
def test_any_number_type_and_lists_are_accepted(transform, dtype):
    expected = apply(transform, IMG.astype('u1'), np.array(BBOX, 'f'))
    for img in IMG.astype(dtype), IMG.astype(dtype).tolist():
        found = apply(transform, img)
        np.testing.assert_allclose(np.asarray(found[0], 'f'), expected[0], atol=0.51)
        np.testing.assert_array_equal(found[1], expected[1])


def test_a_black_image_is_no_image_in_fractions():
    for transform in TRANSFORMS.values():
        apply(transform, np.zeros((3, 20, 30), 'f'))
        apply(transform, (IMG > 100).astype('f'))


NO_NUMBERS = math.nan, '3', None, True, [1], 1j
OPTIONS = [
    (DistortTransform, 'brightness', (-1, math.inf, *NO_NUMBERS)),
    (DistortTransform, 'hue', (-1, math.inf, *NO_NUMBERS)),
    (DistortTransform, 'contrast', ((1.5, 0.5), (-1, 1), (1,), 1, 'ab', {1, 2}, (math.nan, 1))),
    (DistortTransform, 'saturation', ((1.5, 0.5), (-1, 1), (1,), 1, None, ('a', 'b'))),
    (ExpandTransform, 'max_ratio', (0.5, math.inf, *NO_NUMBERS)),
    (ExpandTransform, 'probability', (-0.1, 1.1, *NO_NUMBERS)),
    (ExpandTransform, 'fill', (1, (1, 2), (1, 2, 256), (-1, 0, 0), (0.5, 0.5, 0.5), 'abc', None)),
    (CropTransform, 'min_ious', (0.5, 'abc', (1.1,), (math.nan,), ('a',), None, {0.1, None})),
    (CropTransform, 'scale', ((0, 1), (0.5, 1.1), (1, 0.5), 0.5, 'ab')),
    (CropTransform, 'max_aspect_ratio', (0.5, math.inf, *NO_NUMBERS)),
    (CropTransform, 'trials', (0, 1.5, *NO_NUMBERS)),
    (FlipTransform, 'horizontal', (-0.1, 1.1, *NO_NUMBERS)),
    (FlipTransform, 'vertical', (-0.1, 1.1, *NO_NUMBERS)),
    (RandomResizeTransform, 'size', (0, 1.5, *NO_NUMBERS)),
    (ResizeTransform, 'size', (0, 1.5, *NO_NUMBERS)),
    (SSDAugmentation, 'size', (0, 1.5, *NO_NUMBERS)),
    (MildAugmentation, 'size', (0, 1.5, *NO_NUMBERS)),
]


@pytest.mark.parametrize(('create', 'name', 'values'), OPTIONS)
def test_a_wrong_option_is_named(create, name, values):
    for value in values:
        with pytest.raises((TypeError, ValueError), match=rf'{name}.* (=|has) .*expected'):
            create(**{name: value})


def test_a_step_that_is_no_transform_is_named():
    with pytest.raises(TypeError, match=r'steps\[1\] = .*expected a transform'):
        Augmentation(FlipTransform(), FlipTransform)


DEFAULT_BBOX = np.array([(7, 8, 10, 10), (15, 20, 8, 8)], 'f')


@pytest.mark.parametrize('flag', [[1], [0.5], ['no'], [True, False], True])
def test_difficult_must_be_one_bool_for_each_box(flag):
    with pytest.raises((TypeError, ValueError), match='ignore has'):
        MatchTransform(DEFAULT_BBOX)((IMG, BBOX, LABEL, flag))


def test_lists_are_accepted_by_the_steps_of_the_pipeline():
    matched = MatchTransform(DEFAULT_BBOX.tolist())((IMG, BBOX, LABEL, [False]))
    assert matched[3].tolist() == [0, -1]
    _, mb_loc, mb_label = EncodeTransform(DEFAULT_BBOX.tolist())(matched)
    assert mb_label.tolist() == [1, 0]
    assert mb_loc.shape == (2, 4)


def test_a_fifth_entry_is_an_error():
    with pytest.raises(ValueError, match='example has 5 entries'):
        MatchTransform(DEFAULT_BBOX)((IMG, BBOX, LABEL, [False], [100.0]))


@pytest.mark.parametrize('transform', [*TRANSFORMS.values(), ResizeTransform(16)], ids=name_of)
def test_the_mask_of_an_image_is_not_lost(transform):
    with pytest.raises(TypeError, match='^img is a masked array'):
        apply(transform, np.ma.masked_array(IMG, IMG > 100))


STEPS = [
    *(
        lambda example, each=each: each(example, np.random.default_rng(0))
        for each in TRANSFORMS.values()
    ),
    ResizeTransform(16),
    MatchTransform(DEFAULT_BBOX),
    EncodeTransform(DEFAULT_BBOX),
]


@pytest.mark.parametrize('step', STEPS, ids=name_of)
def test_what_is_no_example_is_named(step):
    for example in None, 3, 'abc', IMG, {'img': IMG, 'bbox': BBOX, 'label': LABEL}:
        with pytest.raises(TypeError, match='^example is a .*: expected a tuple'):
            step(example)
    for example in (), (IMG,):
        with pytest.raises(ValueError, match=f'^example has {len(example)} entries: expected'):
            step(example)


@pytest.mark.parametrize('transform', TRANSFORMS.values(), ids=name_of)
@pytest.mark.parametrize('label', [None, 0, 'a', {0}, {0: 0}])
def test_an_entry_that_has_no_row_for_each_box_is_named(transform, label):
    for step, name in (
        (lambda example: transform(example, np.random.default_rng(0)), r'example\[2\]'),
        (MatchTransform(DEFAULT_BBOX), 'label'),
    ):
        with pytest.raises(TypeError, match=rf'^{name} is a .*expected 1, one entry for each box'):
            step((IMG, BBOX, label))
