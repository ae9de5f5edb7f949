import subprocess
import sys

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from chainer_ssd.images.text import text_mask
from chainer_ssd.visualizations import draw_bbox, label_color
from chainer_ssd.visualizations._drawing import font_size, line_width
from tests.conftest import ROOT

SHAPES = [(100, 100), (96, 130), (480, 640), (640, 480), (3000, 4000)]
BACKGROUND = 137


def background(shape, dtype='f'):
    return np.full((3, *shape), BACKGROUND, dtype)


def changed(drawn):
    return (drawn != BACKGROUND).any(axis=0)


def is_color(drawn, color):
    return (drawn == np.reshape(color, (3, 1, 1))).all(axis=0)


@pytest.mark.parametrize('shape', SHAPES)
def test_lines_are_on_the_edges_and_nothing_else_changes(shape):
    height, width = shape
    box = np.array([[0.2 * height, 0.3 * width, 0.7 * height, 0.8 * width]])
    drawn = draw_bbox(background(shape, np.uint8), box, [2])
    is_line = is_color(drawn, label_color(2))
    line = line_width(shape)
    top, left, bottom, right = np.rint(box[0]).astype(int)
    middle = (top + bottom) // 2, (left + right) // 2
    rows, columns = np.flatnonzero(is_line[:, middle[1]]), np.flatnonzero(is_line[middle[0]])
    # Pixel p covers p to p + 1.
    found = [
        lines.mean() + 0.5 for lines in (rows[:line], columns[:line], rows[line:], columns[line:])
    ]
    assert np.abs(np.array(found) - box[0]).max() <= 0.5
    assert is_line[:, middle[1]].sum() == is_line[middle[0]].sum() == 2 * line
    margin = 2 * line + 1
    outside = changed(drawn)
    outside[top - margin : bottom + margin + 1, left - margin : right + margin + 1] = False
    assert not outside.any()
    inside = changed(drawn)[top + margin : bottom - margin, left + margin : right - margin]
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
        is_line = is_color(draw_bbox(background(shape), [box], [0]), label_color(0))
        top, left = np.maximum(box[:2], 0)
        bottom, right = np.minimum(box[2:], shape)
        middle = (top + bottom) // 2, (left + right) // 2
        assert is_line[:, middle[1]].sum() == is_line[middle[0]].sum() == 2 * line
        rows, columns = np.flatnonzero(is_line.any(axis=1)), np.flatnonzero(is_line.any(axis=0))
        assert rows[0] >= top - line and rows[-1] < bottom + line
        assert columns[0] >= left - line and columns[-1] < right + line


def test_a_box_outside_the_image_is_a_line_at_its_border():
    drawn = changed(
        draw_bbox(background((100, 100)), [(-30, 20, -10, 60), (20, 400, 60, 500)], [0, 0])
    )
    assert drawn[0, 40] and drawn[40, -1]
    assert not drawn[5:, :90].any()


def test_a_box_without_area_is_a_dot():
    drawn = changed(draw_bbox(background((100, 100)), [(50, 50, 50, 50)]))
    assert 1 <= drawn.sum() <= 16 and drawn[50, 50]


@pytest.mark.parametrize('bbox', [np.zeros((0, 4), 'f'), [], np.zeros((0, 4))])
@pytest.mark.parametrize('dtype', ['f', 'd', np.uint8])
def test_without_boxes_it_is_the_image(bbox, dtype):
    img = np.random.RandomState(0).randint(0, 256, (3, 20, 30)).astype(dtype)
    drawn = draw_bbox(img, bbox, np.zeros(0, 'i'), np.zeros(0, 'f'), ['cat'])
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn, img)


def test_the_input_is_not_drawn_on_and_pixels_are_rounded():
    img = np.array([-0.4, 0, 0.4, 0.6, 254.6, 255.4], 'f') * np.ones((3, 6, 1), 'f')
    drawn = draw_bbox(img, np.zeros((0, 4)))
    np.testing.assert_array_equal(drawn[0, 0], [0, 0, 0, 1, 255, 255])
    img = background((50, 50), np.uint8)
    draw_bbox(img, [(5, 5, 40, 40)])
    assert (img == BACKGROUND).all()


