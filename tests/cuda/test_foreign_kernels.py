"""The kernels of Chainer and ChainerMN that our models launch, compiled by two CuPys.

``chainer_kernels.json`` lists Chainer's, with the types that our models give them.
``record_kernels.py`` makes it. CuPy writes the source of each kernel and compiles it.

CuPy's own kernels, such as those of ``array + 1``, are CuPy's to test. Nothing is launched.
"""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.cuda.toolchain import TOOLCHAINS, ElementwiseJob, Job

pytestmark = pytest.mark.cuda

LIST = ROOT / 'tests' / 'cuda' / 'chainer_kernels.json'
#: One for each generation of assembly. All kernels are compiled for the last one.
ARCHITECTURES = ('75', '90', '120')
#: Prints the sources of ChainerMN's kernels, after our patches. An import of chainermn starts MPI.
LIST_CHAINERMN = """
import chainer_ssd, json, chainer, chainermn.communicators._memory_utility as utility
found = {}
chainer.cuda.raw = lambda code, name, *args, **options: found.setdefault(name, code)
for name in dir(utility):
    if name.startswith('_cupy_batched'):
        getattr(utility, name)()
print(json.dumps(found))
"""


@pytest.fixture(scope='module', params=TOOLCHAINS, ids=lambda toolchain: toolchain.name)
def toolchain(request):
    if request.param.reason_to_skip:
        pytest.skip(request.param.reason_to_skip)
    return request.param


def read_list():
    return json.loads(LIST.read_text('utf-8'))


def test_the_list_has_the_kernels_of_a_training():
    names = {record['name'] for record in read_list()}
    assert names >= {'bn_fwd', 'bn_bwd', 'im2col', 'col2im', 'max_pool_2d_fwd', 'relu_bwd', 'adam'}
    assert {record['kind'] for record in read_list()} == {'elementwise'}


def test_kernels_of_chainer_compile(toolchain):
    jobs = [ElementwiseJob(json.dumps(each), ARCHITECTURES[-1]) for each in read_list()]
    # The first one with each name, for the other architectures.
    first = {record['name']: record for record in reversed(read_list())}
    jobs += [
        ElementwiseJob(json.dumps(each), architecture)
        for architecture in ARCHITECTURES[:-1]
        for each in first.values()
    ]
    results = toolchain.compile(jobs)
    failed = {
        f'{json.loads(job.definition)["name"]} for sm_{job.architecture}': result.error
        for job, result in zip(jobs, results)
        if result.error
    }
    print(len(jobs), 'compiled')
    assert not failed
    for job, result in zip(jobs, results):
        assert f'.text.{json.loads(job.definition)["name"]}\0'.encode() in result.binary


@pytest.mark.parametrize('part', ['operation', 'in_params'])
def test_a_fault_in_a_kernel_is_found(toolchain, part):
    record = next(record for record in read_list() if record['name'] == 'relu_bwd')
    wrong = {'operation': 'gx = missing ? gy : (T)0', 'in_params': 'T y, T wrong'}
    job = ElementwiseJob(json.dumps({**record, part: wrong[part]}), ARCHITECTURES[-1])
    assert toolchain.compile([job])[0].error


@pytest.fixture(scope='module')
def chainermn_kernels():
    """The source of each kernel of ChainerMN, after the patches of ``_compat``."""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', LIST_CHAINERMN],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_kernels_of_chainermn_compile(toolchain, chainermn_kernels):
    assert set(chainermn_kernels) == {'cupy_batched_pack_params', 'cupy_batched_unpack_params'}
    jobs = [
        Job(source, architecture)
        for architecture in ARCHITECTURES
        for source in chainermn_kernels.values()
    ]
    for job, result in zip(jobs, toolchain.compile(jobs)):
        assert not result.error, f'sm_{job.architecture}: {result.error}'


def test_kernels_of_chainermn_need_the_patch_on_cupy_14(toolchain, chainermn_kernels):
    # Chainer's own text. CuPy 13 brings `half` with its own header, and CuPy 14 does not.
    jobs = [
        Job(source.replace('#include <cuda_fp16.h>', '#include <cupy/carray.cuh>'), '90')
        for source in chainermn_kernels.values()
    ]
    errors = [result.error for result in toolchain.compile(jobs)]
    assert all('"half" is undefined' in error for error in errors) == (toolchain.name == 'cuda13')
    assert any(errors) == (toolchain.name == 'cuda13')
