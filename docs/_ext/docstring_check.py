"""Finds public names, and what their docstrings leave out. Needs no Sphinx.

A public function or class has a docstring. Its Parameters section names every parameter of the
signature. A function that returns a value has a Returns section, and a generator a Yields section.
The same holds for public methods, unless they override a method of a base class.
"""

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap

PACKAGE = 'chainer_ssd'
#: Public methods without a leading letter. They are checked like other methods.
SPECIAL_METHODS = ('__call__',)
MISSING = object()


def find_rooms(package=PACKAGE):
    """Returns the names of the rooms: public sub-packages with an ``__all__``.

    Parameters
    ----------
    package : str
        Name of the package.

    Returns
    -------
    list of str
        Dotted names.
    """
    found = pkgutil.iter_modules(importlib.import_module(package).__path__, package + '.')
    names = [
        each.name
        for each in found
        if each.ispkg and not each.name.rpartition('.')[2].startswith('_')
    ]
    return [name for name in names if hasattr(importlib.import_module(name), '__all__')]


def find_public_objects(package=PACKAGE):
    """Returns every public name of every room, with its object.

    Parameters
    ----------
    package : str
        Name of the package.

    Returns
    -------
    dict of str to object
        Dotted names, such as ``'chainer_ssd.ops.match'``. The object is ``MISSING`` if the room
        does not define the name.
    """
    return {
        f'{room}.{name}': getattr(importlib.import_module(room), name, MISSING)
        for room in find_rooms(package)
        for name in importlib.import_module(room).__all__
    }


def find_page_faults(public, pages):
    """Returns what is wrong with the pages of public names.

    Parameters
    ----------
    public : iterable of str
        Dotted names that need a page.
    pages : dict of str to list of str
        The pages of each documented name.

    Returns
    -------
    list of str
        One message for each name without a page, on two pages, or not public.
    """
    public = set(public)
    faults = []
    for name in sorted(public | set(pages)):
        where = pages.get(name, [])
        if name not in public:
            faults.append(
                f'{name} is on the page {where[0]}, but it is not in the __all__ of a '
                'room. Remove it from the page, or add it to __all__.'
            )
        elif not where:
            faults.append(
                f'{name} is public and has no page. Add it to a page below docs/reference/.'
            )
        elif len(where) > 1:
            faults.append(f'{name} is on {len(where)} pages ({", ".join(where)}). Keep one.')
    return faults


def find_docstring_faults(name, item, package=PACKAGE):
    """Returns what the docstring of a public object leaves out.

    Parameters
    ----------
    name : str
        Dotted name, for the messages.
    item : object
        A function, a class or a constant.
    package : str
        A constructor from outside this package is not checked.

    Returns
    -------
    list of str
        One message for each fault.
    """
    if item is MISSING:
        return [f'{name} is in the __all__ of its room, and the room does not define it.']
    if inspect.isclass(item):
        return _class_faults(name, item, package)
    if callable(item):
        return _function_faults(name, item)
    return (
        []
        if constant_doc(name, item)
        else [
            f'{name} has no description. Put a comment that starts with "#:" above its assignment.'
        ]
    )


def _class_faults(name, cls, package):
    doc = cls.__dict__.get('__doc__')
    if not doc:
        return [f'{name} has no docstring.']
    faults = []
    constructor = inspect.getattr_static(cls, '__init__')
    if inspect.isfunction(constructor) and _is_ours(constructor, package):
        described = described_parameters(doc) | described_parameters(constructor.__doc__ or '')
        faults += _parameter_faults(name, constructor, described, has_self=True)
    for key, method in vars(cls).items():
        if key.startswith('_') and key not in SPECIAL_METHODS:
            continue
        if isinstance(method, property):
            if not method.__doc__:
                faults.append(f'{name}.{key} has no docstring.')
            continue
        has_self = not isinstance(method, staticmethod)
        function = getattr(method, '__func__', method)
        if not inspect.isfunction(function) or _overrides(cls, key):
            continue
        if key in SPECIAL_METHODS and not function.__doc__:
            # The docstring of the class then describes what a call takes and returns.
            described = described_parameters(doc)
            faults += _parameter_faults(f'{name}.{key}', function, described, has_self)
            faults += _result_faults(f'{name}.{key}', function, doc)
        else:
            faults += _function_faults(f'{name}.{key}', function, has_self)
    return faults


def _function_faults(name, function, has_self=False):
    doc = function.__doc__
    if not doc:
        return [f'{name} has no docstring.']
    return _parameter_faults(name, function, described_parameters(doc), has_self) + _result_faults(
        name, function, doc
    )


