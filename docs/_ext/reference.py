"""Sphinx extension: the reference pages, generated from the docstrings and the argument parsers.

``{reference} ROOM`` documents the listed public names of a room. ``{command}`` documents the
command's options. The build warns, and so fails, where :mod:`docstring_check` finds a fault.
"""

import argparse
import html
import importlib
import itertools
import re
import textwrap

from docstring_check import (
    PACKAGE,
    constant_doc,
    find_docstring_faults,
    find_page_faults,
    find_public_objects,
    first_sentence,
)
from docutils import nodes
from docutils.statemachine import StringList
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.errors import ExtensionError
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)


class _Generated(SphinxDirective):
    """A directive that parses reStructuredText lines, also inside of a Markdown page."""

    def parse(self, lines):
        text = ['```{eval-rst}', *lines, '```']
        container = nodes.Element()
        self.state.nested_parse(StringList(text, self.env.docname), 0, container)
        return container.children


class Reference(_Generated):
    """Documents public names of one room: first an index of them, then each in full."""

    has_content = True
    required_arguments = 1

    def run(self):
        room = self.arguments[0]
        names = [each.strip() for each in self.content if each.strip()]
        pages = self.env.reference_pages
        index, entries = [], []
        for key in names:
            name = f'{room}.{key}'
            pages.setdefault(name, []).append(self.env.docname)
            try:
                item = getattr(importlib.import_module(room), key)
            except (ImportError, AttributeError) as e:
                logger.warning('%s cannot be documented: %s', name, e, location=self.env.docname)
                continue
            doc = constant_doc(name, item) if not callable(item) else None
            role = 'class' if isinstance(item, type) else 'func' if callable(item) else 'data'
            index += [f'   * - :py:{role}:`~{name}`', f'     - {first_sentence(item, doc)}']
            entries += _entry(name, item, doc)
        if not index:
            return []
        head = ['.. list-table::', '   :widths: 35 65', '   :class: reference-index', '']
        return self.parse(head + index) + self.parse(entries)


def _entry(name, item, doc):
    if isinstance(item, type) and issubclass(item, BaseException):
        return [f'.. autoexception:: {name}', '']
    if isinstance(item, type):
        # The section Attributes of the docstring describes fields and properties already.
        attributes = [key for key in dir(item) if _is_attribute(item, key)]
        return [
            f'.. autoclass:: {name}',
            '   :members:',
            '   :special-members: __call__',
            f'   :exclude-members: {", ".join(attributes)}',
            '',
        ]
    if callable(item):
        return [f'.. autofunction:: {name}', '']
    return [f'.. py:data:: {name}', '', *(f'   {line}' for line in doc.split('\n')), '']


def _is_attribute(item, key):
    is_described = re.search(
        rf'^ *{re.escape(key)}\b.* : |^ *{re.escape(key)}$', item.__doc__, re.M
    )
    is_field = key in getattr(item, '_fields', ())
    return bool(is_described) and (is_field or isinstance(getattr(item, key), property))


class Command(_Generated):
    """Documents every sub-command and every option of ``chainer-ssd``."""

    def run(self):
        try:
            parser = importlib.import_module(self.config.reference_package + '.cli').create_parser()
        except (ImportError, AttributeError) as e:
            logger.warning('the command cannot be documented: %s', e, location=self.env.docname)
            return []
        result = []
        for name, each in find_subparsers(parser).items():
            section = nodes.section(ids=[nodes.make_id(f'{parser.prog} {name}')])
            section += nodes.title('', '', nodes.literal('', f'{parser.prog} {name}'))
            section += self.parse(describe_parser(f'{parser.prog} {name}', each))
            self.state.document.note_implicit_target(section, section)
            result.append(section)
        return result


def find_subparsers(parser):
    """Returns the parser of each sub-command.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of the command.

    Returns
    -------
    dict of str to argparse.ArgumentParser
    """
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def describe_parser(name, parser):
    """Returns reStructuredText that describes the arguments of a parser.

    Parameters
    ----------
    name : str
        The command, as one types it.
    parser : argparse.ArgumentParser
        Its parser.

    Returns
    -------
    list of str
        Lines.
    """
    usage = parser.format_usage().partition(' ')[2].strip().split('\n')
    usage = usage[:1] + ['    ' + line.strip() for line in usage[1:]]
    lines = [
        f'.. program:: {name}',
        '',
        *_paragraphs(parser.description or ''),
        '',
        '.. code-block:: text',
        '',
        *(f'   {line}' for line in usage),
        '',
    ]
    formatter = parser._get_formatter()
    for group in parser._action_groups:
        actions = [
            each
            for each in group._group_actions
            if each.help is not argparse.SUPPRESS and not isinstance(each, argparse._HelpAction)
        ]
        if not actions:
            continue
        title = {
            'positional arguments': 'Arguments',
            'options': 'Options',
            'optional arguments': 'Options',
        }.get(group.title, str(group.title).capitalize())
        lines += [f'.. rubric:: {title}', '']
        if group.description:
            lines += [_escape(group.description), '']
        for action in actions:
            help_ = ' '.join(formatter._expand_help(action).split()) if action.help else ''
            if not help_:
                logger.warning('%s: %s has no help text', name, _signature(action))
            lines += [f'.. option:: {_signature(action)}', '', f'   {_escape(help_)}', '']
            if action.choices:
                choices = ', '.join(f'``{each}``' for each in action.choices)
                lines += [f'   One of {choices}.', '']
            default = action.default
            has_default = 'default' in help_ or f'({default}' in help_
            if default not in (None, False, argparse.SUPPRESS) and not has_default:
                lines += [f'   Default: ``{default}``.', '']
    if parser.epilog:
        lines += _paragraphs(parser.epilog)
    return lines


