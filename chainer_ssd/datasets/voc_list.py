"""Reading of Pascal VOC's lists of images, with messages that name what exists instead."""

from __future__ import annotations

import codecs
import glob
import os
import re
import unicodedata
from collections.abc import Container, Sequence
from typing import NamedTuple

from chainer_ssd._files import read_bytes
from chainer_ssd.datasets._image_lookup import ImageFolder
from chainer_ssd.datasets._inner_path import check_inner_path
from chainer_ssd.datasets._messages import join_first, quote, shorten
from chainer_ssd.images import IMAGE_SUFFIXES

_LIST_FOLDER = os.path.join('ImageSets', 'Main')
_MAX_BYTES = 64 * 2**20
_MAX_NAMES_IN_MESSAGE = 10
_LINE_END = re.compile('\r\n|\r|\n')
_SUFFIX = re.compile(
    f'({"|".join(map(re.escape, (*IMAGE_SUFFIXES, ".xml", ".txt")))})$', re.IGNORECASE
)
_COLUMN = re.compile(r'(.*?)\s+([+-]?1|0)')


class VOCList(NamedTuple):
    """The images of one split.

    Attributes
    ----------
    file : str
        The list.
    names : tuple of str
        Names of the images, in the order of the list. Each name stands once.
    repeated : tuple of str
        Names that the list holds more than once.
    """

    file: str
    names: tuple[str, ...]
    repeated: tuple[str, ...]


def read_voc_list(root: str | os.PathLike[str], split: str) -> VOCList:
    """Return the names of the images that ``ImageSets/Main/<split>.txt`` lists.

    Parameters
    ----------
    root : str or path
        Folder in Pascal VOC's layout.
    split : str
        Name of the list. The file is UTF-8, or UTF-16 with its mark. It has one image name per
        line. A folder and a suffix, as in ``JPEGImages/a.jpg``, are taken off if only the name
        without them has an annotation. VOC's lists of one class have a second column: 1 if the
        image shows the class, 0 if only difficult objects of it, -1 if none. All their images
        count. At most 64 MiB.

    Returns
    -------
    VOCList
        File, names, and the names that the list repeats.

    Raises
    ------
    FileNotFoundError
        If the list does not exist. The message names the lists or the data sets that do.
    TypeError
        If ``split`` is not a str.
    ValueError
        If the list is empty, is not text, or is not a regular file. If ``split`` or a name leads
        out of its folder. The message names the list and the line.
    """
    root = os.fspath(root)
    if not isinstance(split, str):
        raise TypeError(f'split = {quote(split)}: expected the name of a list, a str')
    check_inner_path(split, f'split = {quote(split)}', os.path.join(root, _LIST_FOLDER))
    path = os.path.join(root, _LIST_FOLDER, f'{split}.txt')
    try:
        lines = read_list_lines(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(
            f'{shorten(path, 300)}: no such list: {_describe_root(root)}'
        ) from error
    names: dict[str, int] = {}
    repeated: dict[str, None] = {}
    has_column = _has_column(root, [line for line in lines if line])
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        name = line.rsplit(None, 1)[0] if has_column else line
        check_inner_path(name, f'{shorten(path, 300)}, line {number}: {quote(name)}', root)
        name = os.path.normpath(_find_annotated_name(root, name))
        if name in names:
            repeated[name] = None
        names.setdefault(name, number)
    if not names:
        raise ValueError(f'{shorten(path, 300)}: lists no image')
    return VOCList(path, tuple(names), tuple(repeated))


def voc_annotation_file(root: str | os.PathLike[str], name: str) -> str:
    """Return the path of the annotation of an image, which need not exist.

    Parameters
    ----------
    root : str or path
        Folder in Pascal VOC's layout.
    name : str
        Name of the image, as the list has it.

    Returns
    -------
    str
        ``<root>/Annotations/<name>.xml``.
    """
    return os.path.join(os.fspath(root), 'Annotations', f'{name}.xml')


def describe_wrong_name(root: str, name: str) -> str:
    """Return what the line of a list should be, if it is not the name of an annotation."""
    for form in ('NFC', 'NFD'):
        if os.path.exists(voc_annotation_file(root, unicodedata.normalize(form, name))):
            return f'The file of this name has Unicode form {form}. Expected the same form here'
    column = _COLUMN.fullmatch(name)
    if column:
        return (
            "It looks like a line of VOC's lists of one class, but not all lines have a second "
            f'column. Expected the name alone, {quote(column[1])}'
        )
    if name.startswith('#'):
        return 'Comments are not allowed'
    last = os.path.basename(re.split(r'\s', name)[0])
    if _SUFFIX.search(name) or os.sep in name:
        return f'Expected the name without folder and suffix, {quote(_SUFFIX.sub("", last))}'
    return 'An image without objects has an annotation without <object>'


def read_list_lines(path: str) -> list[str]:
    """Return the lines of a list, without white space at both ends. Some may be empty."""
    return [line.strip() for line in _LINE_END.split(_decode(read_bytes(path, _MAX_BYTES), path))]


def strip_list_line(line: str, names: Container[str]) -> str | None:
    """Return the name in a line with folder, suffix or second column, None if it has none."""
    column = _COLUMN.fullmatch(line)
    for each in (line, column[1] if column else line):
        short = _SUFFIX.sub('', each)
        for name in (each, short, short.replace('\\', '/').rsplit('/', 1)[-1]):
            if name in names:
                return name
    return None


def _has_column(root: str, lines: Sequence[str]) -> bool:
    """Return whether a list has a second column of -1, 0 and 1."""
    if not lines or not all(_COLUMN.fullmatch(line) for line in lines):
        return False
    return not os.path.lexists(voc_annotation_file(root, lines[0]))  # a name with a space


def _find_annotated_name(root: str, name: str) -> str:
    """Return a name without folder and suffix, if only that has an annotation."""
    short = _SUFFIX.sub('', name)
    for each in (name, short, short.replace('\\', '/').rsplit('/', 1)[-1]):
        if os.path.lexists(voc_annotation_file(root, each)):
            return each
    return name


def _decode(content: bytes, path: str) -> str:
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = 'utf-16' if is_utf16 else 'utf-8-sig'
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b'\n', 0, error.start) + 1
        raise ValueError(
            f'{shorten(path, 300)}, line {line}: byte {content[error.start]:#04x} is not '
            f'{"UTF-16" if is_utf16 else "UTF-8"}. Save the list as UTF-8'
        ) from None


