"""Sphinx configuration. `make docs` builds the site, with warnings as errors and no network."""

import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS / '_ext'))

project = 'chainer_ssd'
author = 'the chainer_ssd authors'
project_copyright = author
release = re.search(
    r"^__version__ = '(.+)'$",
    (DOCS.parent / 'chainer_ssd' / '__init__.py').read_text(encoding='utf-8'),
    re.M,
)[1]
version = release

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'reference']
exclude_patterns = ['_ext', '_static', 'build']

myst_enable_extensions = ['colon_fence', 'deflist', 'dollarmath']
myst_heading_anchors = 4

autodoc_member_order = 'bysource'
autodoc_typehints = 'none'  # the Parameters sections give types, with shapes
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_use_rtype = False

toc_object_entries_show_parents = 'hide'

# References to our own names must lead somewhere. Those to other packages need the network.
nitpicky = True
nitpick_ignore_regex = [(r'py:.*', r'(?!chainer_ssd\.).*')]

html_theme = 'furo'
html_title = f'chainer_ssd {release}'
html_static_path = ['_static']
html_css_files = ['site.css']
html_copy_source = False
html_show_sphinx = False
math_renderer = 'mathml'
