"""`scripts/prose.py`: known texts and their figures."""

import importlib.util
import io
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / 'scripts' / 'prose.py'


def load_script():
    spec = importlib.util.spec_from_file_location('prose', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


prose = load_script()


def sentences(text):
    return [each.text for each in prose.measure_blocks(prose.markdown_blocks(text)).sentences]


def words(text):
    return [each.words for each in prose.measure_blocks(prose.markdown_blocks(text)).sentences]


@pytest.mark.parametrize(
    'text, expected',
    [
        ('One two three. Four five six seven.', [3, 4]),
        ('One two three\nfour five six.', [6]),
        ('The file model.npz holds NumPy 2.4 arrays. Chainer 7.8.1 reads it.', [7, 4]),
        ('Use it, e.g. Chainer of Tokui et al. (2019) here. Then go on!', [10, 3]),
        ('Boxes, labels, etc. are read. Boxes, labels, etc. Then they are checked.', [5, 3, 4]),
        ('It wraps `multibox_loss(a, b. c)`. `match` comes after that.', [3, 4]),
        ('See [the long guide](how-to/x.md). It (really.) ends there.', [4, 4]),
        ('Open <https://example.org/a.b?c=d;e> or https://example.org/x. Then read it.', [4, 3]),
        ('A rate of $x. y; z$ is fine.', [6]),
        ('Is it so? Yes it is! "It ends here." And goes on.', [3, 3, 3, 3]),
        ('It takes 0.4 ms. See Fig. 2 and no. 3 there. It said no. That is right.', [4, 7, 3, 3]),
        ('Two words.', []),
        (
            '- one two three\n- four five six.\n  Seven eight nine.\n1. ten eleven twelve',
            [3, 3, 3, 3],
        ),
        ('> **Note**\n> One two three.', [4]),
    ],
)
def test_words_of_each_sentence(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    'text',
    [
        '# A heading with many words; and more',
        '| a table | with; words |\n|---|---|\n| one two three | four |',
        '```python\nfor x in y: pass; print(1)\n```',
        '~~~\nplain code; here\n~~~',
        '```{code-block} python\nx = 1; y = 2 # one two three\n```',
        '    indented code; with words',
        '<!-- not run: a reason; with words -->',
        '![A picture; with words](picture.png)',
        '---\ntitle: some words; here\n---\n',
        '[target]: https://example.org/x;y',
    ],
)
def test_what_is_not_prose(text):
    figures = prose.measure_blocks(prose.markdown_blocks(text))
    assert (figures.words, figures.semicolons) == (0, [])


@pytest.mark.parametrize(
    'text',
    [
        '```{note}\nOne two three.\n```\n\nFour five six.',
        ':::{warning}\n:class: x\nOne two three.\n:::\nFour five six.',
    ],
)
def test_admonitions_are_prose(text):
    assert words(text) == [3, 3]


def test_code_after_an_admonition_is_not_prose():
    assert words('```{note}\nOne two three.\n```\n\n```\na b c d\n```\nFour five six.') == [3, 3]


def test_semicolons_and_their_places():
    figures = prose.measure_blocks(
        prose.markdown_blocks('One two.\n\nThree; four\nfive; six. `a; b`'), 'x.md'
    )
    assert [(each.path, each.line) for each in figures.semicolons] == [('x.md', 3), ('x.md', 4)]
    assert figures.semicolons_per_1000_words == pytest.approx(1000 * 2 / 7)


def test_the_line_is_where_the_sentence_starts():
    figures = prose.measure_blocks(prose.markdown_blocks('\nOne two three.\nFour five\nsix.'))
    assert [each.line for each in figures.sentences] == [2, 3]


DOCSTRINGS = '''"""Says what the module holds; briefly."""


def area(bbox, unit=None):
    """Returns the area of each box.

    Parameters
    ----------
    bbox : array of shape (R, 4); pixels
        Boxes as (y_min, x_min, y_max, x_max). They
        must be finite.
    unit : str or None
        Unit of the area::

            this is; code

    Returns
    -------
    array of shape (R,); one area each

    Notes
    -----
    The formula is short:

    .. math:: a; b

    >>> area([[0, 0, 1, 1]])
    array([1]); nothing else

    It counts each :func:`pixel of a box` once.
    """
    # A reason with five words.
    # It goes on here.
    #
    #     a = h; w
    return bbox  # noqa: X; y z w
'''


def test_docstrings():
    figures = prose.measure_blocks(prose.docstring_blocks(DOCSTRINGS))
    assert [(each.line, each.words) for each in figures.sentences] == [
        (1, 6),
        (5, 6),
        (10, 6),
        (10, 4),
        (13, 4),
        (23, 4),
        (30, 5),
    ]
    assert len(figures.semicolons) == 1


def test_comments():
    figures = prose.measure_blocks(prose.comment_blocks(DOCSTRINGS))
    assert [(each.line, each.words) for each in figures.sentences] == [(32, 5), (33, 4)]
    assert figures.semicolons == []


def test_comments_of_cuda_sources():
    source = (
        '// One two three\n// four; five.\nint x = 1;  // six seven eight\n/* Nine\n * ten ten. */'
    )
    figures = prose.measure_blocks(prose.cuda_comment_blocks(source))
    assert [(each.line, each.words) for each in figures.sentences] == [(1, 5), (3, 3), (4, 3)]
    assert len(figures.semicolons) == 1


def write_project(folder, readme):
    (folder / 'README.md').write_text(readme, encoding='utf-8')
    (folder / 'docs').mkdir()
    (folder / 'docs' / 'page.md').write_text('One two three.\n', encoding='utf-8')
    (folder / 'chainer_ssd').mkdir()
    (folder / 'chainer_ssd' / 'x.py').write_text('"""One two three."""\n', encoding='utf-8')


def run(*args):
    out = io.StringIO()
    return prose.main([str(arg) for arg in args], out), out.getvalue()


@pytest.mark.parametrize(
    'readme, status, bar',
    [
        ('One two three.\n', 0, ''),
        (' '.join(['word'] * 18) + '.', 1, 'mean'),
        ('One two three. ' * 10 + ' '.join(['word'] * 31) + '.', 1, 'long'),
        ('One two; three four.', 1, 'semicolons'),
    ],
)
def test_exit_status_tells_whether_the_bars_hold(tmp_path, readme, status, bar):
    write_project(tmp_path, readme)
    found, text = run('--root', tmp_path, '--files', '--worst', 1, '--semicolons')
    assert found == status
    assert (f'over: {bar}' if bar else '') in text and ('over: ' in text) == bool(status)
    assert 'docs/page.md' in text and 'chainer_ssd/x.py' in text


def test_only_the_named_files_count(tmp_path):
    write_project(tmp_path, 'One two; three four.')
    assert run('--root', tmp_path, tmp_path / 'docs' / 'page.md')[0] == 0
