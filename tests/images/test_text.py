import numpy as np
import pytest

from chainer_ssd.images.text import has_glyphs, shorten, text_mask


def test_a_mask_has_ink_and_a_margin():
    mask = text_mask('Hg', 14)
    assert mask.dtype == np.float32 and mask.min() == 0 and 0.9 < mask.max() <= 1
    assert mask[:, 0].max() == mask[:, -1].max() == 0
    assert mask.shape[0] == text_mask('a', 14).shape[0]


def test_white_space_becomes_one_blank():
    for text in ('a\ncat', ' a\tcat\r\n', 'a  cat'):
        np.testing.assert_array_equal(text_mask(text, 12), text_mask('a cat', 12))


@pytest.mark.parametrize('text', ['cat', 'Größe', 'Эритроцит', 'κύτταρο', ' \n', ''])
def test_common_scripts_have_glyphs(text):
    assert has_glyphs(text)


def test_a_private_character_has_no_glyph():
    assert not has_glyphs('cat \U000f0000')


@pytest.mark.parametrize('width', [5, 40, 100, 300])
def test_a_shortened_text_fits(width):
    text = 'the name of a class'
    short = shorten(text, 12, width)
    assert short == text or short.endswith('…') and text.startswith(short[:-1])
    assert short == '…' or text_mask(short, 12).shape[1] <= width


def test_a_text_that_fits_stays():
    assert shorten('a cat', 12, 200) == 'a cat'


def test_a_huge_text_is_shortened():
    assert len(shorten('m' * 1_000_000, 12, 200)) < 30


def test_matplotlib_chooses_the_font():
    matplotlib = pytest.importorskip('matplotlib')
    with matplotlib.rc_context({'font.family': 'monospace'}):
        narrow, wide = (text_mask(letter * 20, 12).shape[1] for letter in 'im')
    assert narrow == wide
    assert text_mask('i' * 20, 12).shape[1] < text_mask('m' * 20, 12).shape[1]
