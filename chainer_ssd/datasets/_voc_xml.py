"""Parsing of untrusted XML in bounded time and memory."""

from __future__ import annotations

import codecs
import re
from typing import Any
from xml.etree.ElementTree import TreeBuilder

from chainer_ssd._extras import require
from chainer_ssd._files import read_bytes
from chainer_ssd.datasets._messages import shorten

# An object of VOC has about 13 elements and 300 bytes.
_MAX_BYTES = 4 * 2**20
_MAX_ELEMENTS = 200_000
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
        parser = ElementTree.DefusedXMLParser(target=_LimitedTreeBuilder())
        parser.feed(_decode(content))
        return parser.close()
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


class _LimitedTreeBuilder(TreeBuilder):
    """Builder of elements without namespaces that refuses deep and huge trees."""

    _n_element = _depth = 0

    def start(self, tag: Any, attrs: Any) -> Any:
        self._n_element += 1
        self._depth += 1
        if self._n_element > _MAX_ELEMENTS:
            raise ValueError(f'more than {_MAX_ELEMENTS} elements')
        if self._depth > _MAX_DEPTH:
            raise ValueError(f'elements nested more than {_MAX_DEPTH} deep')
        return super().start(tag.rpartition('}')[2], attrs)

    def end(self, tag: Any) -> Any:
        self._depth -= 1
        return super().end(tag.rpartition('}')[2])


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
