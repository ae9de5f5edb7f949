import numpy as np
import pytest

from chainer_ssd.visualizations import tile_images


def test_images_stand_row_by_row_on_white():
    imgs = [np.full((3, 10 * i, 20), i, 'f') for i in (1, 2, 3)]
    tiled = tile_images(imgs, 2)
    assert tiled.shape == (3, 20 + 6 + 30, 20 + 6 + 20) and tiled.dtype == np.uint8
    assert (tiled[:, :10, :20] == 1).all() and (tiled[:, :20, 26:] == 2).all()
    assert (tiled[:, 26:, :20] == 3).all()
    white = tiled.copy()
    for place in (np.s_[:, :10, :20], np.s_[:, :20, 26:], np.s_[:, 26:, :20]):
        white[place] = 255
    assert (white == 255).all()


def test_one_row_by_default():
    imgs = [np.zeros((3, 5, 7), np.uint8)] * 4
    assert tile_images(imgs).shape == (3, 5, 4 * 7 + 3 * 6)
    np.testing.assert_array_equal(tile_images(imgs[:1], 3), imgs[0])


def test_bad_arguments():
    with pytest.raises(ValueError, match='imgs is empty'):
        tile_images([])
    with pytest.raises(ValueError, match='n_column = 0: expected an integer >= 1'):
        tile_images([np.zeros((3, 5, 7))], 0)
    with pytest.raises(ValueError, match=r'img has shape \(5, 7\)'):
        tile_images([np.zeros((5, 7))])
