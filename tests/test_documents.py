"""The documents: their code runs, their links lead somewhere, and the reference is complete."""

import argparse
import importlib.util
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.page_files import write_detector_and_images

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / 'docs'
MAX_README_LINES = 150
PAGE_SECONDS = 120

FENCE = re.compile(
    r'^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<language>[^\n`]*)\n'
    r'(?P<code>.*?)^(?P=indent)(?P=fence) *$',
    re.S | re.M,
)
NOT_RUN = re.compile(r'<!-- not run:(?P<reason>[^>]*)-->\s*$')
WITH = re.compile(r'<!-- with:(?P<needs>[^>]*)-->\s*$')
DETECTOR = 'a detector'
LINK = re.compile(
    r'(?<!`)\[(?:[^\[\]]|!?\[[^\]]*\](?:\([^)]*\))?)*\]\((?P<target>[^)\s]+)[^)]*\)'
    r'|!\[[^\]]*\]\((?P<picture>[^)\s]+)[^)]*\)'
    r'|^\[[^\]]+\]: *(?P<definition>\S+)'
    r'|(?:src|href)="(?P<attribute>[^"]+)"',
    re.M,
)
OUR_FILE = re.compile(
    r'https://(?:github\.com|raw\.githubusercontent\.com)/[^/]+/chainer_ssd/'
    r'(?:(?:blob|tree|raw)/)?main/(?P<path>[^#?]+)'
)


def pages():
    found = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', ROOT / 'CHANGELOG.md']
    found += sorted(DOCS.rglob('*.md'))
    return [page for page in found if page.exists()]


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def find_blocks(text):
    """Returns (language, code, reason) of each block. The reason is None for a block to run."""
    return [block[:3] for block in find_blocks_with_needs(text)]


def find_blocks_with_needs(text):
    """Returns (language, code, reason, needs) of each block.

    ``needs`` is the set that a mark above it states: ``<!-- with: a detector, torch -->``. Each is
    a package, or 'a detector': the page then runs beside the folder result and three images.
    """
    blocks = []
    for found in FENCE.finditer(text):
        above = text[: found.start()].rstrip(' ')
        not_run, needs = NOT_RUN.search(above), WITH.search(above)
        blocks.append(
            (
                found['language'].strip(),
                textwrap.dedent(found['code']),
                not_run['reason'].strip() if not_run else None,
                frozenset(each.strip() for each in needs['needs'].split(',')) if needs else set(),
            )
        )
    return blocks


def find_python(text, needs=frozenset()):
    """Returns the blocks that run with what ``needs`` names."""
    return [
        code
        for language, code, reason, needed in find_blocks_with_needs(text)
        if language == 'python' and reason is None and needed <= needs
    ]


def find_needs(text):
    """Returns the sets of needs that are not part of another one, in their order."""
    found = [needs for *_, needs in find_blocks_with_needs(text) if needs]
    found = list(dict.fromkeys(found))
    return [each for each in found if not any(each < other for other in found)]


def find_block_faults(text):
    """Returns what is wrong with how the blocks are marked."""
    faults = []
    for language, code, reason in find_blocks(text):
        first = code.partition('\n')[0]
        if not language:
            faults.append(f'a block without a language: {first!r}')
        elif language in ('py', 'python3', 'pycon') or re.match(r'\{code.*\} *py', language):
            faults.append(f'a block of {language!r}, where only python is run: {first!r}')
        elif reason is not None and len(reason.split()) < 2:
            faults.append(f'a block that is not run, without a reason: {first!r}')
    return faults


def find_targets(text):
    """Returns the targets of all links and pictures outside of code."""
    text = FENCE.sub('', text)
    text = re.sub(r'(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)', 'code', text)
    targets = []
    for found in LINK.finditer(text):
        targets += [each for each in found.groups() if each]
        # A picture inside of a link.
        targets += re.findall(r'!\[[^\]]*\]\(([^)\s]+)', found.group()) if found['target'] else []
    return targets


