"""Reads the imports of the package and of the examples, and fails where they climb."""

import ast
from importlib import metadata
from pathlib import Path

import pytest

import chainer_ssd

ROOT = Path(__file__).resolve().parents[1]

FLOORS = [
    {'_array', '_compat', '_extras', '_kernels'},
    {'distributed', 'ops'},
    {'datasets', 'evaluation', 'functions', 'transforms', 'visualizations'},
    {'links'},
    {'extensions'},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
WITHIN_OPS = {('matching', 'boxes'), ('coding', 'boxes'), ('nms', 'boxes')}
OPTIONAL = {'PIL', 'cv2', 'defusedxml', 'matplotlib', 'pycocotools'}
DEFERRED = {'chainermn', 'cupy', 'mpi4py'}
HOOKS = {'threading.excepthook'}  # Python's documented way to hear of a thread's end
NOT_IN_OPS = {'chainer', 'chainermn', 'cupy', 'mpi4py', 'random', 'io', 'os', 'pathlib'}


def imports(source):
    """(module, at_module_level) of every import, ``from a import b`` as ``a.b``."""
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


def breaches(path, source):
    """What is wrong with the imports of one file; ``path`` counts from the package."""
    room = path.parts[0].replace('.py', '')
    found = []
    for name, top in imports(source):
        first = name.split('.')[0]
        if name.startswith('.'):
            found.append(f'{path}: relative import {name}')
        if first == 'chainer_ssd':
            other = (name.split('.') + [''])[1]
            if room == '__init__':
                continue
            if room == '_compat':
                found.append(f'{path}: imports {name}; it stands alone')
            elif other not in FLOOR:
                found.append(f'{path}: imports {name}, which is no room')
            elif other != room and FLOOR[other] >= FLOOR[room]:
                found.append(f'{path}: climbs to {name}')
            elif other == room == 'ops' and path.stem != '__init__':
                if (path.stem, name.split('.')[2]) not in WITHIN_OPS:
                    found.append(f'{path}: {name} is not for it')
        elif room == 'ops' and first in NOT_IN_OPS:
            found.append(f'{path}: ops is pure, and imports {name}')
        elif room == 'distributed' and first in ('mpi4py', 'chainermn') and top:
            found.append(f'{path}: a communicator is handed in, yet {name} is imported')
        elif first in OPTIONAL or first in DEFERRED and top:
            found.append(f'{path}: imports {name}; optional modules go through _extras.require')
    if room == 'ops':
        found += [
            f'{path}: draws random numbers'
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Attribute) and node.attr == 'random'
        ]
    return found


def assigns_foreign_attributes(source):
    """Assignments to an attribute of an imported name."""
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


def cycles(graph):
    """A circle among the files of one room, if there is one."""

    def visit(node, seen):
        if node in seen:
            return seen[seen.index(node) :] + [node]
        for other in sorted(graph.get(node, ())):
            circle = visit(other, seen + [node])
            if circle:
                return circle
        return []

    return next((circle for circle in map(lambda n: visit(n, []), sorted(graph)) if circle), [])


def files():
    package = ROOT / 'chainer_ssd'
    return [
        (path.relative_to(package), path.read_text(encoding='utf-8'))
        for path in sorted(package.rglob('*.py'))
    ]


def file_graph(sources):
    """Which file of the package imports which."""
    modules = {str(path.with_suffix('')).replace('/', '.') for path, _ in sources}
    graph = {}
    for path, source in sources:
        name = str(path.with_suffix('')).replace('/', '.')
        if name.endswith('__init__'):
            continue
        graph[name] = set()
        for imported, _ in imports(source):
            parts = imported.split('.')[1:] if imported.startswith('chainer_ssd.') else []
            graph[name] |= {'.'.join(parts[:n]) for n in range(1, len(parts) + 1)} & modules
        graph[name].discard(name)
    return graph


@pytest.mark.parametrize(('path', 'source'), files(), ids=[str(path) for path, _ in files()])
def test_imports_go_down(path, source):
    assert breaches(path, source) == []


@pytest.mark.parametrize(('path', 'source'), files(), ids=[str(path) for path, _ in files()])
def test_only_compat_assigns_attributes_of_foreign_modules(path, source):
    if path.stem != '_compat':
        assert set(assigns_foreign_attributes(source)) <= HOOKS


def test_no_file_imports_in_circles():
    assert cycles(file_graph(files())) == []


def test_examples_use_public_names_only():
    for path in sorted((ROOT / 'examples').glob('*.py')):
        for name, _ in imports(path.read_text(encoding='utf-8')):
            parts = name.split('.')
            if parts[0] == 'chainer_ssd':
                assert len(parts) == 1 or parts[1] in chainer_ssd.__all__, f'{path.name}: {name}'


def test_the_public_names_are_there():
    assert sorted(chainer_ssd.__all__) == chainer_ssd.__all__
    for name in chainer_ssd.__all__:
        assert getattr(chainer_ssd, name).__doc__, f'{name} has no docstring'


def test_the_version_is_that_of_the_installation():
    assert chainer_ssd.__version__ == metadata.version('chainer_ssd')


@pytest.mark.parametrize(
    ('path', 'source'),
    [
        ('ops/boxes.py', 'import chainer'),
        ('ops/boxes.py', 'from chainer_ssd.ops.matching import match'),
        ('ops/nms.py', 'import numpy as np\nnp.random.rand()'),
        ('ops/mining.py', 'import chainermn'),
        ('ops/mining.py', 'from chainer_ssd.functions import multibox_loss'),
        ('functions/a.py', 'from chainer_ssd.transforms import MatchTransform'),
        ('functions/a.py', 'def f():\n    from chainer_ssd.links import SSDMini'),
        ('functions/a.py', 'from chainer_ssd import match'),
        ('functions/a.py', 'from .multibox_loss import select'),
        ('distributed/a.py', 'import mpi4py.MPI'),
        ('distributed/a.py', 'from chainer_ssd.ops import match'),
        ('_compat.py', 'import chainer_ssd._array'),
        ('datasets/a.py', 'import cv2'),
    ],
)
def test_the_test_can_fail(path, source):
    assert breaches(Path(path), source)


def test_the_other_tests_can_fail():
    assert list(assigns_foreign_attributes('import chainer\nchainer.config.x = 1'))
    assert cycles({'a': {'b'}, 'b': {'a'}})
    sources = [
        (Path('links/a.py'), 'from chainer_ssd.links.b import x'),
        (Path('links/b.py'), 'from chainer_ssd.links.a import y'),
    ]
    assert cycles(file_graph(sources))
