import pytest

from chainer_ssd.images import printable_name


@pytest.mark.parametrize('name', ['', 'bolt', 'a/b', 'a $x$ b', '螺栓', 'x' * 80])
def test_an_ordinary_name_stays(name):
    assert printable_name(name) == name


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('cat\n', 'cat\\n'),
        ('\x1b[31mred', '\\x1b[31mred'),
        ('a\u202eb', 'a\\u202eb'),
        ('a\udcff.jpg', 'a\\udcff.jpg'),
        ('a\x00\x9bb', 'a\\x00\\x9bb'),
    ],
)
def test_control_characters_are_escaped(name, expected):
    assert printable_name(name) == expected


@pytest.mark.parametrize('letter', ['x', '\x1b', '螺', '\U000e0001'])
@pytest.mark.parametrize('max_letters', [10, 80])
def test_a_long_name_is_shortened(letter, max_letters):
    short = printable_name(letter * 100_000, max_letters)
    assert len(short) == max_letters and short.endswith('...') and short.isprintable()
