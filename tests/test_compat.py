"""Tests of each patch of _compat: it works, changes nothing else, and ends with its reason."""

import importlib
import os
import py_compile
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import chainer
import chainer.functions as F
import numpy as np
import pytest

from chainer_ssd import _compat
from chainer_ssd._compat import finder, patches

SITE = Path(chainer.__file__).parents[1]
ROOT = Path(_compat.__file__).parents[2]


def python(code, hook=False, **env):
    """Run ``code`` in an interpreter, and return its output. Default: without the start-up hook."""
    paths = [str(ROOT), str(SITE), *(sysconfig.get_paths()[key] for key in ('purelib', 'platlib'))]
    code = f'import sys; sys.path[1:1] = {paths!r}\n' + code
    done = subprocess.run(
        [sys.executable, *([] if hook else ['-S']), '-c', code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **env},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- replaced text


@pytest.mark.parametrize(
    'name, count',
    [
        ('chainer._environment_check', 2),
        ('chainer.dataset.convert', 1),
        ('chainer.functions.array.as_strided', 2),
        ('chainer.functions.array.resize_images', 6),
        ('chainer.iterators.multiprocess_iterator', 1),
        ('chainermn.iterators.multi_node_iterator', 1),
        ('chainermn.communicators._memory_utility', 3),
        ('onnx_chainer.context', 1),
        ('onnx_chainer.export', 3),
        ('onnx_chainer.functions.array', 1),
        ('onnx_chainer.functions.math', 1),
    ],
)
def test_each_replaced_text_occurs_as_often_as_listed(name, count):
    source = SITE.joinpath(*name.split('.')).with_suffix('.py').read_text()
    patch = patches.PATCHES.get(name)
    words = patch.words if patch else {}
    assert sum(source.count(old) for old in words) == count
    for old, new in words.items():
        assert source.count(old) >= 1
        assert old.count('\n') == new.count('\n'), 'line numbers must stay'
        source = source.replace(old, new)
    compile(source, name, 'exec')


def test_every_patch_is_listed_above():
    rows = test_each_replaced_text_occurs_as_often_as_listed.pytestmark[0].args[1]
    assert {name for name, count in rows if count} == set(patches.PATCHES)


# --- conditions of the patches


@pytest.mark.parametrize(
    'name, not_due, due',
    [
        ('chainer.dataset.convert', (2, 3), (2, 4)),
        ('chainer.functions.array.as_strided', (1, 26), (2, 0)),
        ('chainer.functions.array.resize_images', (1, 19), (1, 20)),
        ('chainermn.iterators.multi_node_iterator', (1, 24), (1, 25)),
        ('chainermn.communicators._memory_utility', (1, 26), (2, 0)),
    ],
)
def test_patches_for_numpy_apply_to_later_versions_only(monkeypatch, name, not_due, due):
    monkeypatch.setattr(patches, 'NUMPY_VERSION', not_due)
    assert not patches.is_due(name)
    assert finder.ChainerPatcher.find_spec(name) is None
    monkeypatch.setattr(patches, 'NUMPY_VERSION', due)
    assert patches.is_due(name)


def test_the_environment_check_is_patched_only_if_its_imports_fail(monkeypatch):
    monkeypatch.setattr(patches, 'is_importable', lambda *names: True)
    assert not patches.is_due('chainer._environment_check')
    monkeypatch.setattr(patches, 'is_importable', lambda *names: False)
    assert patches.is_due('chainer._environment_check')


def test_is_importable():
    assert patches.is_importable('json', 'json.decoder')
    assert not patches.is_importable('json', 'json.no_such_module')


@pytest.mark.parametrize('version', ['7.8.0', '7.8.1.post1', '8.0.0'])
def test_another_version_of_chainer_is_not_patched(monkeypatch, version):
    monkeypatch.setattr(patches, 'NUMPY_VERSION', (2, 0))
    assert patches.is_due('chainer.functions.array.as_strided')
    monkeypatch.setattr(chainer._version, '__version__', version)
    assert not any(map(patches.is_due, patches.PATCHES))


def test_a_module_without_a_patch_is_not_found():
    assert finder.ChainerPatcher.find_spec('chainer.functions.array.get_item') is None
    assert finder.ChainerPatcher.find_spec('json') is None


def test_install_is_done_once(monkeypatch):
    before = list(sys.meta_path)
    _compat.install()
    assert sys.meta_path == before
    spec = importlib.util.spec_from_file_location('another_copy', _compat.__file__)
    copy = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, 'another_copy', copy)
    spec.loader.exec_module(copy)
    copy.install()
    assert sys.meta_path == before


