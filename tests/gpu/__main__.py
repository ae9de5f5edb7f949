"""Checks for ``make test-gpu`` whether a GPU can be used. If not, it exits with the reason.

``python -m tests.gpu extra`` prints the extra with the CuPy that the driver can run. It checks the
driver only, because CuPy is not installed then.
"""

import ctypes
import sys


def choose_extra():
    driver = ctypes.CDLL('libcuda.so.1')
    count, version = ctypes.c_int(), ctypes.c_int()
    code = (
        driver.cuInit(0)
        or driver.cuDeviceGetCount(ctypes.byref(count))
        or driver.cuDriverGetVersion(ctypes.byref(version))
    )
    assert code == 0 and count.value > 0, f'CUDA error {code}, {count.value} devices'
    return name_extra(version.value // 1000)


def name_extra(cuda):
    """Return the extra for a driver that supports version ``cuda`` of CUDA and earlier ones."""
    assert cuda >= 12, f'the driver supports CUDA {cuda}, expected 12 or later'
    return 'cuda12x' if cuda == 12 else 'cuda13x'


def check_cupy():
    import chainer_ssd  # isort: skip (before chainer)  # noqa: F401
    import chainer
    import cupy
    import numpy

    chainer.backends.cuda.check_cuda_available()
    name = cupy.cuda.runtime.getDeviceProperties(0)['name'].decode()
    assert int(cupy.arange(4).sum()) == 6  # compiles and runs a kernel
    print(
        f'{name}, CuPy {cupy.__version__}, NumPy {numpy.__version__}, '
        f'Chainer {chainer.__version__}, cuDNN {chainer.backends.cuda.cudnn_enabled}'
    )


def main(arguments):
    try:
        extra = choose_extra()
        if arguments == ['extra']:
            print(extra)
        else:
            check_cupy()
    except Exception as error:
        return f'make test-gpu: no usable GPU here: {type(error).__name__}: {error}'


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
