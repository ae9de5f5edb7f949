"""ChainerCV 0.13.1 on today's stack, as ``docs/how-to/run-existing-programs.md`` installs it."""

import importlib.util
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from chainer_ssd.ops import bbox_iou, non_maximum_suppression
from tests.helpers import assert_close

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'how-to' / 'run-existing-programs.md'
GOLDEN = ROOT / 'tests' / 'golden'
SCRIPT = ROOT / 'scripts' / 'chainercv_wheel.py'
WORD_BITS = 64


def load_script():
    spec = importlib.util.spec_from_file_location('chainercv_wheel', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


chainercv_wheel = load_script()


def run(*command, cwd=None, **env):
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f'{command}\n{done.stdout}'
    return done.stdout


# The module that replaces the C module


def pack_overlaps(bbox, thresh):
    """Returns the words of ChainerCV's GPU kernel: bit j of box i."""
    n_word = -(-len(bbox) // WORD_BITS)
    bits = np.zeros((len(bbox), n_word * WORD_BITS), dtype=np.uint8)
    bits[:, : len(bbox)] = bbox_iou(bbox, bbox) >= thresh
    bits[np.arange(len(bbox)), np.arange(len(bbox))] = 0
    return np.packbits(bits, axis=1, bitorder='little').view('<u8').ravel(), n_word


@pytest.mark.parametrize('n_bbox', [1, 63, 64, 65, 300])
def test_the_module_keeps_what_our_suppression_keeps(n_bbox):
    random = np.random.RandomState(n_bbox)
    corner = random.uniform(0, 100, (n_bbox, 2))
    bbox = np.concatenate((corner, corner + random.uniform(5, 40, (n_bbox, 2))), axis=1)
    bbox = bbox.astype(np.float32)
    mask, n_word = pack_overlaps(bbox, 0.3)
    selection, n_selected = chainercv_wheel._nms_gpu_post(mask, n_bbox, WORD_BITS, n_word)
    expected = non_maximum_suppression(bbox, 0.3)
    assert n_bbox < 63 or 0 < len(expected) < n_bbox
    assert selection.dtype == np.int32
    np.testing.assert_array_equal(selection[:n_selected], expected)


# The wheel, of a source distribution that needs no network

INIT = """
import numpy as np
from chainercv.utils.bbox._nms_gpu_post import _nms_gpu_post
dtypes = np.zeros(1, dtype=np.bool).dtype, np.zeros(1).astype(np.int).dtype, np.int32
"""
SHOW = """
from importlib.metadata import version
import chainercv
print(*chainercv.dtypes)
print(version('chainercv'))
"""


def write_sdist(folder, files):
    source = folder / 'chainercv-0.13.1'
    for name, text in files.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
    path = folder / 'chainercv-0.13.1.tar.gz'
    with tarfile.open(path, 'w:gz') as archive:
        archive.add(source, source.name)
    return path


def test_the_wheel_replaces_the_c_module_and_numpys_old_names(tmp_path):
    sdist = write_sdist(
        tmp_path,
        {
            'setup.py': 'raise SystemExit(1)',
            'chainercv/__init__.py': INIT,
            'chainercv/utils/__init__.py': '',
            'chainercv/utils/bbox/__init__.py': '',
            'chainercv/utils/bbox/_nms_gpu_post.c': 'int x;',
        },
    )
    wheel = chainercv_wheel.write_wheel(chainercv_wheel.read_package(sdist), tmp_path / 'out')
    site = tmp_path / 'site'
    run(sys.executable, '-m', 'pip', 'install', '--no-index', '--no-deps', '--target', site, wheel)
    assert not list(site.rglob('*.c'))
    out = run(sys.executable, '-c', SHOW, PYTHONPATH=str(site))
    assert out.splitlines() == [f"bool {np.dtype(int)} <class 'numpy.int32'>", '0.13.1+pure']


def test_another_file_is_refused(tmp_path):
    sdist = write_sdist(tmp_path, {'chainercv/__init__.py': INIT})
    with pytest.raises(ValueError, match=r'chainercv-0.13.1.tar.gz: SHA-256 is \w+, expected'):
        chainercv_wheel.check_sdist(sdist)


# ChainerCV itself. The network is needed: pip downloads the source distribution.


@pytest.fixture(scope='module')
def chainercv_site(tmp_path_factory):
    """The folder that ChainerCV is installed in."""
    folder = tmp_path_factory.mktemp('chainercv')
    wheel = run(sys.executable, SCRIPT, '--out', folder).splitlines()[-1]
    site = folder / 'site'
    run(sys.executable, '-m', 'pip', 'install', '--no-deps', '--target', site, wheel)
    return site


WRITE_ANSWERS = """
import sys
from tests.golden import chainercv_ssd

chainercv_ssd.__file__ = sys.argv[1]  # it writes beside itself
chainercv_ssd.main()
"""


@pytest.mark.slow
def test_its_models_answer_what_they_did_on_numpy_1_23(chainercv_site, tmp_path):
    path = os.pathsep.join([str(chainercv_site), str(ROOT)])
    run(sys.executable, '-c', WRITE_ANSWERS, tmp_path / 'here', PYTHONPATH=path)
    for file in ('chainercv_ssd300.npz', 'chainercv_ssd512.npz'):
        with np.load(tmp_path / file) as found, np.load(GOLDEN / file) as expected:
            assert set(found) == set(expected)
            for key in expected:
                if expected[key].dtype.kind == 'f':
                    assert_close(found[key], expected[key], 1e-5)
                else:
                    np.testing.assert_array_equal(found[key], expected[key])


@pytest.mark.slow
def test_the_program_of_the_page_runs(chainercv_site, tmp_path):
    program = re.search(r'```python\n(.*?)```', PAGE.read_text(encoding='utf-8'), re.S)[1]
    script = tmp_path / 'program.py'
    script.write_text(program, encoding='utf-8')
    out = run(
        sys.executable, script, PYTHONPATH=str(chainercv_site), MPLBACKEND='agg', cwd=tmp_path
    )
    assert 'boxes' in out and (tmp_path / 'boxes.png').stat().st_size > 0
