"""The facts of ``chainer-ssd env``. None of the functions raises, whatever is missing."""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

PACKAGE = 'chainer_ssd'
HOOK = 'chainer_ssd_startup'

#: Module of each distribution that is not named like its module.
MODULES = {
    'opencv-python-headless': 'cv2',
    'pillow': 'PIL.Image',
    'pyyaml': 'yaml',
    'myst-parser': 'myst_parser',
}
#: Other distributions of the same module.
ALTERNATIVES = {
    'opencv-python-headless': (
        'opencv-python',
        'opencv-contrib-python',
        'opencv-contrib-python-headless',
    ),
}
#: Extras whose packages are imported to test that they work.
IMPORTED_EXTRAS = 'data', 'eval', 'plot', 'onnx'
#: Names under which builds of OpenBLAS export the number of threads.
OPENBLAS_FUNCTIONS = tuple(
    f'{prefix}openblas_get_num_threads{suffix}'
    for prefix in ('scipy_', '')
    for suffix in ('64_', '')
)
#: Modules in cupy.cuda that need a library of CUDA, and that Chainer imports.
CUPY_MODULES = 'nvrtc', 'cublas', 'curand', 'cusparse', 'cusolver'
THREAD_VARIABLES = 'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'


def describe_environment() -> list[tuple[str, str]]:
    """Return pairs of a name and a description."""
    rows = [
        (PACKAGE, _describe(_describe_package)),
        ('Python', f'{platform.python_version()}, {sys.executable}'),
        ('platform', _describe(platform.platform)),
        ('processor', _describe(_describe_processor)),
        ('NumPy', _describe(_describe_module, 'numpy')),
        ('BLAS', _describe(_describe_blas)),
        ('Chainer', _describe(_describe_module, 'chainer')),
        ('start-up hook', _describe(_describe_hook)),
        ('patches', _describe(_describe_patches)),
        ('CuPy', _describe(_describe_module, 'cupy')),
        ('GPU', _describe(_describe_gpus)),
        ('mpi4py', _describe(_describe_module, 'mpi4py')),
        ('MPI', _describe(_describe_mpi)),
    ]
    try:
        extras = list(_list_extras())
    except Exception as error:
        return [*rows, ('extras', f'- {_one_line(error)}')]
    for name, distributions in extras:
        rows.append((f'extra {name}', _describe(_describe_extra, name, distributions)))
    return rows


def _describe(describe: Callable[..., str], *args: Any) -> str:
    try:
        return describe(*args)
    except Exception as error:  # a broken installation raises anything
        return f'- {_one_line(error)}'


def _one_line(error: Exception) -> str:
    return f'{type(error).__name__}: {" ".join(str(error).split())}'


def _describe_package() -> str:
    package = importlib.import_module(PACKAGE)
    return f'{package.__version__}, {os.path.dirname(package.__file__ or "")}'


def _describe_module(name: str) -> str:
    module = importlib.import_module(name)
    version = getattr(module, '__version__', 'of unknown version')
    return f'{version}, {os.path.dirname(module.__file__ or "")}'


def _describe_processor() -> str:
    name = platform.processor() or platform.machine()
    if os.path.exists('/proc/cpuinfo'):
        with open('/proc/cpuinfo', encoding='utf-8', errors='replace') as file:
            found = re.search(r'^model name\s*:\s*(.+)$', file.read(), re.MULTILINE)
        name = found[1] if found else name
    if not hasattr(os, 'sched_getaffinity'):
        return f'{name}, {os.cpu_count()} cores'
    return f'{name}, {len(os.sched_getaffinity(0))} of {os.cpu_count()} cores'


def _describe_blas() -> str:
    threads = _count_blas_threads()
    limits = [f'{key}={os.environ[key]}' for key in THREAD_VARIABLES if os.environ.get(key)]
    return ', '.join(
        [
            _name_blas(),
            'an unknown number of threads' if threads is None else f'{threads} threads',
            ' '.join(limits) or 'no limit in the environment',
        ]
    )


def _name_blas() -> str:
    import numpy as np

    try:
        build = np.show_config(mode='dicts')['Build Dependencies']['blas']
        return f'{build["name"]} {build["version"]}'
    except Exception:  # before NumPy 1.26
        return 'of unknown name'


def _count_blas_threads() -> int | None:
    """Return the number of threads of the OpenBLAS that NumPy has loaded."""
    if not os.path.exists('/proc/self/maps'):
        return None
    with open('/proc/self/maps', encoding='utf-8', errors='replace') as file:
        paths = find_openblas_libraries(file.read())
    for path in sorted(paths, key=lambda path: 'numpy' not in path):
        library = ctypes.CDLL(path)
        for name in OPENBLAS_FUNCTIONS:
            function = getattr(library, name, None)
            if function is not None:
                return function()
    return None


def find_openblas_libraries(maps: str) -> set[str]:
    """Return the paths of OpenBLAS in the text of ``/proc/self/maps``."""
    # Five columns, then the path, which may contain spaces.
    columns = (line.split(maxsplit=5) for line in maps.splitlines())
    return {parts[-1] for parts in columns if re.search(r'openblas[^/]*\.so[^/]*$', parts[-1])}


