"""Tests of the start-up hook in environments where chainer_ssd is installed, wheel or editable.

There ``import chainer`` alone works, in worker processes too. Nothing else changes.
"""

import os
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import chainer
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [
    'setup.py',
    'pyproject.toml',
    'MANIFEST.in',
    'README.md',
    'CHANGELOG.md',
    'LICENSE',
    'build-constraints.txt',
    'chainer_ssd.pth',
    'chainer_ssd_startup.py',
]
KINDS = ['wheel', 'editable']

# A module of Chainer that uses a name which NumPy 2 removed.
PATCHED_MODULE = 'chainer.functions.array.as_strided'


def run(command, **kwargs):
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=180, **kwargs
    )
    assert done.returncode == 0, f'{command}\n{done.stdout}\n{done.stderr}'
    return done


class Environment:
    """A virtual environment without pip, and its files."""

    def __init__(self, folder):
        run([sys.executable, '-m', 'venv', '--without-pip', folder])
        self.python = folder / ('Scripts' if os.name == 'nt' else 'bin') / 'python'
        self.site = Path(
            self('-c', 'import sysconfig; print(sysconfig.get_path("purelib"))').stdout.strip()
        )

    def __call__(self, *arguments, **env):
        clean = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(('PYTHON', 'CHAINER'))
        }
        return run([self.python, *arguments], env={**clean, **env}, cwd=self.python.parent)

    def pip(self, *arguments):
        run([sys.executable, '-m', 'pip', '--python', self.python, *arguments])

    def add_dependencies(self):
        """Put the folders of Chainer, NumPy and their dependencies on the path.

        Their .pth files do not run.
        """
        folders = {str(Path(module.__file__).parents[1]) for module in (chainer, np)}
        (self.site / 'zz_dependencies.pth').write_text('\n'.join(sorted(folders)))

    def files(self):
        return {
            path.relative_to(self.site)
            for path in self.site.rglob('*')
            if '__pycache__' not in path.parts
        }


def copy_sources(folder):
    folder.mkdir()
    for name in SOURCES:
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder)
    shutil.copytree(
        ROOT / 'chainer_ssd', folder / 'chainer_ssd', ignore=shutil.ignore_patterns('__pycache__')
    )
    return folder


def build(hook, source, out):
    """Call one hook of the build backend in this environment, as pip does."""
    out.mkdir()
    run(
        [
            sys.executable,
            '-c',
            f'import sys; from setuptools import build_meta; build_meta.{hook}(sys.argv[1])',
            out,
        ],
        cwd=source,
    )
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope='session')
def wheels(tmp_path_factory):
    """Return one wheel for each way in which pip can get one."""
    folder = tmp_path_factory.mktemp('wheels')
    source = copy_sources(folder / 'chainer_ssd')
    sdist = build('build_sdist', source, folder / 'sdist')
    run([sys.executable, '-m', 'tarfile', '-e', sdist, folder / 'unpacked'])
    (unpacked,) = (folder / 'unpacked').iterdir()
    return {
        'wheel': build('build_wheel', source, folder / 'wheel'),
        'sdist': build('build_wheel', unpacked, folder / 'from-sdist'),
        'editable': build('build_editable', source, folder / 'editable'),
    }


@pytest.fixture(scope='session', params=KINDS)
def environment(request, wheels, tmp_path_factory):
    env = Environment(tmp_path_factory.mktemp(request.param) / 'env')
    env.pip('install', '--no-index', '--no-deps', wheels[request.param])
    env.add_dependencies()
    env.kind = request.param
    return env


@pytest.fixture
def installed(wheels, tmp_path):
    """Return an environment with the wheel's files, which a test may damage."""
    env = Environment(tmp_path / 'env')
    with zipfile.ZipFile(wheels['wheel']) as wheel:
        wheel.extractall(env.site)
    return env


def fake_chainer(site, version):
    """Write a package ``chainer`` of a version. Its variable ``found`` shows the patched text."""
    for package in ('chainer', 'chainer/functions', 'chainer/functions/array'):
        (site / package).mkdir(parents=True, exist_ok=True)
        (site / package / '__init__.py').write_text('')
    (site / 'chainer/_version.py').write_text(f'__version__ = {version!r}\n')
    (site / 'chainer/functions/array/as_strided.py').write_text(
        'found = """np.sctypes[\'int\']"""\n'
    )


