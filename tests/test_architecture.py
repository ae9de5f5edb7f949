"""Reads the imports of the package and of the examples, and fails where they break a rule.

The rules, in the order of the checks in ``find_breaches``:

1. Imports go down the floors only. Rooms of one floor do not import each other.
2. A name or module with a leading underscore is used inside its own room only.
3. Imports are absolute, except in ``_compat``, which imports nothing of the package.
4. ``ops`` imports neither Chainer nor a communicator, reads no file, draws no random number.
5. ``distributed`` imports neither mpi4py nor chainermn at module level.
6. ``runtime`` imports ``distributed`` and floor 0 only. No room that knows boxes imports it.
7. Only ``images`` imports OpenCV and Pillow. Optional packages go through ``_extras.require``.

Further tests: files do not import in circles, only ``_compat`` patches foreign modules, only
``functions`` registers the Chainer config entry, and examples use public names only.
"""

from __future__ import annotations

import ast
import re
from importlib import metadata
from pathlib import Path

import pytest

import chainer_ssd

ROOT = Path(__file__).resolve().parents[1]

FLOORS = [
    {'_array', '_compat', '_extras', '_files', '_options'},
    {'_validation', 'distributed'},
    {'images', 'runtime'},
    {'datasets', 'ops'},
    {'evaluation', 'functions', 'transforms', 'visualizations'},
    {'extensions', 'links'},
    {'export', 'inspection'},
    {'cli'},
    {'__init__', '__main__'},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
SHARED_PRIVATE_MODULES = {'_array', '_compat', '_extras', '_files', '_options', '_validation'}
WITHIN_FLOOR_0 = {('_files', '_options'), ('_files', '_array'), ('_options', '_array')}
IMAGE_LIBRARIES = {'PIL', 'cv2'}
OPTIONAL = {'PIL', 'cv2', 'defusedxml', 'matplotlib', 'pycocotools', 'tqdm', 'yaml'}
DEFERRED = {'chainermn', 'cupy', 'mpi4py'}
HOOKS = {'threading.excepthook'}  # Python's documented hook for the exceptions of threads
NOT_IN_OPS = {'chainer', 'chainermn', 'cupy', 'mpi4py', 'random', 'io', 'os', 'pathlib'}
USES_RUNTIME = {'__init__', 'cli', 'runtime'}


def find_imports(source):
    """Yield (module, at_module_level) of every import, ``from a import b`` as ``a.b``."""
    tree = ast.parse(source)
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f'{"." * node.level}{node.module or ""}.{a.name}' for a in node.names]
        else:
            continue
        for name in names:
            yield name, id(node) in top


