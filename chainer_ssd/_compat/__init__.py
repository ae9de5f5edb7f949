"""Makes Chainer 7.8.1 work on NumPy 2, Python 3.12 and later, mpi4py 4, CuPy 13 and 14.

A patch replaces a few words in the source of one Chainer module while Python imports it. Nothing
is added to NumPy. Neither Chainer's files nor their bytecode caches are written, and line numbers
stay. A patch that is not needed does nothing. CuPy 13 also gets the CUDA libraries of wheels.
``CHAINER_SSD_COMPAT=off`` turns all of this off.

The start-up hook ``chainer_ssd_startup`` loads this folder by its path before Chainer is
imported. The folder therefore imports nothing of ``chainer_ssd``.
"""

from .finder import active_patches, install

__all__ = ['active_patches', 'install']
