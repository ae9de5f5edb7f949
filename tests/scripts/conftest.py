"""The scripts as modules, and data for them."""

import importlib.util
from pathlib import Path

import pytest

from tests.cli.drawn_voc import write_drawn_voc

SCRIPTS = Path(__file__).resolve().parents[2] / 'scripts'


@pytest.fixture(scope='session')
def voc_root(tmp_path_factory):
    """A small data set in Pascal VOC's layout."""
    return write_drawn_voc(tmp_path_factory.mktemp('voc'))


@pytest.fixture(scope='session')
def load_script():
    """``load_script(name)``: the module of a script."""

    def load(name):
        spec = importlib.util.spec_from_file_location(name, SCRIPTS / f'{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