def required_modules(source):
    """Yield the modules that the file passes to ``_extras.require``."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == 'require'
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield node.args[0].value


def find_breaches(path, source):
    """Return what is wrong with the imports of one file. ``path`` counts from the package."""
    room = path.parts[0].replace('.py', '')
    found = []
    for name, top in find_imports(source):
        first = name.split('.')[0]
        if name.startswith('.'):
            if room != '_compat':
                found.append(f'{path}: relative import {name}')
        elif first == 'chainer_ssd':
            found += _breaches_within_package(path, room, name)
        elif room == 'ops' and first in NOT_IN_OPS:
            found.append(f'{path}: ops is pure, but imports {name}')
        elif room == 'distributed' and first in ('mpi4py', 'chainermn') and top:
            found.append(f'{path}: imports {name}: a communicator is handed in')
        elif first in OPTIONAL or (first in DEFERRED and top):
            found.append(f'{path}: imports {name}: optional modules go through _extras.require')
    for name in required_modules(source):
        if name.split('.')[0] in IMAGE_LIBRARIES and room != 'images':
            found.append(f'{path}: requires {name}: only images does')
    if room == 'ops':
        found += [
            f'{path}: draws random numbers'
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Attribute) and node.attr == 'random'
        ]
    return found


def _breaches_within_package(path, room, name):
    parts = name.split('.')[1:]
    other = parts[0] if parts else ''
    if room == '_compat':
        return [f'{path}: imports {name}: _compat imports nothing of the package']
    private = [part for part in parts if part.startswith('_') and not part.endswith('__')]
    if other != room and set(private) - SHARED_PRIVATE_MODULES:
        return [f'{path}: {name} is private to its room']
    if room == '__init__':
        return []
    if other not in FLOOR:
        return [f'{path}: imports {name}, which is no room']
    if other == 'runtime' and room not in USES_RUNTIME:
        return [f'{path}: imports {name}: rooms that know boxes do not import runtime']
    if room == 'runtime' and other not in ({'runtime', 'distributed'} | FLOORS[0]):
        return [f'{path}: imports {name}: runtime imports distributed and floor 0 only']
    if other == room or (room, other) in WITHIN_FLOOR_0:
        return []
    if FLOOR[other] >= FLOOR[room]:
        return [f'{path}: imports {name}, which is not below it']
    return []


def find_patches(source):
    """Yield assignments to an attribute of an imported name."""
    tree = ast.parse(source)
    names = {
        alias.asname or alias.name.split('.')[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    for node in ast.walk(tree):
        targets = (
            getattr(node, 'targets', [getattr(node, 'target', None)])
            if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign))
            else []
        )
        for target in targets:
            base = target
            while isinstance(base, ast.Attribute):
                base = base.value
            if base is not target and isinstance(base, ast.Name) and base.id in names:
                yield ast.unparse(target)


def find_circle(graph):
    """Return a circle among the files, or an empty list."""

    def visit(node, seen):
        if node in seen:
            return seen[seen.index(node) :] + [node]
        for other in sorted(graph.get(node, ())):
            circle = visit(other, seen + [node])
            if circle:
                return circle
        return []

    return next((circle for circle in map(lambda n: visit(n, []), sorted(graph)) if circle), [])


def read_files():
    package = ROOT / 'chainer_ssd'
    return [
        (path.relative_to(package), path.read_text(encoding='utf-8'))
        for path in sorted(package.rglob('*.py'))
    ]


def import_graph(sources):
    """Return which file of the package imports which."""
    modules = {str(path.with_suffix('')).replace('/', '.') for path, _ in sources}
    graph = {}
    for path, source in sources:
        name = str(path.with_suffix('')).replace('/', '.')
        if name.endswith('__init__'):
            continue
        graph[name] = set()
        for imported, _ in find_imports(source):
            parts = imported.split('.')[1:] if imported.startswith('chainer_ssd.') else []
            graph[name] |= {'.'.join(parts[:n]) for n in range(1, len(parts) + 1)} & modules
        graph[name].discard(name)
    return graph


FILES = read_files()
each_file = pytest.mark.parametrize(('path', 'source'), FILES, ids=[str(path) for path, _ in FILES])


@each_file
def test_imports_keep_the_rules(path, source):
    assert find_breaches(path, source) == []


#: Options that ``functions`` registers with Chainer.
CONFIG_ENTRIES = {
    'chainer.global_config.use_blocked_convolution',
    'chainer.global_config.use_fused_multibox',
}


@each_file
def test_only_compat_patches_foreign_modules(path, source):
    patches = set(find_patches(source))
    if path.parts[0] == 'functions':
        patches -= CONFIG_ENTRIES
    if path.parts[0] != '_compat':
        assert patches <= HOOKS


def test_no_file_imports_in_circles():
    assert find_circle(import_graph(FILES)) == []


def test_every_room_stands_on_a_floor():
    rooms = {path.parts[0].replace('.py', '') for path, _ in FILES}
    assert rooms <= FLOOR.keys()


def test_examples_use_public_names_only():
    examples = sorted((ROOT / 'examples').glob('*.py'))
    assert examples
    for path in examples:
        for name, _ in find_imports(path.read_text(encoding='utf-8')):
            parts = name.split('.')
            assert not name.startswith('.') and parts[0] not in {p.stem for p in examples}
            if parts[0] == 'chainer_ssd':
                assert not any(part.startswith('_') for part in parts), f'{path.name}: {name}'
                room = chainer_ssd if len(parts) < 3 else getattr(chainer_ssd, parts[1])
                assert len(parts) == 1 or parts[-1] in room.__all__, f'{path.name}: {name}'


def test_the_public_names_are_there():
    assert len(set(chainer_ssd.__all__)) == len(chainer_ssd.__all__)
    for name in chainer_ssd.__all__:
        assert getattr(chainer_ssd, name).__doc__, f'{name} has no docstring'


def test_the_version_is_that_of_the_installation():
    assert chainer_ssd.__version__ == metadata.version('chainer_ssd')


def test_the_rules_are_documented():
    """The architecture page names every room."""
    page = (ROOT / 'docs' / 'explanation' / 'architecture.md').read_text(encoding='utf-8')
    rooms = {path.parts[0].replace('.py', '') for path, _ in FILES} - {'__init__', '__main__'}
    assert [room for room in sorted(rooms) if not re.search(rf'`{room}', page)] == []


@pytest.mark.parametrize(
    ('path', 'source'),
    [
        ('ops/boxes.py', 'import chainer'),
        ('ops/nms.py', 'import numpy as np\nnp.random.rand()'),
        ('ops/mining.py', 'import chainermn'),
        ('ops/mining.py', 'from chainer_ssd.functions import multibox_loss'),
        ('ops/mining.py', 'from chainer_ssd.datasets import VOCBboxDataset'),
        ('functions/a.py', 'from chainer_ssd.transforms import MatchTransform'),
        ('functions/a.py', 'def f():\n    from chainer_ssd.links import SSDMini'),
        ('functions/a.py', 'from chainer_ssd import match'),
        ('functions/a.py', 'from .multibox_loss import select'),
        ('functions/a.py', 'from chainer_ssd.runtime import Snapshot'),
        ('links/a.py', 'from chainer_ssd.functions._fused import node'),
        ('links/a.py', 'from chainer_ssd.functions.multibox_objective import _select'),
        ('links/a.py', 'from chainer_ssd.runtime.snapshot import Snapshot'),
        ('extensions/a.py', 'from chainer_ssd.links import SSDMini'),
        ('runtime/a.py', 'from chainer_ssd.images import read_image'),
        ('runtime/a.py', 'from chainer_ssd._validation import check_bbox'),
        ('cli/a.py', 'from chainer_ssd.transforms._plan import x'),
        ('__init__.py', 'from chainer_ssd.functions._fused import node'),
        ('distributed/a.py', 'import mpi4py.MPI'),
        ('distributed/a.py', 'from chainer_ssd.ops import match'),
        ('_compat/__init__.py', 'import chainer_ssd._array'),
        ('_files.py', 'from chainer_ssd._validation import check_bbox'),
        ('datasets/a.py', 'import cv2'),
        ('images/a.py', 'import cv2'),
        ('visualizations/a.py', "def f():\n    cv2 = require('cv2', 'data')"),
    ],
)
def test_each_rule_can_fail(path, source):
    assert find_breaches(Path(path), source)


@pytest.mark.parametrize(
    ('path', 'source'),
    [
        ('links/a.py', 'from chainer_ssd.functions import multibox_loss'),
        ('functions/a.py', 'from chainer_ssd.functions._fused import node'),
        ('functions/a.py', 'from chainer_ssd._validation import check_bbox'),
        ('cli/a.py', 'from chainer_ssd.runtime import Snapshot'),
        ('_compat/__init__.py', 'from .patches import PATCHES'),
        ('images/a.py', "def f():\n    cv2 = require('cv2', 'data')"),
    ],
)
def test_what_is_allowed_passes(path, source):
    assert find_breaches(Path(path), source) == []


def test_the_other_tests_can_fail():
    assert list(find_patches('import chainer\nchainer.config.x = 1'))
    assert find_circle({'a': {'b'}, 'b': {'a'}})
    sources = [
        (Path('links/a.py'), 'from chainer_ssd.links.b import x'),
        (Path('links/b.py'), 'from chainer_ssd.links.a import y'),
    ]
    assert find_circle(import_graph(sources))


def find_mpi_imports(path):
    """Return the modules of the tests that a file imports, and whether one of them starts MPI."""
    tree = ast.parse(path.read_text())
    is_test = path.name.startswith('test_')
    modules = {
        name
        for node in (ast.walk(tree) if is_test else tree.body)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or '']
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    starts_mpi = any(name.split('.')[0] in ('chainermn', 'mpi4py') for name in modules)
    return {name for name in modules if name.startswith('tests.')}, starts_mpi


def starts_mpi(path, root):
    modules, found = find_mpi_imports(path)
    files = [root.joinpath(*name.split('.')[1:]).with_suffix('.py') for name in modules]
    return found or any(find_mpi_imports(file)[1] for file in files if file.is_file())


def test_mpi_does_not_start_in_the_process_of_the_tests():
    """A process of MPI that starts others and ends jobs may be ended itself, without a word."""
    root = Path(__file__).parent
    files = [*root.rglob('test_*.py'), *root.rglob('conftest.py')]
    assert [str(path) for path in files if starts_mpi(path, root)] == []


def test_the_search_for_mpi_can_fail(tmp_path):
    (tmp_path / 'job.py').write_text('import chainermn')
    direct, indirect = tmp_path / 'test_a.py', tmp_path / 'test_b.py'
    direct.write_text('def test():\n    from mpi4py import MPI')
    indirect.write_text('from tests.job import main')
    assert starts_mpi(direct, tmp_path) and starts_mpi(indirect, tmp_path)
    direct.write_text('import chainer')
    assert not starts_mpi(direct, tmp_path)