def _describe_root(root: str) -> str:
    """Return which lists a folder holds, or which folders near it are in VOC's layout."""
    if not os.path.isdir(root):
        return f'{shorten(root, 300)} is not a folder'
    files = glob.glob(os.path.join(glob.escape(root), _LIST_FOLDER, '*.txt'))
    if files:
        splits = [os.path.splitext(os.path.basename(file))[0] for file in files]
        # The shortest names first: VOC also has one list per class and split.
        splits.sort(key=lambda split: (len(split), split))
        return f'there are {_join_first(splits)}'
    patterns = [
        glob.escape(os.path.dirname(os.path.abspath(root))),
        os.path.join(glob.escape(root), '*'),
        os.path.join(glob.escape(root), '*', '*'),
    ]
    roots = [
        folder[: -len(_LIST_FOLDER) - 1]
        for pattern in patterns
        for folder in sorted(glob.glob(os.path.join(pattern, _LIST_FOLDER)))
    ]
    text = (
        f"{shorten(root, 300)} is not in Pascal VOC's layout "
        f'(Annotations, {_LIST_FOLDER}, JPEGImages)'
    )
    return text + (f'. These folders are: {_join_first(roots)}' if roots else '')


def _join_first(names: Sequence[str]) -> str:
    return join_first(names, 'more', _MAX_NAMES_IN_MESSAGE)


def find_voc_image(root: str | os.PathLike[str], name: str) -> str:
    """Return the file of an image in ``<root>/JPEGImages``.

    Parameters
    ----------
    root : str or path
        Folder in Pascal VOC's layout.
    name : str
        Name of the image, as the list has it.

    Returns
    -------
    str
        Path with suffix.

    Raises
    ------
    FileNotFoundError
        If there is no image of this name.
    ValueError
        If there are several, such as a.jpg and a.png, or the name leads out of the folder.
    """
    folder = os.path.join(os.fspath(root), 'JPEGImages')
    check_inner_path(name, f'name = {quote(name)}', folder)
    return ImageFolder(folder).find(name)