def test_memory_lies_pixel_by_pixel():
    assert draw_bbox(background((20, 30)), [(2, 2, 9, 9)]).transpose(1, 2, 0).flags.c_contiguous


def test_lines_are_visible_on_any_background():
    # On a background of the class's own colour the casing shows the box.
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
    args = background((300, 400)), [box], [0]
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
        return draw_bbox(background((200, 200)), [(80, 50, 150, 150)], [1], *column)

    np.testing.assert_array_equal(drawn([0.123], ['a', 'cat']), drawn([0.12], ['a', 'cat']))
    for one, other in (([0.12], [0.13]), (None, [0.12])):
        assert (drawn(one, ['a', 'cat']) != drawn(other, ['a', 'cat'])).any()
    assert (drawn([0.12], ['a', 'cat']) != drawn([0.12], ['a', 'dog'])).any()
    assert (drawn([0.12]) != drawn()).any()


def test_the_highest_score_lies_above():
    boxes = [(20, 20, 80, 80), (20, 40, 80, 120)]  # share their upper edges
    for scores, above in (([0.9, 0.2], 0), ([0.2, 0.9], 1)):
        drawn = draw_bbox(background((200, 200)), boxes, [0, 1], scores, ['a', 'b'])
        assert is_color(drawn, label_color(above))[78:82, 60].any()


def test_a_long_name_ends_in_dots_and_the_score_stays():
    img, box = background((100, 200)), [(40, 40, 80, 120)]
    long = draw_bbox(img, box, [0], [0.5], ['a name that is longer than the picture is wide'])
    short = draw_bbox(img, box, [0], [0.5], ['a name th…'])
    other = draw_bbox(img, box, [0], [0.6], ['a name that is longer than the picture is wide'])
    assert (long != other).any()
    assert changed(long).sum() < changed(short).sum() * 1.5


def test_names_in_any_script(recwarn):
    args = background((200, 300)), [(80, 50, 150, 150)], [0], None
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


def test_a_name_without_glyphs_is_drawn_as_its_label_with_a_warning():
    name = '\U000f0000'  # a private character
    args = background((200, 300)), [(80, 50, 150, 150)], [1], None
    with pytest.warns(UserWarning, match=r'no glyph for a letter of .* \(label 1\)'):
        drawn = draw_bbox(*args, ['cat', name])
    np.testing.assert_array_equal(drawn, draw_bbox(*args, ['cat', 'label 1']))


@given(st.integers(0, 2**31), st.integers(0, 40), st.integers(10, 200), st.integers(10, 200))
def test_draws_any_boxes(seed, n, height, width):
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
        ((np.zeros((3, 4, 4)), [1, 2, 3, 4]), r'bbox has shape \(4,\): expected \(N, 4\)'),
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
        (
            (np.zeros((3, 4, 4)), [(1, 1, 2, 2)], [-1]),
            r'label\[0\] = -1: expected foreground classes',
        ),
    ],
)
def test_bad_arguments(args, message):
    with pytest.raises(ValueError, match=message):
        draw_bbox(*args)


@pytest.mark.parametrize(
    ('names', 'error'), [('cat', TypeError), ({'cat'}, TypeError), (['cat'] * 2, ValueError)]
)
def test_bad_label_names(names, error):
    with pytest.raises(error, match='label_names = '):
        draw_bbox(np.zeros((3, 4, 4)), [], label_names=names)


def test_no_display_is_needed():
    # pyplot would choose a backend and keep every figure.
    code = (
        'import sys, numpy; from chainer_ssd.visualizations import draw_bbox\n'
        "draw_bbox(numpy.zeros((3, 50, 50)), [(9, 9, 40, 40)], [0], [0.5], ['cat'])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)
