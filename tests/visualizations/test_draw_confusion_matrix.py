import numpy as np
import pytest

from chainer_ssd.visualizations import draw_confusion_matrix

MATRIX = np.array([[8, 0, 2], [0, 0, 0], [3, 1, 0]])


def cell(img, row, column):
    """Mean colour near the upper left corner of a cell, where no number is."""
    y, x = img.shape[1] - 15 - 56 * (3 - row), 135 + 56 * column
    return img[:, y + 6 : y + 14, x + 6 : x + 14].mean(axis=(1, 2))


def test_cells_are_as_dark_as_their_fraction_of_the_row():
    img = draw_confusion_matrix(MATRIX, ['bolt', 'nut'])
    assert img.dtype == np.uint8 and img.shape == (3, 318, 403)
    light = {(i, j): cell(img, i, j)[0] for i in range(3) for j in range(3)}
    assert light[0, 0] < light[2, 0] + 30  # 0.8 and 0.75
    assert light[0, 0] < light[0, 2] < light[0, 1]
    assert light[1, 0] == light[0, 1] > 240  # nothing


def test_each_count_is_drawn():
    one, other = (
        draw_confusion_matrix(MATRIX + add, ['bolt', 'nut'])
        for add in (0, np.array([[0, 0, 0], [0, 7, 0], [0, 0, 0]]))
    )
    assert (one != other).any()
    np.testing.assert_array_equal(one, draw_confusion_matrix(MATRIX, ['bolt', 'nut']))


def test_hostile_names_are_drawn_as_text():
    with pytest.warns(UserWarning, match='no glyph'):
        img = draw_confusion_matrix(MATRIX, ['$\\frac{' + 'x' * 10_000, '\U000f0000'])
    assert img.shape == (3, 318, 403)


@pytest.mark.parametrize(
    ('matrix', 'names', 'error', 'message'),
    [
        (MATRIX, ['a'], ValueError, r'matrix has shape \(3, 3\): expected \(2, 2\)'),
        (MATRIX / 2, ['a', 'b'], TypeError, 'matrix has dtype float64: expected integers'),
        (-MATRIX, ['a', 'b'], ValueError, 'matrix holds -8: expected counts >= 0'),
        (MATRIX, ['a', 'a'], ValueError, 'expected each name once'),
        (np.zeros((62, 62), int), [str(i) for i in range(61)], ValueError, 'at most 60'),
    ],
)
def test_bad_arguments_are_named(matrix, names, error, message):
    with pytest.raises(error, match=message):
        draw_confusion_matrix(matrix, names)
