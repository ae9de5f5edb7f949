"""Checks for ``make test-gpu`` whether a GPU can be used. If not, it exits with the reason.

``python -m tests.gpu driver`` checks the driver only, before CuPy is installed.
"""

import ctypes
import sys


def check_driver():
    driver = ctypes.CDLL('libcuda.so.1')
    count = ctypes.c_int()
    code = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    assert code == 0 and count.value > 0, f'CUDA error {code}, {count.value} devices'


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
        check_driver()
        if arguments != ['driver']:
            check_cupy()
    except Exception as error:
        return f'make test-gpu: no usable GPU here: {type(error).__name__}: {error}'


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
