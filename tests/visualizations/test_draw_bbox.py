import subprocess
import sys

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from chainer_ssd.images.text import text_mask
from chainer_ssd.visualizations import draw_bbox, label_color
from chainer_ssd.visualizations.draw_bbox import font_size, line_width
from tests.conftest import ROOT

SHAPES = [(100, 100), (96, 130), (480, 640), (640, 480), (3000, 4000)]
GROUND = 137


def ground(shape, dtype='f'):
    return np.full((3, *shape), GROUND, dtype)


def changed(drawn):
    return (drawn != GROUND).any(axis=0)


def is_color(drawn, color):
    return (drawn == np.reshape(color, (3, 1, 1))).all(axis=0)


@pytest.mark.parametrize('shape', SHAPES)
def test_lines_are_on_the_edges_and_all_else_is_untouched(shape):
    height, width = shape
    box = np.array([[0.2 * height, 0.3 * width, 0.7 * height, 0.8 * width]])
    drawn = draw_bbox(ground(shape, np.uint8), box, [2])
    inked = is_color(drawn, label_color(2))
    line = line_width(shape)
    top, left, bottom, right = np.rint(box[0]).astype(int)
    middle = (top + bottom) // 2, (left + right) // 2
    rows, columns = np.flatnonzero(inked[:, middle[1]]), np.flatnonzero(inked[middle[0]])
    # Pixel p covers p to p + 1.
    found = [
        lines.mean() + 0.5 for lines in (rows[:line], columns[:line], rows[line:], columns[line:])
    ]
    assert np.abs(np.array(found) - box[0]).max() <= 0.5
    assert inked[:, middle[1]].sum() == inked[middle[0]].sum() == 2 * line
    reach = 2 * line + 1
    beyond = changed(drawn)
    beyond[top - reach : bottom + reach + 1, left - reach : right + reach + 1] = False
    assert not beyond.any()
    inside = changed(drawn)[top + reach : bottom - reach, left + reach : right - reach]
    assert not inside.any()


@pytest.mark.parametrize('shape', SHAPES)
def test_lines_grow_with_the_image(shape):
    assert 1 <= line_width(shape) <= max(shape) / 100 + 1
    assert 10 <= font_size(shape) <= max(10, max(shape) / 40)


@pytest.mark.parametrize('shape', [(100, 100), (480, 640)])
def test_lines_at_the_border_have_their_full_width(shape):
    height, width = shape
    line = line_width(shape)
    for box in (
        (0, 0, height, width),
        (-50, -50, height + 50, width + 50),
        (-90, -90, 30, 30),
        (height - 30, width - 30, height, width),
    ):
        inked = is_color(draw_bbox(ground(shape), [box], [0]), label_color(0))
        top, left = np.maximum(box[:2], 0)
        bottom, right = np.minimum(box[2:], shape)
        middle = (top + bottom) // 2, (left + right) // 2
        assert inked[:, middle[1]].sum() == inked[middle[0]].sum() == 2 * line
        rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
        assert rows[0] >= top - line and rows[-1] < bottom + line
        assert columns[0] >= left - line and columns[-1] < right + line


def test_a_box_outside_the_image_is_a_line_at_its_border():
    drawn = changed(draw_bbox(ground((100, 100)), [(-30, 20, -10, 60), (20, 400, 60, 500)], [0, 0]))
    assert drawn[0, 40] and drawn[40, -1]
    assert not drawn[5:, :90].any()


def test_a_box_without_area_is_a_dot():
    drawn = changed(draw_bbox(ground((100, 100)), [(50, 50, 50, 50)]))
    assert 1 <= drawn.sum() <= 16 and drawn[50, 50]


