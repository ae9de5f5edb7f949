"""Optional dependencies, each imported where it is used."""

import importlib


def require(module, extra):
    """Imports ``module``, or names the command that installs it.

    Parameters
    ----------
    module : str
        Dotted name of the module.
    extra : str
        The extra of ``chainer_ssd`` that brings it.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    ImportError
        If the module cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f'{module} is needed here and cannot be imported ({error}): '
            f'pip install "chainer_ssd[{extra}]"'
        ) from error