def find_anchors(text):
    """Returns the anchors of the headings, as GitHub and MyST make them."""
    anchors = set(re.findall(r'^\(([\w-]+)\)=', text, re.M))
    for title in re.findall(r'^#{1,6} +(.+?) *#*$', FENCE.sub('', text), re.M):
        title = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', title)
        anchors.add(re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-'))
    return anchors


def find_link_faults(page):
    """Returns the links of a page that lead nowhere."""
    text = page.read_text(encoding='utf-8')
    faults = []
    for target in find_targets(text):
        ours = OUR_FILE.match(target)
        if ours:
            if not (ROOT / ours['path']).exists():
                faults.append(f'{target}: there is no {ours["path"]}')
        elif re.match(r'[a-z]+:', target):
            continue
        else:
            path, _, anchor = target.partition('#')
            other = page.parent / path if path else page
            if not other.exists():
                faults.append(f'{target}: there is no such file')
            elif (
                anchor
                and other.suffix == '.md'
                and anchor not in find_anchors(other.read_text(encoding='utf-8'))
            ):
                faults.append(f'{target}: there is no such heading')
    return faults


def pages_with_python():
    return [page for page in pages() if find_python(page.read_text(encoding='utf-8'))]


@pytest.mark.parametrize('page', pages_with_python(), ids=name_of)
def test_python_blocks_run(page, tmp_path):
    run_blocks(find_python(page.read_text(encoding='utf-8')), tmp_path)


def run_blocks(blocks, tmp_path):
    """Runs blocks as one program, and returns what it printed."""
    code = '\n'.join(blocks)
    script = tmp_path / 'page.py'
    # Worker processes import the script again, as they would import a reader's.
    script.write_text(code, encoding='utf-8')
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        timeout=PAGE_SECONDS,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def pages_with_needs():
    return [
        pytest.param(page, needs, id=f'{name_of(page)}: {", ".join(sorted(needs))}')
        for page in pages()
        for needs in find_needs(page.read_text(encoding='utf-8'))
    ]


@pytest.mark.parametrize(('page', 'needs'), pages_with_needs())
def test_python_blocks_run_with_what_they_need(page, needs, tmp_path):
    for package in sorted(needs - {DETECTOR}):
        pytest.importorskip(package, reason=f'{package} is not installed')
    if DETECTOR in needs:
        write_detector_and_images(tmp_path)
    run_blocks(find_python(page.read_text(encoding='utf-8'), needs), tmp_path)


def test_the_readme_has_python_that_runs():
    assert find_python((ROOT / 'README.md').read_text(encoding='utf-8'))


@pytest.mark.parametrize('page', pages(), ids=name_of)
def test_blocks_are_marked(page):
    assert find_block_faults(page.read_text(encoding='utf-8')) == []


@pytest.mark.parametrize('page', pages(), ids=name_of)
def test_links_lead_somewhere(page):
    assert find_link_faults(page) == []


def find_relative_targets(text):
    """Returns the targets that a package index cannot show."""
    return [target for target in find_targets(text) if not re.match(r'[a-z]+:|#', target)]


RESOLVED = """
import setup
print(setup.resolve_links(setup.README.read_text("utf-8"), "https://example.org/x"))
"""


def test_the_readme_works_on_a_package_index():
    # setup.py makes relative links absolute. It runs apart, since it imports setuptools.
    done = subprocess.run(
        [sys.executable, '-c', RESOLVED],
        cwd=ROOT,
        timeout=PAGE_SECONDS,
        text=True,
        stdout=subprocess.PIPE,
    )
    assert done.returncode == 0 and find_targets(done.stdout)
    assert find_relative_targets(done.stdout) == []


def test_a_relative_link_is_found():
    text = '[a](page.md) [b](#title) ![c](https://example.org/c.png)\n\n[d]: d.md\n'
    assert find_relative_targets(text) == ['page.md', 'd.md']


def test_the_readme_is_a_front_page():
    lines = (ROOT / 'README.md').read_text(encoding='utf-8').split('\n')
    assert len(lines) <= MAX_README_LINES + 1


def find_make_targets(text):
    """Returns the targets of all `make` commands in code."""
    commands = re.findall(r'(?:`|\$ |run: )make ([^`\n]+)', text)
    words = [word for each in commands for word in each.partition('#')[0].split()]
    return {word for word in words if re.fullmatch(r'[a-z-]+', word)}


@pytest.mark.parametrize(
    'path', [*pages(), *sorted((ROOT / '.github').rglob('*.yml'))], ids=name_of
)
def test_make_targets_exist(path):
    makefile = (ROOT / 'Makefile').read_text(encoding='utf-8')
    targets = set(re.findall(r'^([a-z-]+):', makefile, re.M))
    assert find_make_targets(path.read_text(encoding='utf-8')) <= targets


def test_make_targets_are_found():
    text = '`make lint docs` They make it.\n$ make test PY=x  # all tests\n- run: make venv\n'
    assert find_make_targets(text) == {'lint', 'docs', 'test', 'venv'}


PAGE = """# A title: `with code`

<!-- not run: needs a GPU -->
```python
raise SystemExit(1)
```

- An item:

  ```python
  x = 1
  ```

```python
assert x == 1
```

<!-- with: torch -->
```python
y = 1
```

<!-- with: a detector, torch -->
```python
z = 1
```

<!-- with: onnx -->
```python
w = 1
```

```console
$ chainer-ssd train [no](link)
```
"""


def test_blocks_of_a_known_page():
    assert find_python(PAGE) == ['x = 1\n', 'assert x == 1\n']
    assert [language for language, _, _ in find_blocks(PAGE)] == [*['python'] * 6, 'console']
    assert find_block_faults(PAGE) == []
    largest = [{'a detector', 'torch'}, {'onnx'}]
    assert find_needs(PAGE) == largest
    assert [find_python(PAGE, needs)[2:] for needs in largest] == [
        ['y = 1\n', 'z = 1\n'],
        ['w = 1\n'],
    ]


@pytest.mark.parametrize(
    'text, fault',
    [
        ('```\nls\n```\n', 'without a language'),
        ('```pycon\n>>> 1\n```\n', 'only python is run'),
        ('```{code-block} python\nx = 1\n```\n', 'only python is run'),
        ('<!-- not run: -->\n```python\nx = 1\n```\n', 'without a reason'),
    ],
)
def test_a_badly_marked_block_is_found(text, fault):
    assert [fault in each for each in find_block_faults(text)] == [True]


@pytest.mark.parametrize(
    'link, fault',
    [
        ('[a](other.md)', None),
        ('[a](other.md#the-title-of-it)', None),
        ('[a](#a-title-with-code)', None),
        ('<https://example.org>, [a](https://example.org/x), `[a](missing.md)`', None),
        ('[a](missing.md)', 'no such file'),
        ('![a](missing.png)', 'no such file'),
        ('[![a](missing.png)](other.md)', 'no such file'),
        ('<img src="missing.png">', 'no such file'),
        ('[a]: missing.md', 'no such file'),
        ('[a](other.md#missing)', 'no such heading'),
        ('[a](https://github.com/x/chainer_ssd/blob/main/missing.md)', 'there is no missing.md'),
        ('[a](https://github.com/x/chainer_ssd/blob/main/README.md)', None),
    ],
)
def test_a_broken_link_is_found(tmp_path, link, fault):
    (tmp_path / 'other.md').write_text('# The title, of it\n', encoding='utf-8')
    page = tmp_path / 'page.md'
    page.write_text(f'{PAGE}\n{link}\n', encoding='utf-8')
    faults = find_link_faults(page)
    assert len(faults) == bool(fault) and (fault or '') in ''.join(faults)


# The reference


def load_extension_module(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / '_ext' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


check = load_extension_module('docstring_check')


def reference_pages():
    """Returns the pages of each name, as the {reference} blocks list them."""
    found = {}
    for page in sorted((DOCS / 'reference').glob('*.md')):
        for language, code, _ in find_blocks(page.read_text(encoding='utf-8')):
            directive = re.fullmatch(r'\{reference\} (\S+)', language)
            for name in code.split() if directive else ():
                found.setdefault(f'{directive[1]}.{name}', []).append(page.stem)
    return found


def test_every_public_name_is_on_one_page():
    assert check.find_page_faults(check.find_public_objects(), reference_pages()) == []


def test_every_name_of_the_package_is_a_name_of_a_room():
    import chainer_ssd

    public = {id(item) for item in check.find_public_objects().values()}
    assert [
        name for name in chainer_ssd.__all__ if id(getattr(chainer_ssd, name)) not in public
    ] == []


def test_every_public_name_is_described():
    assert [
        fault
        for name, item in check.find_public_objects().items()
        for fault in check.find_docstring_faults(name, item)
    ] == []


@pytest.mark.parametrize(
    'public, listed, fault',
    [
        (['a.b'], {'a.b': ['page']}, None),
        (['a.b'], {}, 'a.b is public and has no page'),
        (['a.b'], {'a.b': ['page', 'other']}, 'a.b is on 2 pages (page, other)'),
        ([], {'a.b': ['page']}, 'a.b is on the page page, but it is not in the __all__'),
    ],
)
def test_a_page_fault_is_found(public, listed, fault):
    faults = check.find_page_faults(public, listed)
    assert len(faults) == bool(fault) and (fault or '') in ''.join(faults)


def described(a, *rest, b=1, **options):
    """Adds.

    Parameters
    ----------
    a, b : int
        Numbers.
    *rest
        More.

    Other Parameters
    ----------------
    **options : dict
        Others.

    Returns
    -------
    int
    """
    return a + b


def without_docstring(a):
    return a


def without_parameter(a, b):
    """Adds.

    Parameters
    ----------
    a : int
        A number.
    b : int

    Returns
    -------
    int
    """
    return a + b


def without_returns(a):
    """Adds.

    Parameters
    ----------
    a : int
        A number.
    """
    return a


def without_yields():
    """Counts."""
    yield 1


def without_result():
    """Does something."""

    def inner():
        return 1

    inner()
    return


class Described(dict):
    """Holds a number.

    Parameters
    ----------
    a : int
        A number.
    """

    def __init__(self, a):
        self.a = a

    def get(self, any_key):
        return any_key

    def _private(self, b):
        return b


class WithoutParameter:
    """Holds a number."""

    def __init__(self, a):
        self.a = a


class WithBadMembers:
    """Holds a number."""

    def method(self, a):
        """Does something."""

    def __call__(self, a):
        return a

    @property
    def value(self):
        return 1


@pytest.mark.parametrize(
    'item, expected',
    [
        (described, []),
        (without_result, []),
        (Described, []),
        (without_docstring, ['no docstring']),
        (without_parameter, ['does not describe b']),
        (without_returns, ['no Returns section']),
        (without_yields, ['no Yields section']),
        (WithoutParameter, ['does not describe a']),
        (
            WithBadMembers,
            [
                'method: the Parameters',
                '__call__: the Parameters',
                'no Returns section',
                'value has no docstring',
            ],
        ),
        (7, ['has no description']),
        (check.MISSING, ['does not define it']),
    ],
)
def test_a_docstring_fault_is_found(item, expected):
    faults = check.find_docstring_faults('tests.test_documents.x', item, 'tests')
    assert len(faults) == len(expected)
    assert all(part in fault for part, fault in zip(expected, faults)), faults


ROOM = '''"""A room."""
__all__ = ['NUMBER', 'add']

#: A number.
NUMBER = 7


def add(a, b):
    """Adds two numbers, like :func:`tiny.room.add`.

    Parameters
    ----------
    a, b : int
        Numbers.

    Returns
    -------
    int
    """
    return a + b
'''
COMMAND = '''"""The command."""
import argparse

__all__ = ['create_parser']
EPILOG = 'Writes:\\n    a file\\n\\nThen it ends.'


def create_parser():
    """Returns the parser.

    Returns
    -------
    argparse.ArgumentParser
    """
    parser = argparse.ArgumentParser('tiny')
    sub = parser.add_subparsers().add_parser('run', description='Runs it.', epilog=EPILOG)
    sub.add_argument('--rate_', default=2, help='rate of *it* (%(default)s of 100 %%)')
    return parser
'''
CONF = """import sys
sys.path[:0] = [{extensions!r}, {folder!r}]
project = 'tiny'
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'reference']
reference_package = 'tiny'
myst_enable_extensions = ['dollarmath']
math_renderer = 'mathml'
"""


@pytest.mark.parametrize(
    'names, room, faults',
    [
        ('NUMBER\nadd', ROOM, []),
        ('NUMBER', ROOM, ['tiny.room.add is public and has no page']),
        ('NUMBER\nadd\nadd', ROOM, ['tiny.room.add is on 2 pages']),
        (
            'NUMBER\nadd',
            ROOM.replace('a, b : int', 'a : int').replace('#: A', '# A'),
            ['does not describe b', 'tiny.room.NUMBER has no description'],
        ),
    ],
)
def test_the_build_fails_where_the_reference_has_a_fault(tmp_path, names, room, faults):
    pytest.importorskip('myst_parser')
    docs = tmp_path / 'docs'
    files = {
        'tiny/__init__.py': '',
        'tiny/room/__init__.py': room,
        'tiny/cli/__init__.py': COMMAND,
        'docs/conf.py': CONF.format(extensions=str(DOCS / '_ext'), folder=str(tmp_path)),
        'docs/index.md': f'# Tiny\n\n```{{reference}} tiny.room\n{names}\n```\n\n'
        '```{reference} tiny.cli\ncreate_parser\n```\n\n```{command}\n```\n\n'
        'The area is $\\frac{a}{b}$.\n',
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
    done = subprocess.run(
        [
            sys.executable,
            '-m',
            'sphinx',
            '-W',
            '--keep-going',
            '-q',
            '-b',
            'html',
            str(docs),
            str(tmp_path / 'html'),
        ],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
    )
    assert bool(done.returncode) == bool(faults), done.stdout
    assert all(fault in done.stdout for fault in faults), done.stdout
    if not faults:
        html = (tmp_path / 'html' / 'index.html').read_text(encoding='utf-8')
        assert 'Adds two numbers' in html and 'A number.' in html
        assert '--rate_' in html and 'rate of *it* (2 of 100 %)' in html
        assert '<mfrac>' in html and '<p>Writes:</p>' in html and 'Then it ends.' in html


def test_the_command_has_a_page_of_all_its_options():
    from chainer_ssd.cli import create_parser

    pytest.importorskip('sphinx')
    sys.path.insert(0, str(DOCS / '_ext'))
    try:
        reference = load_extension_module('reference')
    finally:
        sys.path.remove(str(DOCS / '_ext'))
    parsers = reference.find_subparsers(create_parser())
    assert {'train', 'predict', 'evaluate', 'env'} <= set(parsers)
    for name, parser in parsers.items():
        text = '\n'.join(reference.describe_parser(name, parser))
        for action in parser._actions:
            if not isinstance(action, argparse._HelpAction):
                names = action.option_strings or [action.metavar or action.dest]
                assert action.help and names[0] in text


def test_the_citation_is_of_this_version():
    import chainer_ssd

    citation = (ROOT / 'CITATION.cff').read_text(encoding='utf-8')
    assert re.search(r'^version: (.+)$', citation, re.M)[1] == chainer_ssd.__version__
