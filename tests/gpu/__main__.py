"""``make test-gpu`` asks first: exits with what is missing where no GPU can be used.

``python -m tests.gpu driver`` asks for the driver alone, before CuPy is installed.
"""

import ctypes
import sys


def find_driver():
    driver = ctypes.CDLL('libcuda.so.1')
    count = ctypes.c_int()
    code = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    assert code == 0 and count.value > 0, f'CUDA error {code}, {count.value} devices'


def use_gpu():
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
        find_driver()
        if arguments != ['driver']:
            use_gpu()
    except Exception as error:
        return f'make test-gpu: no usable GPU here: {type(error).__name__}: {error}'


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
