"""What the packaging files state about each other, and what the Makefile does."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text('utf-8'))
EXTRAS = PYPROJECT['project']['optional-dependencies']
MAKEFILE = (ROOT / 'Makefile').read_text('utf-8')


def read_lines(path):
    """The lines of a requirements file without its comments."""
    return [
        line for line in (ROOT / path).read_text('utf-8').splitlines() if line.strip('# ') == line
    ]


def read_package(room='.'):
    """The source of the package, or of one of its rooms."""
    paths = (ROOT / 'chainer_ssd' / room).rglob('*.py')
    return '\n'.join(path.read_text('utf-8') for path in paths)


def make(folder, *arguments):
    """Return the output of make, run without the options of an outer make."""
    env = {
        key: value for key, value in os.environ.items() if not key.startswith(('MAKE', 'MFLAGS'))
    }
    done = subprocess.run(
        ['make', '--silent', f'PYTHON={sys.executable}', *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def clone(tmp_path):
    """A folder with the Makefile, below a name that needs quoting."""
    folder = tmp_path / 'my clone #1 \u00fc'
    folder.mkdir()
    for name in 'Makefile', 'build-constraints.txt':
        (folder / name).write_text((ROOT / name).read_text('utf-8'), 'utf-8')
    return folder


# --- one meaning in several files


def test_every_place_names_the_same_chainer():
    (requirement,) = (r for r in PYPROJECT['project']['dependencies'] if r.startswith('chainer'))
    (patched,) = re.findall(r"^CHAINER_VERSION = '(.+)'$", read_package('_compat'), re.M)
    assert requirement == f'chainer=={patched}'
    assert re.findall(r'\bchainer==\S+', MAKEFILE) == [requirement]


def test_uv_has_the_constraint_of_pip():
    constraints = PYPROJECT['tool']['uv']['build-constraint-dependencies']
    assert read_lines('build-constraints.txt') == constraints


def test_classifiers_name_the_pythons_of_the_matrix():
    versions = re.findall(r'Python :: (3\.\d+)', '\n'.join(PYPROJECT['project']['classifiers']))
    spec = importlib.util.spec_from_file_location('matrix', ROOT / 'scripts/matrix.py')
    matrix = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(matrix)
    assert versions == list(matrix.OLDEST)
    assert PYPROJECT['project']['requires-python'] == f'>={versions[0]}'


def test_type_checkers_find_the_annotations():
    assert 'Typing :: Typed' in PYPROJECT['project']['classifiers']
    assert (ROOT / 'chainer_ssd/py.typed').exists()


def test_each_required_package_is_in_an_extra():
    """`require(module, extra)` names the extra in a message, so a user will type it."""
    required = set()
    for path in (ROOT / 'chainer_ssd').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text('utf-8'))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split('.')[-1] == 'require':
                required |= {a.value for a in node.args[1:2] if isinstance(a, ast.Constant)}
    assert required and required <= set(EXTRAS)


def test_what_the_coverage_leaves_out_is_there():
    report = PYPROJECT['tool']['coverage']['report']
    assert all((ROOT / path).exists() for path in report['omit'])
    package = read_package()
    assert all(re.search(pattern, package) for pattern in report['exclude_also'])


def test_install_page_lists_every_extra():
    page = (ROOT / 'docs/how-to/install.md').read_text('utf-8')
    table = page.split('## Choose the extras')[1].split('\n## ')[0]
    rows = [row.split('|')[1] for row in table.splitlines() if row.startswith('| `')]
    assert sorted(re.findall(r'`([\w-]+)`', ' '.join(rows))) == sorted(EXTRAS)


# --- links


@pytest.fixture(scope='module')
def setup_file():
    pytest.importorskip('setuptools')
    spec = importlib.util.spec_from_file_location('setup_file', ROOT / 'setup.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_follow_from_the_repository(setup_file):
    assert setup_file.list_links('') == {}
    address = 'https://example.org/me/ssd'
    assert all(link.startswith(address) for link in setup_file.list_links(address).values())


def test_relative_links_of_the_readme_point_into_the_repository(setup_file):
    text = '![a](docs/a.jpg) [b](#b) [c](https://c.org/) <img src="docs/d.png">'
    assert setup_file.resolve_links(text, '') == text
    assert setup_file.resolve_links(text, 'https://r.org/r') == (
        '![a](https://r.org/r/raw/main/docs/a.jpg) [b](#b) [c](https://c.org/) '
        '<img src="https://r.org/r/raw/main/docs/d.png">'
    )


# --- the Makefile


def test_header_lists_every_target():
    header = MAKEFILE.split('# Variables')[0]
    phony = MAKEFILE.split('.PHONY:')[1].split('\n\n')[0].replace('\\', '').split()
    assert sorted(re.findall(r'^#   ([\w-]+) ', header, re.M)) == sorted(phony)


@pytest.mark.parametrize('variable', ['PIP_CONSTRAINT', 'PIP_BUILD_CONSTRAINT'])
def test_constraints_are_found_from_any_folder(clone, variable):
    url = make(clone, '--eval', f'show: ; echo "$${variable}"', 'show').strip()
    assert ' ' not in url
    with urlopen(url) as file:
        assert file.read() == (ROOT / 'build-constraints.txt').read_bytes()


def test_clean_keeps_results(clone):
    for name in 'result/model.npz', 'build/docs/index.html', 'wheelhouse/a.whl':
        (clone / name).parent.mkdir(parents=True)
        (clone / name).write_text('')
    make(clone, 'clean')
    assert {path.name for path in clone.iterdir()} == {
        'Makefile',
        'build-constraints.txt',
        'result',
    }
    assert (clone / 'result/model.npz').exists()


def test_demo_empties_its_own_folder_only(clone):
    for name in 'result/demo/model.npz', 'result/own/model.npz':
        (clone / name).parent.mkdir(parents=True)
        (clone / name).write_text('')
    make(clone, 'demo', 'PY=true')
    assert not (clone / 'result/demo').exists()
    assert (clone / 'result/own/model.npz').exists()
