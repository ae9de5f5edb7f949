"""Start-up hook: where chainer_ssd is installed, ``import chainer`` alone works on today's stack.

``chainer_ssd.pth`` imports this file in every interpreter of the environment, worker processes
too, so it imports only what Python has loaded by then. What it does waits for the first
``import chainer``: then ``chainer_ssd/_compat`` is loaded by its path, without its package
(which would import Chainer in turn). ``CHAINER_SSD_COMPAT=off`` turns it off.
"""

import os
import sys


class Hook:
    """Import finder that finds nothing; it only notices that Chainer is about to be imported."""

    def __init__(self):
        self.waiting = True

    def find_spec(self, name, path=None, target=None):
        if name == 'chainer' and self.waiting:
            self.waiting = False
            apply_compat()
        return None


def apply_compat():
    """Loads ``chainer_ssd/_compat`` and installs it; whatever fails, Chainer is imported."""
    from importlib.util import module_from_spec, spec_from_file_location

    path = os.path.join(os.path.dirname(__file__), 'chainer_ssd', '_compat', '__init__.py')
    try:
        spec = spec_from_file_location('chainer_ssd_startup.compat', path)
        compat = module_from_spec(spec)
        spec.loader.exec_module(compat)
        compat.install()
    except FileNotFoundError:  # half uninstalled
        pass
    except Exception as error:
        import warnings

        warnings.warn(f'Chainer is imported as it is: {path} failed: {error!r}', stacklevel=2)


if os.environ.get('CHAINER_SSD_COMPAT') != 'off':
    sys.meta_path.insert(0, Hook())