@pytest.mark.parametrize('bbox', [np.zeros((0, 4), 'f'), [], np.zeros((0, 4))])
@pytest.mark.parametrize('dtype', ['f', 'd', np.uint8])
def test_without_boxes_it_is_the_image(bbox, dtype):
    img = np.random.RandomState(0).randint(0, 256, (3, 20, 30)).astype(dtype)
    drawn = draw_bbox(img, bbox, np.zeros(0, 'i'), np.zeros(0, 'f'), ['cat'])
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn, img)


def test_the_input_is_not_drawn_on_and_pixels_are_clipped_and_rounded():
    img = np.array([-5, 0, 0.4, 0.6, 254.6, 300], 'f') * np.ones((3, 6, 1), 'f')
    drawn = draw_bbox(img, np.zeros((0, 4)))
    np.testing.assert_array_equal(drawn[0, 0], [0, 0, 0, 1, 255, 255])
    img = ground((50, 50), np.uint8)
    draw_bbox(img, [(5, 5, 40, 40)])
    assert (img == GROUND).all()


def test_memory_lies_pixel_by_pixel():
    assert draw_bbox(ground((20, 30)), [(2, 2, 9, 9)]).transpose(1, 2, 0).flags.c_contiguous


def test_every_ground_lets_a_line_be_seen():
    # On a ground of the class's own colour the casing shows the box.
    for label in range(20):
        img = np.ones((3, 200, 200), 'f') * np.reshape(label_color(label), (3, 1, 1))
        drawn = draw_bbox(img, [(50, 50, 150, 150)], [label]).astype(int)
        difference = np.abs(drawn - img).sum(axis=0)
        assert difference[100, 40:60].max() > 90 and difference[40:60, 100].max() > 90