def test_off_switch():
    out = python(
        'import importlib.util as u\n'
        f's = u.spec_from_file_location("c", {_compat.__file__!r})\n'
        'm = u.module_from_spec(s); sys.modules["c"] = m; s.loader.exec_module(m)\n'
        'before = list(sys.meta_path); m.install(); print(sys.meta_path == before)',
        CHAINER_SSD_COMPAT='off',
    )
    assert out == 'True'


# --- side effects


def test_nothing_is_added_to_numpy():
    out = python(
        'import numpy\n'
        'before = set(vars(numpy))\n'
        'import chainer_ssd, chainer\n'
        'print(sorted(set(vars(numpy)) - before))'
    )
    added = set(eval(out))
    # The import system adds NumPy's own submodules.
    assert all(importlib.util.find_spec(f'numpy.{name}') for name in added), added


def test_chainers_bytecode_cache_is_not_written(tmp_path):
    # PYTHONPYCACHEPREFIX collects the bytecode that an import writes.
    out = python(
        'import chainer_ssd._compat as c, chainer\nprint(c.active_patches())',
        PYTHONPYCACHEPREFIX=str(tmp_path),
        PYTHONDONTWRITEBYTECODE='',
    )
    patched = eval(out)
    written = {path.name.split('.')[0] for path in tmp_path.rglob('chainer/**/*.pyc')}
    assert 'get_item' in written
    assert not written & {name.rpartition('.')[2] for name in patched}
    assert 'chainer.functions.array.resize_images' in patched


def test_modules_imported_before_the_package_are_patched():
    """Test that ``import chainer_ssd`` patches a Chainer that was imported without the hook."""
    out = python("""
import importlib, numpy, warnings
import chainer_ssd, chainer, chainer.functions as F
from chainer_ssd import _compat
from chainer_ssd._compat import finder
name = 'chainer.functions.array.resize_images'
sys.meta_path.remove(finder.ChainerPatcher)
importlib.reload(sys.modules[name])          # without the patch
x = numpy.zeros((1, 1, 2, 2), numpy.float32)
warnings.simplefilter('error')
for _ in range(2):
    try:
        print(F.resize_images(x, (4, 4)).shape)
    except (AttributeError, DeprecationWarning) as error:
        print('float' in str(error))
    _compat.install()
""")
    assert out.splitlines() == ['True', '(1, 1, 4, 4)']


# --- other loaders


def make_chainer(folder, version='7.8.1'):
    """Write a package ``chainer`` with one module that has the text of a patch."""
    package = folder / 'chainer'
    (package / 'functions' / 'array').mkdir(parents=True)
    for init in package, package / 'functions', package / 'functions' / 'array':
        (init / '__init__.py').write_text('')
    (package / '_version.py').write_text(f'__version__ = {version!r}\n')
    (package / 'functions' / 'array' / 'resize_images.py').write_text(
        'import numpy\ndef f():\n    return numpy.zeros(2, dtype=numpy.float)\n'
    )
    return package


IMPORT_IT = (
    'import warnings, importlib, importlib.util as u\n'
    f's = u.spec_from_file_location("c", {_compat.__file__!r}, '
    f'submodule_search_locations=[{str(Path(_compat.__file__).parent)!r}])\n'
    'm = u.module_from_spec(s); sys.modules["c"] = m; s.loader.exec_module(m)\n'
    'm.install()\n'
    'with warnings.catch_warnings(record=True) as found:\n'
    '    warnings.simplefilter("always")\n'
    '    module = importlib.import_module("chainer.functions.array.resize_images")\n'
    'print(m.active_patches())\n'
    'for each in found: print(each.message)\n'
)


def test_a_zip_file_is_patched(tmp_path):
    make_chainer(tmp_path / 'source')
    archive = shutil.make_archive(str(tmp_path / 'chainer'), 'zip', tmp_path / 'source')
    out = python(f'sys.path.insert(0, {archive!r})\n' + IMPORT_IT + 'print(module.f().dtype)\n')
    assert out.splitlines() == ["['chainer.functions.array.resize_images']", 'float64']


def test_a_loader_without_source_gives_one_warning(tmp_path):
    package = make_chainer(tmp_path)
    module = package / 'functions' / 'array' / 'resize_images.py'
    py_compile.compile(str(module), str(module.with_suffix('.pyc')))
    module.unlink()
    out = python(f'sys.path.insert(0, {str(tmp_path)!r})\n' + IMPORT_IT)
    patched, warning = out.splitlines()
    assert patched == '[]'
    assert warning.startswith(
        'chainer_ssd cannot patch chainer.functions.array.resize_images for this environment: '
        'its loader SourcelessFileLoader gives no source'
    )
    assert 'module_collection_mode' in warning