def _describe_hook() -> str:
    if os.environ.get('CHAINER_SSD_COMPAT') == 'off':
        return '- off: CHAINER_SSD_COMPAT=off'
    if HOOK not in sys.modules:
        return (
            '- not active: chainer_ssd.pth was not read (python -S, pip --target, PYTHONPATH). '
            'Import chainer_ssd before chainer'
        )
    if not any(type(finder).__module__ == HOOK for finder in sys.meta_path):
        return f'- not active: {HOOK} is imported, but its finder is not in sys.meta_path'
    return f'active, {sys.modules[HOOK].__file__}'


def _describe_patches() -> str:
    from chainer_ssd import _compat

    return ', '.join(_compat.active_patches()) or 'none'


def _describe_gpus() -> str:
    """Return the GPUs with their driver, or why none can be used."""
    try:
        cupy: Any = importlib.import_module('cupy')
    except ModuleNotFoundError as error:
        if error.name != 'cupy':
            raise
        return f'- none: CuPy is missing: pip install "{PACKAGE}[cuda12x]" (or cuda13x)'
    runtime = cupy.cuda.runtime
    built_for, supported = (
        divmod(version, 1000)
        for version in (runtime.runtimeGetVersion(), runtime.driverGetVersion())
    )
    if supported[0] == 0:
        return '- none can be used: the driver of NVIDIA is missing'
    if supported[0] < built_for[0]:
        hint = f'pip install "{PACKAGE}[cuda12x]"' if supported[0] == 12 else 'update the driver'
        return (
            f'- none can be used: this CuPy needs CUDA {built_for[0]}, the driver supports '
            f'CUDA {supported[0]}: {hint}'
        )
    missing = [name for name in CUPY_MODULES if _find_fault(f'cupy.cuda.{name}')]
    if missing:
        return (
            f'- none can be used: CuPy does not find {", ".join(missing)} of CUDA: '
            f'pip install "{PACKAGE}[cuda{built_for[0]}x]"'
        )
    names = []
    for i in range(runtime.getDeviceCount()):
        properties = runtime.getDeviceProperties(i)
        memory = properties['totalGlobalMem'] / 2**30
        with cupy.cuda.Device(i):
            if int(cupy.arange(4).sum()) != 6:  # compiles and runs a kernel
                raise RuntimeError(f'GPU {i} computes 0 + 1 + 2 + 3 wrongly')
        names.append(f'{i}: {properties["name"].decode()} of {memory:.0f} GiB')
    versions = ', the driver supports '.join(
        f'{major}.{rest // 10}' for major, rest in (built_for, supported)
    )
    return f'{", ".join(names) or "- none"} (CUDA {versions}, {_describe_cudnn()})'


def _describe_cudnn() -> str:
    from chainer.backends import cuda

    return f'cuDNN {cuda.libcudnn.getVersion()}' if cuda.cudnn_enabled else 'without cuDNN'


def _describe_mpi() -> str:
    """Return the version of the MPI library. MPI itself is not started."""
    mpi4py: Any = importlib.import_module('mpi4py')
    if 'mpi4py.MPI' not in sys.modules:
        mpi4py.rc(initialize=False, finalize=False)
    library = importlib.import_module('mpi4py.MPI').Get_library_version()
    return ' '.join(library.replace('\0', '').strip().split('\n')[0].split())


def _list_extras() -> Iterator[tuple[str, list[str]]]:
    """Yield each extra with its distributions, as the installed metadata lists them."""
    extras: dict[str, list[str]] = {}
    for requirement in importlib.metadata.requires(PACKAGE) or ():
        distribution, _, marker = requirement.partition(';')
        extra = re.search(r'extra == ["\']([^"\']+)["\']', marker)
        name = re.match(r'[\w.-]+', distribution)
        if extra and name and _normalize(name[0]) != _normalize(PACKAGE):
            extras.setdefault(extra[1], []).append(name[0])
    yield from extras.items()


def _describe_extra(extra: str, distributions: list[str]) -> str:
    found, missing = [], []
    for name in distributions:
        version = _find_version(name)
        if version is None:
            missing.append(name)
        else:
            broken = _find_fault(_name_module(name)) if extra in IMPORTED_EXTRAS else ''
            found.append(f'{name} {version}{broken}')
    if not missing:
        return ', '.join(found)
    install_hint = f'missing: {", ".join(missing)} (pip install "{PACKAGE}[{extra}]")'
    return '- ' + '; '.join([*found, install_hint])


def _find_version(distribution: str) -> str | None:
    normalized = _normalize(distribution)
    for name in (distribution, *ALTERNATIVES.get(normalized, ())):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        return version if name == distribution else f'{version} (as {name})'
    return None


def _name_module(distribution: str) -> str:
    normalized = _normalize(distribution)
    return MODULES.get(normalized, normalized.replace('-', '_'))


def _find_fault(module: str) -> str:
    """Return why a module cannot be imported, or an empty text."""
    try:
        importlib.import_module(module)
    except Exception as error:
        return f' (cannot be imported: {_one_line(error)})'
    return ''


def _normalize(distribution: str) -> str:
    return re.sub(r'[-_.]+', '-', distribution).lower()
