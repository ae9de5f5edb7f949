import numpy as np
import pytest

from chainer_ssd.visualizations import draw_precision_recall, label_color

# a true positive, a false positive, a true positive
HALF = np.array([1, 1 / 2, 2 / 3]), np.array([1 / 2, 1 / 2, 1])
PERFECT = np.ones(4), np.arange(1, 5) / 4


def where(img, label):
    """(x, y) of the pixels of a class's colour in the plot, as recall and precision."""
    y, x = np.nonzero((img[:, :, :600] == np.array(label_color(label))[:, None, None]).all(axis=0))
    return (x - 60) / 516, (546 - y) / 522  # the axes' corners, measured on the picture


def test_lines_stand_at_their_figures():
    (prec, rec), (perfect_prec, perfect_rec) = HALF, PERFECT
    img = draw_precision_recall([prec, perfect_prec], [rec, perfect_rec], [5 / 6, 1], ['a', 'b'])
    assert img.dtype == np.uint8 and img.shape[:2] == (3, 600)
    recall, precision = where(img, 0)
    for left, right, expected in ((0.1, 0.4, 1), (0.6, 0.9, 2 / 3)):
        inside = (recall > left) & (recall < right)
        # a line of three pixels, hidden by the other one where both reach 1
        assert (expected == 1) == (not inside.any())
        if inside.any():
            np.testing.assert_allclose(precision[inside], expected, atol=0.01)
    recall, precision = where(img, 1)
    inside = (recall > 0.05) & (recall < 0.95)
    assert inside.sum() > 400
    np.testing.assert_allclose(precision[inside], 1, atol=0.01)
    assert precision[recall > 0.99].min() < 0.02  # past the last detection: none


def test_classes_without_ground_truths_are_left_out_and_nothing_detected_is_no_line():
    empty = np.zeros(0)
    img = draw_precision_recall(
        [empty, np.zeros(2), PERFECT[0]], [empty, None, PERFECT[1]], [0, np.nan, 1]
    )
    for label, drawn in ((0, False), (1, False), (2, True)):
        assert (len(where(img, label)[0]) > 0) == drawn
    legend = img[:, :, 600:].reshape(3, -1).T.tolist()
    assert [list(label_color(label)) in legend for label in range(3)] == [True, False, True]


def test_precision_before_the_first_counted_detection_is_that_reached_later():
    img = draw_precision_recall([np.array([np.nan, 1])], [np.array([0, 1])], [1])
    recall, precision = where(img, 0)
    inside = (recall > 0.05) & (recall < 0.95)
    np.testing.assert_allclose(precision[inside], 1, atol=0.01)


def test_a_name_without_glyphs_is_drawn_as_its_label_with_a_warning():
    curves = [PERFECT[0]] * 2, [PERFECT[1]] * 2, [1, 1]
    with pytest.warns(UserWarning, match=r'no glyph for a letter of .* \(label 1\)'):
        img = draw_precision_recall(*curves, ['cat', '\U000f0000'])  # a private character
    np.testing.assert_array_equal(img, draw_precision_recall(*curves, ['cat', 'label 1']))


def test_no_class_and_many():
    assert draw_precision_recall([], [], []).shape == (3, 600, 840)
    prec, rec = [PERFECT[0]] * 80, [PERFECT[1]] * 80
    names = [f'_$class_{i}$ of a name that is much too long' for i in range(80)]
    many = draw_precision_recall(prec, rec, np.ones(80), names)
    assert many.shape[0] == 3 and many.shape[2] == 600 + 4 * 240
    columns = many[:, :, 600:]
    for label in range(80):
        color = np.array(label_color(label))[:, None, None]
        assert (columns == color).all(axis=0).sum() >= 20  # its line of the legend


@pytest.mark.parametrize(
    'args, message',
    [
        (([None], [None, None], [0]), 'prec, rec and ap have 1, 2 and 1 classes'),
        (([None], [None], [0], []), r'label_names has 0 names: expected one for each of the 1'),
    ],
)
def test_lengths_that_disagree(args, message):
    with pytest.raises(ValueError, match=message):
        draw_precision_recall(*args)
