"""Start-up hook: where chainer_ssd is installed, ``import chainer`` alone works on today's stack.

``chainer_ssd.pth`` imports this file in every interpreter of the environment, worker processes
included. It therefore imports only modules that Python has already loaded. The work waits for
the first ``import chainer``. Then ``chainer_ssd/_compat`` is loaded by its path, because loading
it as part of its package would import Chainer. ``CHAINER_SSD_COMPAT=off`` turns the hook off.
"""

import os
import sys


class Hook:
    """Import finder that finds nothing, and applies the patches before Chainer is imported."""

    def __init__(self):
        self.is_waiting = True

    def find_spec(self, name, path=None, target=None):
        """Return None. At the first import of Chainer, install the patches."""
        if name == 'chainer' and self.is_waiting:
            self.is_waiting = False
            apply_compat()
        return None


def apply_compat():
    """Load ``chainer_ssd/_compat`` and install it. Chainer is imported even if that fails."""
    from importlib.util import module_from_spec, spec_from_file_location

    folder = os.path.join(os.path.dirname(__file__), 'chainer_ssd', '_compat')
    try:
        spec = spec_from_file_location(
            '_chainer_ssd_compat',
            os.path.join(folder, '__init__.py'),
            submodule_search_locations=[folder],
        )
        compat = module_from_spec(spec)
        sys.modules[spec.name] = compat  # its relative imports look it up
        spec.loader.exec_module(compat)
        compat.install()
    except FileNotFoundError:  # half uninstalled
        pass
    except Exception as error:
        import warnings

        warnings.warn(f'Chainer is imported as it is: {folder} failed: {error!r}', stacklevel=2)


if os.environ.get('CHAINER_SSD_COMPAT') != 'off':
    sys.meta_path.insert(0, Hook())
