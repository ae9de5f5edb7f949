"""Measures how long the sentences of this project are, and fails where they are too long.

Usage::

    python scripts/prose.py                     # one row per group, exit 1 if a bar is broken
    python scripts/prose.py --files --worst 20  # also one row per file, and the longest sentences
    python scripts/prose.py --semicolons        # also where each semicolon is
    python scripts/prose.py docs/how-to/use-a-gpu.md  # these files only

The groups are the README, the documents, the docstrings and the comments. Each group must hold
each bar of ``BARS``. Tables, headings, code blocks, and the type lines of numpydoc are left out.
Inline code, a formula, a number, or a URL is one word. A fragment of fewer than three words is
not a sentence, but its words count.
"""

import argparse
import ast
import bisect
import collections
import io
import json
import re
import sys
import tokenize
from pathlib import Path

MAX_MEAN_WORDS = 17.0
LONG_SENTENCE_WORDS = 30
MAX_LONG_PERCENT = 5.0
MAX_SEMICOLONS_PER_1000_WORDS = 1.0
MIN_SENTENCE_WORDS = 3

GROUPS = ('README', 'docs', 'docstrings', 'comments')
DOCUMENTS = ('docs/**/*.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'examples/**/*.ipynb')
SOURCES = (
    'chainer_ssd/**/*.py',
    'chainer_ssd/**/*.cu',
    'chainer_ssd/**/*.h',
    'examples/**/*.py',
    'scripts/**/*.py',
    'docs/**/*.py',
    '*.py',
)
LEFT_OUT = re.compile(r'(^|/)(\.[^/]+|_build|build|generated)/')

#: A period after one of these does not end a sentence.
ABBREVIATIONS = frozenset(
    ('e.g.', 'i.e.', 'al.', 'cf.', 'vs.', 'approx.', 'resp.', 'ca.', 'incl.', 'excl.', 'dr.')
)
#: Neither does it after one of these where a number follows.
NUMBERED = frozenset(
    ('fig.', 'figs.', 'eq.', 'eqs.', 'sec.', 'no.', 'nos.', 'p.', 'pp.', 'vol.', 'ver.', 'ch.')
)
#: One of these may end a sentence: it does where a capital follows.
MAYBE_LAST = frozenset(('etc.', '...', 'inc.', 'ltd.'))

ADMONITIONS = frozenset(
    (
        'note',
        'warning',
        'tip',
        'hint',
        'important',
        'caution',
        'attention',
        'danger',
        'seealso',
        'admonition',
        'versionadded',
        'versionchanged',
        'deprecated',
        'dropdown',
        'epigraph',
    )
)
ITEM_SECTIONS = frozenset(
    (
        'Parameters',
        'Other Parameters',
        'Attributes',
        'Returns',
        'Yields',
        'Receives',
        'Raises',
        'Warns',
        'Methods',
        'See Also',
    )
)
NUMPYDOC_SECTIONS = ITEM_SECTIONS | {'Notes', 'Examples', 'References', 'Warnings'}

_LIST_ITEM = re.compile(r'\s*(?:[-*+]|\d+[.)]|#\.)\s+(?=\S)')
_PRAGMA = re.compile(r'(!|\s*(noqa|type:|ruff:|mypy:|pragma|fmt:|pylint|isort:|-\*-|vim:|%%))')

#: What becomes one word. The order counts: code may hold anything.
_ONE_WORD = [
    re.compile(pattern, re.S)
    for pattern in (
        r'(\{[\w:-]+\}|:[\w:]+:)?(?<!`)(`{1,3})(?!`)(?:(?!\2).)+?\2(?!`)_{0,2}',
        r'\$\$.+?\$\$',
        r'(?<![\w$])\$(?=\S)[^$\n]+?(?<=\S)\$(?!\w)',
        r'<https?://[^>\s]+>',
        r'https?://[^\s)>\]]*[^\s)>\].,:;]',
    )
]
#: What is dropped: pictures, the targets of links, comments, entities, footnotes.
_DROPPED = [
    re.compile(pattern, re.S)
    for pattern in (
        r'<!--.*?-->',
        r'!\[[^\]]*\]\([^)]*\)',
        r'\]\([^)]*\)',
        r'\]\[[^\]]*\]',
        r'\[(?=[^\]]*\0)',
        r'&\w+;',
        r'\[#?\w+\]_',
        r'</?[a-zA-Z][^>]*>',
    )
]
_END = re.compile(r'(?:\.{3}|[.!?])["\'”’)\]*_\0]*(?=\s)')

Block = collections.namedtuple('Block', 'lines')  # of pairs (line number, text)
Sentence = collections.namedtuple('Sentence', 'path line text words')
Semicolon = collections.namedtuple('Semicolon', 'path line text')


class Figures:
    """Counts of one text, or of many added up.

    Attributes
    ----------
    words : int
        All words, fragments included.
    sentences : list of Sentence
        Sentences with at least ``MIN_SENTENCE_WORDS`` words.
    semicolons : list of Semicolon
        Where each semicolon is.
    """

    def __init__(self):
        self.words = 0
        self.sentences = []
        self.semicolons = []

    def add(self, other):
        """Adds the counts of another text.

        Parameters
        ----------
        other : Figures
        """
        self.words += other.words
        self.sentences += other.sentences
        self.semicolons += other.semicolons

    @property
    def mean_words(self):
        """Mean number of words a sentence."""
        return sum(each.words for each in self.sentences) / max(1, len(self.sentences))

    @property
    def long_percent(self):
        """Percentage of sentences with more than ``LONG_SENTENCE_WORDS`` words."""
        long = sum(each.words > LONG_SENTENCE_WORDS for each in self.sentences)
        return 100 * long / max(1, len(self.sentences))

    @property
    def semicolons_per_1000_words(self):
        """Semicolons per 1,000 words."""
        return 1000 * len(self.semicolons) / max(1, self.words)

    def broken_bars(self):
        """Returns the names of the bars that these figures break."""
        return [
            name
            for name, value, bar in (
                ('mean', self.mean_words, MAX_MEAN_WORDS),
                ('long', self.long_percent, MAX_LONG_PERCENT),
                ('semicolons', self.semicolons_per_1000_words, MAX_SEMICOLONS_PER_1000_WORDS),
            )
            if value > bar
        ]


def measure_blocks(blocks, path=''):
    """Counts the words, sentences and semicolons of blocks of text.

    Parameters
    ----------
    blocks : iterable of Block
        Paragraphs and list items. No sentence goes from one to the next.
    path : str
        Name of the file, for the places of sentences.

    Returns
    -------
    Figures
    """
    figures = Figures()
    for block in blocks:
        text, starts, numbers = '', [], []
        for number, line in block.lines:
            starts.append(len(text))
            numbers.append(number)
            text += line.strip() + ' '

        def line_at(offset, starts=starts, numbers=numbers):
            return numbers[bisect.bisect_right(starts, offset) - 1]

        masked = mask(text)
        for found in re.finditer(';', masked):
            start = max(0, found.start() - 30)
            figures.semicolons.append(
                Semicolon(path, line_at(found.start()), text[start : found.start() + 30].strip())
            )
        for start, end in sentence_spans(masked):
            words = count_words(masked[start:end])
            first = start + len(text[start:end]) - len(text[start:end].lstrip())
            figures.words += words
            if words >= MIN_SENTENCE_WORDS:
                figures.sentences.append(
                    Sentence(path, line_at(first), text[first:end].strip(), words)
                )
    return figures


def mask(text):
    """Returns ``text``, equally long, with code, formulas and URLs as one letter each.

    Parameters
    ----------
    text : str
        One block.

    Returns
    -------
    str
        NUL stands for each character that does not count.
    """
    for pattern in _ONE_WORD:
        text = pattern.sub(lambda found: 'X' + '\0' * (len(found.group()) - 1), text)
    for pattern in _DROPPED:
        text = pattern.sub(lambda found: '\0' * len(found.group()), text)
    return text


def sentence_spans(masked):
    """Yields where each sentence of a masked block starts and ends.

    Parameters
    ----------
    masked : str
        What :func:`mask` returned.

    Yields
    ------
    tuple of int
        Start and end.
    """
    start = 0
    for found in _END.finditer(masked):
        rest = masked[found.end() :].lstrip(' \0*_("\'“[')
        if not rest.strip('\0 '):
            break
        before = masked[start : found.end()].replace('\0', '').split()
        last = before[-1].strip('*_()[]"\'“”').lower() if before else ''
        if not last.endswith(('.', '!', '?')):  # the period was before a closing bracket
            last += '.'
        if last in ABBREVIATIONS or (last in NUMBERED and rest[0].isdigit()):
            continue
        if len(before) == 1 and re.fullmatch(r'[a-z]\.', last):  # the initial of a name
            continue
        is_doubtful = last in MAYBE_LAST or last.endswith('...') or ')' in found.group()
        if is_doubtful and rest[0].islower():
            continue
        yield start, found.end()
        start = found.end()
    if masked[start:].strip(' \0'):
        yield start, len(masked)


def count_words(masked):
    """Returns the number of words: pieces between spaces that hold a letter or a digit.

    Parameters
    ----------
    masked : str
        A sentence from :func:`mask`.

    Returns
    -------
    int
    """
    pieces = re.split(r'[\s—]+', masked.replace('\0', ''))
    return sum(any(c.isalnum() for c in piece) for piece in pieces)


class _Blocks:
    """Gathers numbered lines into blocks."""

    def __init__(self):
        self.blocks = []
        self._lines = []

    def add(self, number, line):
        self._lines.append((number, line))

    def end(self):
        if self._lines:
            self.blocks.append(Block(self._lines))
            self._lines = []

    @property
    def last_line(self):
        return self._lines[-1][1] if self._lines else ''


def markdown_blocks(text):
    """Returns the paragraphs and list items of a Markdown (MyST) document.

    Parameters
    ----------
    text : str
        The document.

    Returns
    -------
    list of Block
    """
    text = re.sub(r'<!--.*?-->', lambda found: '\n' * found.group().count('\n'), text, flags=re.S)
    lines = text.split('\n')
    out = _Blocks()
    fence = None  # what closes the code block that we are in
    start = 0
    if lines[0].strip() == '---' and '---' in lines[1:]:  # front matter
        start = lines.index('---', 1) + 1
    after_blank, in_list = True, False
    for i in range(start, len(lines)):
        number, line = i + 1, lines[i]
        stripped = line.strip()
        opening = re.match(r'(`{3,}|~{3,}|:{3,})\s*(?:\{([\w:-]+)\})?', stripped)
        if fence:
            if stripped.startswith(fence) and not stripped.strip(fence[0]):
                fence = None
            continue
        if opening:
            out.end()
            is_prose = opening.group(2) in ADMONITIONS or (
                not opening.group(2) and not stripped.strip('`~:') and opening.group(1)[0] == ':'
            )
            # The closing fence of an admonition looks like an opening without a language.
            if not is_prose and (stripped.strip('`~:') or not _closes_admonition(lines, i)):
                fence = opening.group(1)
            continue
        if not stripped:
            out.end()
            after_blank = True
            continue
        if (
            stripped.startswith(('#', '|'))
            or re.match(r'[-=*_|: ]{3,}$', stripped)
            or re.match(r':[\w-]+:(\s|$)', stripped)
            or re.match(r'\[[^\]]+\]:\s', stripped)
            or (after_blank and not in_list and line.startswith('    '))
        ):
            out.end()  # heading, table, rule, option, target of a link, indented code
            after_blank = False if not line.startswith('    ') else after_blank
            continue
        line = re.sub(r'^\s*(>\s?)+', '', line)
        item = _LIST_ITEM.match(line)
        if item:
            out.end()
            in_list = True
            line = line[item.end() :]
        elif after_blank and not line.startswith(' '):
            in_list = False
        after_blank = False
        out.add(number, line)
    out.end()
    return out.blocks


def _closes_admonition(lines, i):
    """Whether line ``i``, a bare fence, closes an admonition that is written with backticks."""
    mark = re.match(r'`{3,}|~{3,}|:{3,}', lines[i].strip()).group()
    is_open = False
    for line in lines[:i]:
        found = re.match(r'(`{3,}|~{3,}|:{3,})\s*(\{[\w:-]+\})?(.*)', line.strip())
        if found and found.group(1) == mark:
            if found.group(2) and found.group(2)[1:-1] in ADMONITIONS:
                is_open = True
            elif not found.group(2) and not found.group(3):
                is_open = False
    return is_open


def rest_blocks(lines, code_indent=None):
    """Returns the paragraphs and list items of a docstring or a comment.

    Parameters
    ----------
    lines : list of tuple (int, str)
        Numbered lines, without the common indentation.
    code_indent : int or None
        Lines indented by at least this are formulas or code. None: only after ``::``.

    Returns
    -------
    list of Block
    """
    out = _Blocks()
    section = None
    indent = 0
    literal = None  # lines indented by more than this are literal
    in_item = False
    skip_to_blank = False
    for i, (number, line) in enumerate(lines):
        stripped = line.strip()
        if not stripped:
            if out.last_line.rstrip().endswith('::'):
                literal = indent
            out.end()
            skip_to_blank = in_item = False
            continue
        column = len(line) - len(line.lstrip())
        if literal is not None:
            if column > literal:
                continue
            literal = None
        following = lines[i + 1][1] if i + 1 < len(lines) else ''
        if stripped in NUMPYDOC_SECTIONS and re.match(r'\s*-{3,}\s*$', following):
            out.end()
            section = stripped
            continue
        if skip_to_blank or re.match(r'[-=~+|^*]{3,}', stripped) or stripped.startswith('|'):
            out.end()
            continue
        if stripped.startswith('>>>'):
            out.end()
            skip_to_blank = True
            continue
        directive = re.match(r'\.\. (?:([\w-]+)::|\[|_|\|)', stripped)
        if directive:
            out.end()
            if directive.group(1) in ADMONITIONS:
                out.add(number, stripped[directive.end() :])
                indent = column + 4
            else:
                literal = column
            continue
        if section in ITEM_SECTIONS and column == 0:
            out.end()
            indent = 4
            continue
        if code_indent is not None and column >= code_indent:
            out.end()
            continue
        item = _LIST_ITEM.match(line)
        if item:
            out.end()
            in_item, indent = True, item.end()
            out.add(number, line[item.end() :])
            continue
        if column != indent and not (in_item and column > 0):
            out.end()
            in_item = False
        indent = column
        out.add(number, stripped)
    out.end()
    return out.blocks


def docstring_blocks(source):
    """Returns the blocks of all docstrings of a Python file.

    Parameters
    ----------
    source : str
        The file's text.

    Returns
    -------
    list of Block
    """
    blocks = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        text = ast.get_docstring(node, clean=False)
        if text is None:
            continue
        lines = text.expandtabs().split('\n')
        margin = min(
            (len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()), default=0
        )
        lines = [lines[0].lstrip()] + [line[margin:] for line in lines[1:]]
        first = node.body[0].value.lineno
        blocks += rest_blocks(list(enumerate(lines, first)))
    return blocks


def comment_blocks(source):
    """Returns the blocks of all comments of a Python file.

    Parameters
    ----------
    source : str
        The file's text.

    Returns
    -------
    list of Block
        Comment lines below each other are one comment. Pragmas are left out.
    """
    runs = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        text = token.string.lstrip('#:') if token.string.startswith('#:') else token.string[1:]
        if _PRAGMA.match(text):
            continue
        row, column = token.start
        is_alone = not token.line[:column].strip()
        text = text[1:] if text.startswith(' ') else text
        if is_alone and runs and runs[-1][0] == column and runs[-1][1][-1][0] == row - 1:
            runs[-1][1].append((row, text))
        else:
            runs.append((column if is_alone else -1, [(row, text)]))
    return [block for _, lines in runs for block in rest_blocks(lines, code_indent=4)]


def cuda_comment_blocks(source):
    """Returns the blocks of all comments of a CUDA or C++ file.

    Parameters
    ----------
    source : str
        The file's text.

    Returns
    -------
    list of Block
    """
    runs = []
    found_all = re.finditer(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', source, re.S)
    for found in found_all:
        text = found.group()
        row = source.count('\n', 0, found.start()) + 1
        if text.startswith('//'):
            column = found.start() - (source.rfind('\n', 0, found.start()) + 1)
            is_alone = not source[found.start() - column : found.start()].strip()
            line = re.sub(r'^//+ ?', '', text)
            if is_alone and runs and runs[-1][0] == column and runs[-1][1][-1][0] == row - 1:
                runs[-1][1].append((row, line))
            else:
                runs.append((column if is_alone else -1, [(row, line)]))
        elif text.startswith('/*'):
            lines = [re.sub(r'^\s*\*? ?', '', line) for line in text[2:-2].split('\n')]
            runs.append((-1, list(enumerate(lines, row))))
    return [block for _, lines in runs for block in rest_blocks(lines, code_indent=4)]


def measure_file(path, name):
    """Returns the figures of one file by group.

    Parameters
    ----------
    path : pathlib.Path
        The file: Markdown, a notebook, Python or CUDA.
    name : str
        What the report calls it.

    Returns
    -------
    dict of str to Figures
    """
    text = path.read_text(encoding='utf-8')
    if path.suffix == '.md':
        group = 'README' if path.name == 'README.md' else 'docs'
        blocks = {group: markdown_blocks(text)}
    elif path.suffix == '.ipynb':
        cells = [
            ''.join(cell['source'])
            for cell in json.loads(text)['cells']
            if cell['cell_type'] == 'markdown'
        ]
        blocks = {'docs': [block for cell in cells for block in markdown_blocks(cell)]}
    elif path.suffix == '.py':
        blocks = {'docstrings': docstring_blocks(text), 'comments': comment_blocks(text)}
    else:
        blocks = {'comments': cuda_comment_blocks(text)}
    return {group: measure_blocks(each, name) for group, each in blocks.items()}


def find_files(root):
    """Returns the files that the bars hold for.

    Parameters
    ----------
    root : pathlib.Path
        Top folder of the repository.

    Returns
    -------
    list of pathlib.Path
    """
    paths = []
    for pattern in ('README.md', *DOCUMENTS, *SOURCES):
        paths += [
            path
            for path in sorted(root.glob(pattern))
            if not LEFT_OUT.search(path.relative_to(root).as_posix()) and path not in paths
        ]
    return paths


def print_table(rows, out):
    """Prints rows of figures below one head.

    Parameters
    ----------
    rows : list of tuple (str, Figures)
        Name and figures.
    out : file
        Where to print.
    """
    width = max([len(name) for name, _ in rows] + [len('group')])
    print(
        f'{"":{width}}  words  sentences  words/sentence  over {LONG_SENTENCE_WORDS} words  '
        'semicolons/1,000',
        file=out,
    )
    for name, figures in rows:
        broken = figures.broken_bars()
        print(
            f'{name:{width}}  {figures.words:5}  {len(figures.sentences):9}'
            f'  {figures.mean_words:14.1f}  {figures.long_percent:11.1f} %'
            f'  {figures.semicolons_per_1000_words:16.1f}'
            f'{"  over: " + ", ".join(broken) if broken else ""}',
            file=out,
        )


def main(args=None, out=None):
    """Runs the script.

    Parameters
    ----------
    args : list of str or None
        Arguments of the command line. None: those of the process.
    out : file or None
        Where to print. None: standard output.

    Returns
    -------
    int
        0 if all groups hold all bars, else 1.
    """
    out = out or sys.stdout
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument(
        'paths', nargs='*', type=Path, help='files to measure (default: all of the repository)'
    )
    parser.add_argument(
        '--root',
        type=Path,
        default=Path(__file__).resolve().parents[1],
        help="top folder of the repository (default: this script's)",
    )
    parser.add_argument('--files', action='store_true', help='also print one row per file')
    parser.add_argument(
        '--worst',
        type=int,
        default=0,
        metavar='N',
        help='also print the N longest sentences of each group (default: 0)',
    )
    parser.add_argument(
        '--semicolons', action='store_true', help='also print where each semicolon is'
    )
    options = parser.parse_args(args)
    root = options.root.resolve()

    groups = {group: Figures() for group in GROUPS}
    by_file = {group: [] for group in GROUPS}
    for path in options.paths or find_files(root):
        path = path.resolve()
        name = path.relative_to(root).as_posix() if root in path.parents else str(path)
        for group, figures in measure_file(path, name).items():
            groups[group].add(figures)
            if figures.words:
                by_file[group].append((name, figures))
    rows = [(group, groups[group]) for group in GROUPS if groups[group].words]
    for group, figures in rows:
        if options.files:
            print(f'\n{group}, by file, longest sentences first', file=out)
            print_table(sorted(by_file[group], key=lambda row: -row[1].mean_words), out)
        if options.worst:
            print(f'\n{group}: longest sentences', file=out)
            longest = sorted(figures.sentences, key=lambda each: -each.words)[: options.worst]
            for each in longest:
                print(f'{each.path}:{each.line}: {each.words} words: {each.text}', file=out)
        if options.semicolons:
            print(f'\n{group}: semicolons', file=out)
            for each in figures.semicolons:
                print(f'{each.path}:{each.line}: {each.text}', file=out)
    if options.files or options.worst or options.semicolons:
        print(file=out)
    print_table(rows, out)
    broken = [group for group, figures in rows if figures.broken_bars()]
    if broken:
        print(
            f'prose.py: {", ".join(broken)}: over the bars (mean at most {MAX_MEAN_WORDS:g}, '
            f'at most {MAX_LONG_PERCENT:g} % over {LONG_SENTENCE_WORDS} words, at most '
            f'{MAX_SEMICOLONS_PER_1000_WORDS:g} semicolon per 1,000 words); --files --worst 20 '
            '--semicolons lists the places',
            file=out,
        )
    return 1 if broken else 0


if __name__ == '__main__':
    sys.exit(main())
