"""The examples run, and each stands alone."""

import ast
import json
import re

import pytest

import chainer_ssd
from tests.examples.conftest import EXAMPLES

MAX_LINES = 100
SCRIPTS = sorted(EXAMPLES.glob('*.py'))
NOTEBOOKS = sorted(EXAMPLES.glob('*.ipynb'))
MAX_NOTEBOOK_BYTES = 400_000


def read_cells(notebook):
    """Returns the cells of a notebook."""
    return json.loads(notebook.read_text(encoding='utf-8'))['cells']


def read_source(path):
    """Returns the Python code of a script, or of all code cells of a notebook."""
    if path.suffix == '.py':
        return path.read_text(encoding='utf-8')
    cells = read_cells(path)
    return '\n\n'.join(''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code')


def find_import_faults(source, siblings):
    """Returns the imports of other examples, and of names that are not public."""
    faults = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(node.module, alias.name) for alias in node.names]
        else:
            continue
        for module, name in names:
            is_public = name is None or name in chainer_ssd.__all__
            if module in siblings or getattr(node, 'level', 0):
                faults.append(f'imports the example {module}')
            elif module.split('.')[0] == 'chainer_ssd' and not (
                module == 'chainer_ssd' and is_public
            ):
                faults.append(f'imports {name or module}, which is not public')
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == 'chainer_ssd'
            and node.attr not in chainer_ssd.__all__
        ):
            faults.append(f'uses chainer_ssd.{node.attr}, which is not public')
    return faults


@pytest.mark.parametrize('path', SCRIPTS + NOTEBOOKS, ids=lambda path: path.name)
def test_an_example_uses_public_names_only(path):
    siblings = {other.stem for other in SCRIPTS}
    assert find_import_faults(read_source(path), siblings) == []


@pytest.mark.parametrize(
    'source',
    [
        'import plain_loop',
        'from plain_loop import train',
        'from . import plain_loop',
        'from chainer_ssd.cli import main',
        'from chainer_ssd import links',
        'import chainer_ssd.ops',
        'import chainer_ssd\nchainer_ssd.links.SSDMini',
    ],
)
def test_a_fault_is_found(source):
    assert find_import_faults(source, {'plain_loop'})


@pytest.mark.parametrize('path', SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_short_and_begins_with_its_command(path):
    source = read_source(path)
    assert len(source.splitlines()) <= MAX_LINES
    title, _, rest = ast.get_docstring(ast.parse(source)).partition('\n\n')
    assert title.endswith('.') and f'examples/{path.name}' in rest


def test_train_voc(run_example, voc_root, tmp_path):
    options = ('--iteration', 4, '--insize', 32, '--batchsize', 2, '--out', 'detector')
    printed = run_example('train_voc.py', voc_root, *options)
    assert re.search(r'^4 .* [01]\.?\d* ', printed.replace('\033[J', ''), re.MULTILINE)
    model = chainer_ssd.load_detector(tmp_path / 'detector')
    assert model.label_names == ('blue', 'red') and model.insize == 32


def test_custom_model(run_example, tmp_path):
    printed = run_example('custom_model.py', '--iteration', 2, '--out', 'detector')
    assert re.search(r'circle, square, triangle: mAP [01]\.\d{3}', printed)
    assert json.loads((tmp_path / 'detector/model.json').read_text())['model'] == 'TinySSD'


def test_plain_loop(run_example):
    printed = run_example('plain_loop.py', '--iteration', 3, '--insize', 32, '--batchsize', 2)
    lines = printed.splitlines()
    assert re.fullmatch(r'iteration 3: loc \d+\.\d{3}, conf \d+\.\d{3}, \d+ positives', lines[0])
    assert re.fullmatch(r'mAP [01]\.\d{3}', lines[-1])


@pytest.mark.mpi
def test_train_mpi_and_its_continuation(mpiexec, tmp_path):
    script, out = EXAMPLES / 'train_mpi.py', ('--out', tmp_path)
    options = ('--insize', 32, '--batchsize', 2, '--snapshot-interval', 2, *out)
    printed = mpiexec(2, script, *options, '--iteration', 2)
    assert '2 ranks start after iteration 0' in printed
    printed = mpiexec(2, script, *options, '--iteration', 4)
    assert '2 ranks start after iteration 2' in printed
    assert chainer_ssd.load_detector(tmp_path).label_names == ('circle', 'square', 'triangle')


def run_cells(notebook, iterations):
    """Runs the code cells in order, as Jupyter does. Returns what they would display as JPEG."""
    namespace, pictures = {'__name__': '__main__'}, []
    for cell in read_cells(notebook):
        if cell['cell_type'] != 'code':
            continue
        source = ''.join(cell['source'])
        source = re.sub(r'(?m)^N_ITERATION = \d+$', f'N_ITERATION = {iterations}', source)
        tree = ast.parse(source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, notebook.name, 'exec'), namespace)
        if last is not None:
            shown = eval(compile(ast.Expression(last.value), notebook.name, 'eval'), namespace)
            if hasattr(shown, '_repr_jpeg_'):
                pictures.append(shown._repr_jpeg_())
    assert namespace['N_ITERATION'] == iterations
    return pictures


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path, monkeypatch, capsys):
    pytest.importorskip('matplotlib').use('Agg')
    plt = pytest.importorskip('matplotlib.pyplot')
    shown = []
    monkeypatch.setattr(plt, 'show', lambda: shown.extend(plt.get_fignums()))
    monkeypatch.chdir(tmp_path)
    try:
        pictures = run_cells(path, iterations=2)
    finally:
        plt.close('all')
    assert len(pictures) == 3 and all(each[:2] == b'\xff\xd8' for each in pictures)
    assert len(shown) == 1 and 'mAP' in capsys.readouterr().out
    assert chainer_ssd.load_detector(tmp_path / 'notebook_result').label_names


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_holds_the_outputs_of_one_run(path):
    cells = [cell for cell in read_cells(path) if cell['cell_type'] == 'code']
    counts = [cell['execution_count'] for cell in cells]
    assert counts == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell['outputs']]
    assert not any(output['output_type'] == 'error' for output in outputs)
    pictures = [set(output.get('data', {})) & {'image/png', 'image/jpeg'} for output in outputs]
    assert sum(map(bool, pictures)) == 4
    assert path.stat().st_size < MAX_NOTEBOOK_BYTES
    assert '/home' not in path.read_text(encoding='utf-8')