def test_a_changed_source_gives_one_warning(tmp_path):
    package = make_chainer(tmp_path)
    (package / 'functions' / 'array' / 'resize_images.py').write_text('# edited\n')
    _, warning = python(f'sys.path.insert(0, {str(tmp_path)!r})\n' + IMPORT_IT).splitlines()
    assert "its source differs from the release: 'dtype=numpy.float)' is not in it" in warning


def test_active_patches_lists_the_patched_modules():
    out = python('import chainer_ssd, chainer\nprint(chainer_ssd._compat.active_patches())')
    assert set(eval(out)) <= set(patches.PATCHES) and 'resize_images' in out


# --- patched functions


def test_environment_check_runs_without_numpy_distutils_and_pkg_resources():
    out = python(
        'for name in "numpy.distutils", "pkg_resources": sys.modules[name] = None\n'
        'import chainer_ssd, chainer\n'
        'chainer._environment_check.check(); print("imported")'
    )
    assert out == 'imported'


def test_padded_batches():
    padded = chainer.dataset.concat_examples([np.ones((1, 4)), np.ones((3, 4))], padding=-1)
    assert padded.shape == (2, 3, 4)
    np.testing.assert_array_equal(padded[0], [[1] * 4, [-1] * 4, [-1] * 4])


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
def test_as_strided(dtype):
    x = chainer.Variable(np.arange(12, dtype=dtype).reshape(3, 4))
    y = F.as_strided(x, (2, 3), (4, 1), 1)
    np.testing.assert_array_equal(y.array, [[1, 2, 3], [5, 6, 7]])
    y.grad = np.array([[1, 2, 3], [4, 5, 6]], dtype)
    y.backward()
    np.testing.assert_array_equal(x.grad, [[0, 1, 2, 3], [0, 4, 5, 6], [0, 0, 0, 0]])
    assert x.grad.dtype == dtype


def test_as_strided_refuses_integer_gradients():
    grad = sys.modules['chainer.functions.array.as_strided'].AsStridedGrad
    geometry = sys.modules['chainer.functions.array.as_strided'].TensorGeometry(np.zeros((2, 2)))
    with pytest.raises(TypeError, match='Only float'):
        grad(geometry, (2, 2), (2, 1), 0).forward((np.zeros((2, 2), np.int32),))


@pytest.mark.parametrize(
    'kwargs, expected',
    [
        ({'align_corners': True}, [0, 1, 2, 3]),
        ({'align_corners': False}, [0, 0.75, 2.25, 3]),
        ({'mode': 'nearest', 'align_corners': False}, [0, 0, 3, 3]),
    ],
)
def test_resize_images(kwargs, expected):
    x = np.array([0, 3], np.float32).reshape(1, 1, 2, 1)
    y = F.resize_images(x, (4, 1), **kwargs)
    np.testing.assert_allclose(y.array.ravel(), expected, atol=1e-6)
    assert y.dtype == np.float32


def test_unpacking_gradients_of_another_dtype():
    """Test the copies of a float16 all-reduce, with a buffer in main memory instead of a GPU."""
    pytest.importorskip('mpi4py', reason='chainermn needs mpi4py')
    out = python(
        """
import numpy as np
import chainer_ssd, chainer
from chainermn.communicators._memory_utility import pack_params, unpack_params

class Buffer:
    def __init__(self, size): self.bytes = np.zeros(size, np.uint8)
    def from_device(self, array, size, offset, stream):
        self.bytes[offset:offset + size] = np.frombuffer(array.tobytes(), np.uint8)
    def to_device(self, array, size, offset, stream):
        array[...] = self.bytes[offset:offset + size].view(array.dtype).reshape(array.shape)

def parameter(grad):
    p = chainer.Parameter(np.zeros_like(grad))
    p.grad = grad
    return p

grads = [np.array([[1, 2], [3, 4.5]], np.float32), np.array([-7], np.float16)]
sent = [parameter(grad.copy()) for grad in grads]
received = [parameter(np.zeros_like(grad)) for grad in grads]
buffer = Buffer(2 * 5)
pack_params(sent, 'grad', buffer, np.dtype('float16'), False)
unpack_params(received, 'grad', buffer, np.dtype('float16'), False)
print([(p.grad.tolist(), p.grad.dtype.name) for p in received])
""",
        hook=True,
    )  # mpi4py finds mpich by sys.prefix, and -S changes it to that of the base Python
    assert eval(out) == [([[1, 2], [3, 4.5]], 'float32'), ([-7], 'float16')]