def _signature(action):
    metavar = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    if isinstance(metavar, tuple):
        metavar = ' '.join(metavar)
    if not action.option_strings:
        return metavar + (' ...' if action.nargs in ('*', '+') else '')
    value = '' if action.nargs == 0 else f' {metavar}'
    return ', '.join(option + value for option in action.option_strings)


def _paragraphs(text):
    """Returns reStructuredText in which the indented lines of a help text are literal."""
    lines = []
    for is_literal, group in itertools.groupby(
        (line for line in text.split('\n') if line.strip()), lambda line: line[0].isspace()
    ):
        block = '\n'.join(group)
        if is_literal:
            block = textwrap.indent(textwrap.dedent(block), '   ')
            lines += ['', '.. code-block:: text', '', *block.split('\n'), '']
        else:
            lines += [*_escape(block).split('\n'), '']
    return lines


def _escape(text):
    text = re.sub(r'([*|`\\]|_(?=\W|$))', r'\\\1', text)
    return re.sub(r'(?<![\w-])--[a-z][\w-]*', r'``\g<0>``', text)


def check_reference(app, env):
    """Warns about each fault of the reference, so that the build fails.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        The application.
    env : sphinx.environment.BuildEnvironment
        What was read.
    """
    package = app.config.reference_package
    public = find_public_objects(package)
    pages = {name: where for name, where in env.reference_pages.items() if where}
    faults = find_page_faults(public, pages)
    for name, item in public.items():
        faults += find_docstring_faults(name, item, package)
    for fault in faults:
        logger.warning('reference: %s', fault)


def link_to_public_name(app, env, node, contnode):
    """Resolves a reference to a private path or an alias, such as ``chainer_ssd.match``.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        The application.
    env : sphinx.environment.BuildEnvironment
        What was read.
    node : docutils.nodes.Node
        The reference.
    contnode : docutils.nodes.Node
        Its text.

    Returns
    -------
    docutils.nodes.Node or None
    """
    target = node.get('reftarget', '')
    if node.get('refdomain') != 'py' or not target:
        return None
    public = find_public_objects(app.config.reference_package)
    item, rest = _resolve(target, node.get('py:module'), app.config.reference_package)
    if item is None:
        return None
    for name, each in public.items():
        if each is item:
            found = env.domains['py'].resolve_xref(
                env, node['refdoc'], app.builder, 'obj', name + rest, node, contnode
            )
            if found is not None:
                return found
    return None


def _resolve(target, module, package):
    """Returns the function or class that a dotted name leads to, and the rest of the name."""
    for prefix in ('', f'{module}.' if module else '', f'{package}.'):
        parts = (prefix + target).split('.')
        if parts[0] != package:
            continue
        item = importlib.import_module(package)
        for i, part in enumerate(parts[1:], 1):
            try:
                item = getattr(item, part)
            except AttributeError:
                item = None
                break
            if isinstance(item, type):
                return item, ''.join('.' + each for each in parts[i + 1 :])
        if callable(item):
            return item, ''
    return None, ''


def _to_mathml(node, as_block):
    # docutils has \bigl and \bigr, but not \big, which is the same size for any fence.
    text = re.sub(r'\\([bB]igg?)(?![a-zA-Z])', r'\\\1l', node.astext())
    try:
        return tex2mathml(text, as_block=as_block)
    except MathError as e:
        logger.warning('this formula cannot be shown: %s', e, location=node)
        return f'<code>{html.escape(text)}</code>'


def _visit_math(translator, node):
    translator.body.append(_to_mathml(node, as_block=False))
    raise nodes.SkipNode


def _visit_math_block(translator, node):
    translator.body.append(f'<div class="math">{_to_mathml(node, as_block=True)}</div>')
    raise nodes.SkipNode


def _start(app, env, docnames):
    try:
        find_public_objects(app.config.reference_package)
    except ImportError as e:
        raise ExtensionError(f'the package cannot be imported: {e}') from e
    if not hasattr(env, 'reference_pages'):
        env.reference_pages = {}


def _purge(app, env, docname):
    for where in getattr(env, 'reference_pages', {}).values():
        where[:] = [each for each in where if each != docname]


def _outdated(app, env, added, changed, removed):
    """The reference shows docstrings, so it is built again each time."""
    return [
        name for name in env.found_docs if name.startswith('reference/') and name not in removed
    ]


def setup(app):
    """Registers the extension.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        The application.

    Returns
    -------
    dict
        What Sphinx may do with it.
    """
    app.add_config_value('reference_package', PACKAGE, 'env')
    app.add_directive('reference', Reference)
    app.add_directive('command', Command)
    app.connect('env-get-outdated', _outdated)
    app.connect('env-before-read-docs', _start)
    app.connect('env-purge-doc', _purge)
    app.connect('env-check-consistency', check_reference)
    app.connect('missing-reference', link_to_public_name)
    app.add_html_math_renderer('mathml', (_visit_math, None), (_visit_math_block, None))
    return {'parallel_read_safe': False, 'parallel_write_safe': True}