@pytest.mark.parametrize(
    'box',
    [
        (100, 150, 200, 250),
        (0, 0, 60, 60),
        (0, 360, 60, 400),
        (270, 0, 300, 60),
        (280, 380, 300, 400),
    ],
)
def test_a_caption_is_written_whole_and_not_on_the_object(box):
    args = ground((300, 400)), [box], [0]
    only_box, drawn = draw_bbox(*args), draw_bbox(*args, [0.987], ['cat'])
    caption = (drawn != only_box).any(axis=0)
    rows, columns = np.flatnonzero(caption.any(axis=1)), np.flatnonzero(caption.any(axis=0))
    height, width = text_mask('cat 0.99', font_size((300, 400))).shape
    # All of it, but where it lies on a line of the box's own colour.
    assert height - 4 <= rows[-1] + 1 - rows[0] <= height
    assert width - 4 <= columns[-1] + 1 - columns[0] <= width
    center = [(box[0] + box[2]) // 2, (box[1] + box[3]) // 2]
    assert not caption[center[0] - 5 : center[0] + 5, center[1] - 5 : center[1] + 5].any()


def test_two_digits_of_the_score_are_written():
    def drawn(*column):
        return draw_bbox(ground((200, 200)), [(80, 50, 150, 150)], [1], *column)

    np.testing.assert_array_equal(drawn([0.123], ['', 'cat']), drawn([0.12], ['', 'cat']))
    for one, other in (([0.12], [0.13]), (None, [0.12])):
        assert (drawn(one, ['a', 'cat']) != drawn(other, ['a', 'cat'])).any()
    assert (drawn([0.12], ['a', 'cat']) != drawn([0.12], ['a', 'dog'])).any()
    assert (drawn([0.12]) != drawn()).any()


def test_the_highest_score_lies_above():
    boxes = [(20, 20, 80, 80), (20, 40, 80, 120)]  # share their upper edges
    for scores, above in (([0.9, 0.2], 0), ([0.2, 0.9], 1)):
        drawn = draw_bbox(ground((200, 200)), boxes, [0, 1], scores, ['', ''])
        assert is_color(drawn, label_color(above))[78:82, 60].any()


def test_a_long_name_ends_in_dots_and_the_score_stays():
    img, box = ground((100, 200)), [(40, 40, 80, 120)]
    long = draw_bbox(img, box, [0], [0.5], ['a name that is longer than the picture is wide'])
    short = draw_bbox(img, box, [0], [0.5], ['a name th…'])
    other = draw_bbox(img, box, [0], [0.6], ['a name that is longer than the picture is wide'])
    assert (long != other).any()
    assert changed(long).sum() < changed(short).sum() * 1.5


def test_names_in_any_script(recwarn):
    args = ground((200, 300)), [(80, 50, 150, 150)], [0], None
    pictures = [draw_bbox(*args, [name]) for name in ('Größe', 'Эритроцит', 'κύτταρο', '???')]
    for i, picture in enumerate(pictures):
        for other in pictures[:i]:
            assert (picture != other).any()
    assert not recwarn.list


def test_a_name_of_several_lines_is_written_in_one():
    drawn = [
        draw_bbox(np.zeros((3, 200, 200)), [(50, 50, 150, 150)], [0], label_names=[name])
        for name in ('a cat', 'a\ncat', ' a\tcat\r\n')
    ]
    assert (drawn[0] == drawn[1]).all() and (drawn[0] == drawn[2]).all()


def test_a_name_that_no_font_has_is_a_number_and_a_warning():
    name = '\U000f0000'  # a private character
    args = ground((200, 300)), [(80, 50, 150, 150)], [1], None
    with pytest.warns(UserWarning, match='no installed font has all letters of .*: label 1'):
        drawn = draw_bbox(*args, ['cat', name])
    np.testing.assert_array_equal(drawn, draw_bbox(*args, ['cat', 'label 1']))


@given(st.integers(0, 2**31), st.integers(0, 40), st.integers(10, 200), st.integers(10, 200))
def test_draws_whatever_comes(seed, n, height, width):
    rng = np.random.default_rng(seed)
    bbox = rng.normal(100, 100, (n, 4))
    img = rng.integers(0, 256, (3, height, width)).astype('f')
    drawn = draw_bbox(img, bbox, rng.integers(0, 3, n), rng.random(n), ['a', 'bee', 'see you'])
    assert drawn.shape == img.shape and drawn.dtype == np.uint8


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ((np.zeros((4, 4, 3)), []), r'img has shape \(4, 4, 3\): expected \(3, H, W\)'),
        ((np.zeros((3, 0, 3)), []), r'img has shape \(3, 0, 3\)'),
        ((np.zeros((3, 4, 4)), [1, 2, 3, 4]), r'bbox has shape \(4,\): expected \(R, 4\)'),
        ((np.zeros((3, 4, 4)), [(1, 1, 2, 2), (0, 0, np.nan, 1)]), r'bbox\[1\] = .*nan'),
        ((np.zeros((3, 4, 4)), [(1, 1, 2, 2)], [0, 1]), r'label has shape \(2,\): expected \(1,\)'),
        ((np.zeros((3, 4, 4)), [(1, 1, 2, 2)], [0], [1, 2]), r'score has shape \(2,\)'),
        (
            (np.zeros((3, 4, 4)), [(1, 1, 2, 2)], [1], None, ['a']),
            r'label\[0\] = 1: expected 0 to 0',
        ),
        (
            (np.zeros((3, 4, 4)), [(1, 1, 2, 2)], [0.5]),
            'label has dtype float64: expected integers',
        ),
        ((np.zeros((3, 4, 4)), [(1, 1, 2, 2)], [-1]), r'label\[0\] = -1: expected 0 or more'),
    ],
)
def test_bad_arguments(args, message):
    with pytest.raises(ValueError, match=message):
        draw_bbox(*args)


def test_no_display_is_asked_for():
    # pyplot would choose a backend and keep every figure.
    code = (
        'import sys, numpy; from chainer_ssd.visualizations import draw_bbox\n'
        "draw_bbox(numpy.zeros((3, 50, 50)), [(9, 9, 40, 40)], [0], [0.5], ['cat'])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)