# --- content of the wheels


def test_wheels_hold_the_package_and_the_hook(wheels):
    names = {}
    for kind in wheels:
        with zipfile.ZipFile(wheels[kind]) as wheel:
            names[kind] = set(wheel.namelist())
        assert 'chainer_ssd.pth' in names[kind]
    sources = {
        str(path.relative_to(ROOT))
        for path in (ROOT / 'chainer_ssd').rglob('*')
        if path.suffix in ('.py', '.cu') or path.name == 'py.typed'
    }
    assert {name for name in names['wheel'] if '.dist-info/' not in name} == {
        'chainer_ssd.pth',
        'chainer_ssd_startup.py',
    } | sources
    assert names['sdist'] == names['wheel']


def test_the_command_starts(environment):
    done = run([environment.python.parent / 'chainer-ssd', '--help'], cwd=environment.site)
    assert done.stdout.startswith('usage: chainer-ssd')


@pytest.mark.parametrize('kind', KINDS)
def test_uninstall_removes_everything(wheels, tmp_path, kind):
    env = Environment(tmp_path / 'env')
    before = env.files()
    env.pip('install', '--no-index', '--no-deps', wheels[kind])
    assert Path('chainer_ssd.pth') in env.files() - before
    env('-c', 'import chainer_ssd_startup')
    env.pip('uninstall', '--yes', 'chainer_ssd')
    assert env.files() == before


# --- import of Chainer alone

USE = f"""
import chainer, numpy
import chainer.functions as F
x = chainer.Variable(numpy.arange(4, dtype=numpy.float32).reshape(1, 1, 2, 2))
F.sum(F.as_strided(F.resize_images(x, (4, 4))[0, 0], (4, 4), (4, 1))).backward()
assert x.grad.sum() == 16, x.grad  # the weights of every pixel sum to 1
used = type(sys.modules['{PATCHED_MODULE}'].__loader__).__name__
"""


def test_chainer_alone_works(environment):
    from chainer_ssd._compat import patches

    used = environment('-c', f'import sys{USE}print(used, "chainer_ssd" in sys.modules)')
    loader = 'PatchedLoader' if patches.NUMPY_VERSION >= (2, 0) else 'SourceFileLoader'
    assert used.stdout.split() == [loader, 'False']


@pytest.mark.parametrize('first, second', [('chainer', 'chainer_ssd'), ('chainer_ssd', 'chainer')])
def test_import_order_does_not_matter(environment, first, second):
    out = environment(
        '-c',
        f'import {first}, {second}, sys\n'
        'print([getattr(f, "__name__", "") for f in sys.meta_path]'
        '.count("ChainerPatcher"))',
    ).stdout
    assert out.strip() == '1'


WORKERS = """
import multiprocessing, sys

def work(queue):
    assert 'chainer' not in sys.modules
{use}
    queue.put(used)

if __name__ == '__main__':
    context = multiprocessing.get_context(sys.argv[1])
    queue = context.Queue()
    worker = context.Process(target=work, args=(queue,))
    worker.start()
    worker.join(100)
    assert worker.exitcode == 0, worker.exitcode
    print(queue.get(timeout=10))
    assert 'chainer' not in sys.modules
"""


@pytest.mark.parametrize('method', ['fork', 'forkserver', 'spawn'])
def test_worker_processes(environment, tmp_path, method):
    from chainer_ssd._compat import patches

    script = tmp_path / 'workers.py'
    script.write_text(WORKERS.format(use=textwrap.indent(USE, '    ')))
    used = environment(script, method).stdout.strip()
    assert used == ('PatchedLoader' if patches.NUMPY_VERSION >= (2, 0) else 'SourceFileLoader')


ITERATE = """
import multiprocessing, sys
import chainer

if __name__ == '__main__':
    multiprocessing.set_start_method(sys.argv[1])
    iterator = chainer.iterators.MultiprocessIterator(
        chainer.datasets.TupleDataset(range(6)), 2, repeat=False, shuffle=False, n_processes=2)
    print([number for batch in iterator for number, in batch])
    iterator.finalize()
"""


