"""Parsing of untrusted XML in bounded time and memory."""

from __future__ import annotations

import codecs
import re
from typing import Any

from chainer_ssd._extras import require
from chainer_ssd._files import read_bytes
from chainer_ssd.datasets._messages import shorten

# An object of VOC has about 25 tags and 300 bytes.
_MAX_BYTES = 4 * 2**20
_MAX_TAGS = 400_000
_MAX_DEPTH = 50

_DECLARATION = re.compile(rb'\s*<\?xml[^>]{0,200}?encoding\s*=\s*["\']([A-Za-z0-9._-]{1,40})["\']')

# Encodings that expat does not read, by the name of Python's codec. GB18030 includes GB2312 and
# GBK. Many tools declare GB2312 and write GBK.
_MULTI_BYTE = {
    'gb2312': 'gb18030',
    'gbk': 'gb18030',
    'gb18030': 'gb18030',
    'big5': 'big5',
    'big5hkscs': 'big5hkscs',
    'cp950': 'cp950',
    'shift_jis': 'cp932',
    'cp932': 'cp932',
    'euc_jp': 'euc_jp',
    'euc_kr': 'cp949',
    'cp949': 'cp949',
}


def parse_xml(path: str) -> Any:
    """Return the root element of an XML file. Tags lose their namespace.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If the file is not well-formed, has entities, is too large or too deep, or is not a regular
        file. The message names the file.
    """
    ElementTree = require('defusedxml.ElementTree', 'data')
    content = read_bytes(path, _MAX_BYTES)
    try:
        if content.count(b'<') > _MAX_TAGS:
            raise ValueError(f'more than {_MAX_TAGS} tags')
        root = ElementTree.fromstring(_decode(content))
        _check_depth(root)
        for element in root.iter():
            if element.tag[0] == '{':
                element.tag = element.tag.rpartition('}')[2]
        return root
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        # defusedxml refuses entities with a ValueError. An unknown encoding is a LookupError.
        cause = shorten(str(error) or type(error).__name__)
        if not _is_utf8(content) and isinstance(error, ElementTree.ParseError):
            cause += (
                ' (its text is not UTF-8, which XML expects unless a declaration says otherwise)'
            )
        raise ValueError(
            f'{shorten(path, 300)}: not a safe, well-formed XML file: {cause}'
        ) from error


def _check_depth(root: Any) -> None:
    """Raise ``ValueError`` if elements are nested too deep for functions that call themselves."""
    level, depth = [root], 1
    while level:
        if depth > _MAX_DEPTH:
            raise ValueError(f'elements nested more than {_MAX_DEPTH} deep')
        level, depth = [child for element in level for child in element], depth + 1


def _decode(content: bytes) -> bytes | str:
    """Return content that expat can read: text where expat does not know the encoding."""
    if content.startswith(codecs.BOM_UTF8):
        content = content[len(codecs.BOM_UTF8) :]
    if content[:1].isspace():  # the declaration must stand first
        content = content.lstrip()
    declared = _DECLARATION.match(content)
    if declared:
        codec = _MULTI_BYTE.get(codecs.lookup(declared[1].decode()).name)
        if codec is not None:
            return content.decode(codec)
    return content


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