def test_a_training_with_workers_runs_with_warnings_as_errors(tmp_path):
    """Python 3.12 also warns of any fork beside a thread, which multiprocessing does itself."""
    script = tmp_path / 'train.py'
    script.write_text("""
import warnings
warnings.simplefilter('error')
warnings.filterwarnings('ignore', '.*multi-threaded.*fork', DeprecationWarning)
import chainer_ssd, chainer
from chainer_ssd import (
    EncodeTransform, MatchTransform, MultiboxTrainChain, RandomTransformDataset, ShapesBboxDataset,
    Snapshot, SSDAugmentation, SSDMini)
if __name__ == '__main__':
    model = SSDMini(3, 64)
    train = data = RandomTransformDataset(ShapesBboxDataset(8, 64), SSDAugmentation(64))
    for transform in MatchTransform, EncodeTransform:
        data = chainer.datasets.TransformDataset(data, transform(model.coder.default_bbox))
    iterator = chainer.iterators.MultiprocessIterator(
        data, 4, n_processes=2, order_sampler=train.next_epoch)
    optimizer = chainer.optimizers.Adam().setup(MultiboxTrainChain(model))
    updater = chainer.training.StandardUpdater(iterator, optimizer)
    trainer = chainer.training.Trainer(updater, (4, 'iteration'), out='out')
    trainer.extend(chainer.training.extensions.LogReport(trigger=(1, 'iteration')))
    trainer.extend(Snapshot('out'), trigger=(2, 'iteration'))
    trainer.run(show_loop_exception_msg=False)
    print('trained', trainer.updater.iteration)
""")
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    assert done.stdout == 'trained 4\n', done.stderr


@pytest.mark.mpi
def test_multi_node_iterator(mpiexec, tmp_path):
    script = tmp_path / 'iterate.py'
    script.write_text("""
import warnings
warnings.simplefilter('error', DeprecationWarning)   # an error in NumPy 2.5
import chainer_ssd, chainer, chainermn
import numpy as np
chainer.disable_experimental_feature_warning = True
comm = chainermn.create_communicator('naive')
assert comm.size == 2
data = [(np.full(2, i, np.float32), np.int32(i)) for i in range(5)]
it = chainermn.iterators.create_multi_node_iterator(
    chainer.iterators.SerialIterator(data, 2, repeat=False, shuffle=False), comm)
seen = [int(label) for batch in it for _, label in batch]
if comm.rank == 1:
    assert it.dataset_size == 5
print(f'rank {comm.rank}: {seen}\\n', end='')
""")
    out = mpiexec(2, script)
    assert sorted(line for line in out.splitlines() if line.startswith('rank')) == [
        'rank 0: [0, 1, 2, 3, 4]',
        'rank 1: [0, 1, 2, 3, 4]',
    ]


# --- onnx_chainer


class SmallNetwork(chainer.Chain):
    """Calls what the patched modules of onnx_chainer convert."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.conv = chainer.links.Convolution2D(3, 8, 3, pad=1)
            self.norm = chainer.links.BatchNormalization(8)
            self.linear = chainer.links.Linear(8 * 16, 5)

    def forward(self, x):
        h = F.relu(self.norm(self.conv(x)))
        h = F.unpooling_2d(F.max_pooling_2d(F.max_pooling_2d(h, 2), 2), 2, cover_all=False)
        return F.softmax(F.cast(self.linear(h) * 2 + 1, np.float32))


@pytest.mark.parametrize('opset', [9, 11])
def test_onnx_chainer_exports_a_network_that_onnxruntime_runs(opset):
    pytest.importorskip('onnx', reason='the onnx extra is not installed')
    onnxruntime = pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    onnx_chainer = importlib.import_module('onnx_chainer')
    x = np.random.default_rng(0).normal(0, 1, (2, 3, 8, 8)).astype(np.float32)
    model = SmallNetwork()
    exported = onnx_chainer.export(model, x, opset_version=opset)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # onnx_chainer lists the weights as inputs, which is allowed
    session = onnxruntime.InferenceSession(exported.SerializeToString(), options)
    with chainer.using_config('train', False):
        expected = model(x).array
    (found,) = session.run(None, {session.get_inputs()[-1].name: x})
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_onnx_chainer_names_onnx_only_where_it_is_missing():
    out = python(
        'sys.modules["onnx"] = None\n'
        'import chainer_ssd, onnx_chainer\n'
        'try:\n    onnx_chainer.export(None, None)\n'
        'except ImportError as error:\n    print(error)'
    )
    assert 'pip install onnx\n' in out + '\n' and '1.7' not in out