@pytest.mark.parametrize('environment', ['wheel'], indirect=True)
@pytest.mark.parametrize('method', ['fork', 'forkserver', 'spawn'])
def test_multiprocess_iterator(environment, tmp_path, method):
    """Test that workers can import Chainer. Otherwise the pool would restart them without end."""
    script = tmp_path / 'iterate.py'
    script.write_text(ITERATE)
    assert environment(script, method).stdout.strip() == '[0, 1, 2, 3, 4, 5]'


# --- cost and side effects


@pytest.mark.parametrize('environment', ['wheel'], indirect=True)
def test_start_up_imports_nothing_else(environment, tmp_path):
    without = Environment(tmp_path / 'env')
    without.add_dependencies()
    with_hook, without_hook = (
        set(eval(env('-c', 'import sys; print(sorted(sys.modules))').stdout))
        for env in (environment, without)
    )
    assert with_hook - without_hook == {'chainer_ssd_startup'}


@pytest.mark.parametrize('environment', ['wheel'], indirect=True)
def test_start_up_takes_less_than_a_millisecond(environment):
    environment('-c', 'pass')  # writes the bytecode
    times = []
    for _ in range(10):
        rows = environment('-X', 'importtime', '-c', 'pass').stderr.splitlines()
        (row,) = (row for row in rows if row.rstrip().endswith('chainer_ssd_startup'))
        times.append(int(row.split('|')[1]))
    assert min(times) < 1000, f'microseconds: {times}'


@pytest.mark.parametrize(
    'options',
    [[], ['-I'], ['-E'], ['-s'], ['-S'], ['-O'], ['-OO'], ['-B'], ['-W', 'error'], ['-X', 'utf8']],
    ids=' '.join,
)
def test_interpreters_start_without_output(environment, options):
    done = environment(*options, '-c', 'import sys; print(len(sys.meta_path) > 0)')
    assert (done.stdout.strip(), done.stderr) == ('True', '')


def test_zipapp(environment, tmp_path):
    with zipfile.ZipFile(tmp_path / 'app.pyz', 'w') as archive:
        archive.writestr('__main__.py', 'import chainer; print(chainer.__version__)')
    assert environment(tmp_path / 'app.pyz').stdout.strip() == chainer.__version__


HOOKS = (
    'import sys; print([type(f).__name__ for f in sys.meta_path '
    'if type(f).__module__ == "chainer_ssd_startup"])'
)


def test_off_switch(environment):
    assert environment('-c', HOOKS).stdout.strip() == "['Hook']"
    assert environment('-c', HOOKS, CHAINER_SSD_COMPAT='off').stdout.strip() == '[]'


@pytest.mark.parametrize(
    'version, found',
    [
        ('7.8.1', '(np.int8, np.int16, np.int32, np.int64)'),
        ('7.8.0', "np.sctypes['int']"),
        ('8.0.0', "np.sctypes['int']"),
    ],
)
def test_another_version_of_chainer_is_not_patched(installed, version, found):
    fake_chainer(installed.site, version)
    (installed.site / 'numpy.py').write_text('__version__ = "2.5.0"\n')
    out = installed('-c', f'from {PATCHED_MODULE} import found; print(found)').stdout
    assert out.strip() == found


@pytest.mark.parametrize(
    'missing', ['chainer_ssd_startup.py', 'chainer_ssd/_compat', 'chainer_ssd']
)
def test_an_incomplete_uninstall_has_no_effect(installed, missing):
    fake_chainer(installed.site, '7.8.1')
    path = installed.site / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(installed.site / '__pycache__', ignore_errors=True)
    done = installed('-W', 'error', '-c', f'from {PATCHED_MODULE} import found; print(found)')
    assert (done.stdout.strip(), done.stderr) == ("np.sctypes['int']", '')


def test_a_broken_patch_file_gives_a_message_and_chainer_is_imported(installed):
    fake_chainer(installed.site, '7.8.1')
    (installed.site / 'chainer_ssd/_compat/patches.py').write_text('no Python\n')
    done = installed('-c', f'from {PATCHED_MODULE} import found; print(found)')
    assert done.stdout.strip() == "np.sctypes['int']"
    assert 'Chainer is imported as it is' in done.stderr and '_compat failed' in done.stderr