def _parameter_faults(name, function, described, has_self):
    parameters = list(inspect.signature(function).parameters)[1 if has_self else 0 :]
    missing = [each for each in parameters if each not in described]
    return (
        [f'{name}: the Parameters section does not describe {", ".join(missing)}.']
        if missing
        else []
    )


def _result_faults(name, function, doc):
    kind = result_kind(function)
    if kind and not {'Returns', 'Yields'} & set(split_sections(doc)):
        return [
            f'{name} {kind} a value, and its docstring has no '
            f'{"Returns" if kind == "returns" else "Yields"} section.'
        ]
    return []


def _is_ours(function, package):
    return (function.__module__ or '').split('.')[0] == package.split('.')[0]


def _overrides(cls, key):
    """Whether a base class defines this method, and so documents its parameters."""
    return any(key in vars(base) for base in cls.__mro__[1:] if base is not object)


def split_sections(doc):
    """Returns the sections of a numpydoc docstring.

    Parameters
    ----------
    doc : str
        The docstring.

    Returns
    -------
    dict of str to list of str
        The lines of each section by its title. The text before the first is ``''``.
    """
    lines = inspect.cleandoc(doc).split('\n')
    sections = {'': []}
    title = ''
    for i, line in enumerate(lines):
        following = lines[i + 1] if i + 1 < len(lines) else ''
        if line.strip() and re.fullmatch(r'-{3,}', following.strip()):
            title = line.strip()
            sections[title] = []
        elif not (re.fullmatch(r'-{3,}', line.strip()) and not sections[title]):
            sections[title].append(line)
    return sections


def described_parameters(doc):
    """Returns the names that the Parameters sections describe.

    Parameters
    ----------
    doc : str
        The docstring.

    Returns
    -------
    set of str
        Names without stars. A name without a description below it is left out.
    """
    sections = split_sections(doc)
    described = set()
    for title in ('Parameters', 'Other Parameters'):
        lines = sections.get(title, [])
        for i, line in enumerate(lines):
            if not line.strip() or line[0].isspace():
                continue
            following = lines[i + 1] if i + 1 < len(lines) else ''
            if following.strip() and following[0].isspace():
                names = line.partition(' :')[0].replace('*', '').replace('\\', '')
                described |= {each.strip() for each in names.split(',')}
    return described


def result_kind(function):
    """Returns ``'returns'``, ``'yields'``, or None for a function without a result.

    Parameters
    ----------
    function : function
        A Python function.

    Returns
    -------
    str or None
    """
    function = inspect.unwrap(function)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None
    nodes = list(tree.body[0].body)
    kind = None
    while nodes:
        node = nodes.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            continue
        if isinstance(node, (ast.Yield, ast.YieldFrom)):
            return 'yields'
        if (
            isinstance(node, ast.Return)
            and node.value is not None
            and not (isinstance(node.value, ast.Constant) and node.value.value is None)
        ):
            kind = 'returns'
        nodes += ast.iter_child_nodes(node)
    return kind


def constant_doc(name, item):
    """Returns the comment that describes a constant, wherever in its room it is assigned.

    Parameters
    ----------
    name : str
        Dotted public name.
    item : object
        The constant.

    Returns
    -------
    str
        The text after ``#:``. Empty if there is none.
    """
    room, _, key = name.rpartition('.')
    module = importlib.import_module(room)
    names = [room]
    if hasattr(module, '__path__'):
        names += [each.name for each in pkgutil.walk_packages(module.__path__, room + '.')]
    for each in names:
        source = importlib.import_module(each)
        if getattr(source, key, None) is not item:
            continue
        lines = inspect.getsource(source).split('\n')
        rows = [i for i, line in enumerate(lines) if re.match(rf'{re.escape(key)}\s*[:=]', line)]
        for row in rows:
            first = row
            while first and lines[first - 1].startswith('#:'):
                first -= 1
            if first < row:
                return '\n'.join(line[2:].strip() for line in lines[first:row])
    return ''


def first_sentence(item, doc=None):
    """Returns the first sentence of a docstring, for an index.

    Parameters
    ----------
    item : object
        What the docstring is of.
    doc : str or None
        The docstring. None: that of ``item``.

    Returns
    -------
    str
    """
    doc = doc if doc is not None else inspect.getdoc(item) or ''
    paragraph = ' '.join(doc.strip().partition('\n\n')[0].split())
    return re.match(r'(.*?(?:[.!?](?=\s+[A-Z`]|$)|$))', paragraph).group(1)
