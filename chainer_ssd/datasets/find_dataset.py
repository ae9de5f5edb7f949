"""Which format a data set on the disk has, and where its files are."""

from __future__ import annotations

import os

from chainer_ssd._options import check_choice
from chainer_ssd.datasets._bbox_dataset import check_path
from chainer_ssd.datasets._messages import quote, shorten
from chainer_ssd.datasets.formats.coco_format import find_coco, open_coco_file
from chainer_ssd.datasets.formats.file_tree import FileTree
from chainer_ssd.datasets.formats.voc_format import find_voc
from chainer_ssd.datasets.formats.yolo_format import find_yolo, open_yolo_yaml
from chainer_ssd.datasets.formats.yolo_yaml import read_yolo_yaml
from chainer_ssd.datasets.found_dataset import FoundDataset

#: What ``format`` can be.
FORMATS = ('auto', 'voc', 'coco', 'yolo')
_FINDERS = {'voc': find_voc, 'coco': find_coco, 'yolo': find_yolo}
_KNOWN = "Pascal VOC's XML files, COCO's JSON, or YOLO's label files with data.yaml or classes.txt"
_ARCHIVES = ('.zip', '.tar', '.gz', '.tgz', '.7z', '.rar', '.bz2', '.xz')


def find_dataset(path: str | os.PathLike[str], format: str = 'auto') -> FoundDataset:
    """Return the data set in a folder or file, in whichever of three formats it is.

    Folders may have any names in any case. A folder named train, valid, val or test is a split.

    ``'voc'``: Pascal VOC's exact layout. LabelImg's folders, with images and XML files together or
    in two folders. The exports of CVAT and Roboflow. Lists may have suffixes and VOC's second
    column. ``'coco'``: a JSON file, or one for each split, with its images in a folder near it.
    ``'yolo'``: label files beside the images or in a folder ``labels``, with ``data.yaml``,
    ``classes.txt`` or ``obj.names``.

    Parameters
    ----------
    path : str or path
        A folder, a JSON file of COCO, or a ``data.yaml`` of YOLO.
    format : {'auto', 'voc', 'coco', 'yolo'}
        'auto' (default): the format that is found. Choose one if a folder holds several.

    Returns
    -------
    FoundDataset
        Format, splits, and how to open them.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    ValueError
        If nothing in a known format is found, or several formats. If a folder holds several data
        sets, or the files of an image are not clear. The message names them.
    TypeError
        If ``path`` is not a path.
    ImportError
        If PyYAML is needed and missing (``pip install "chainer_ssd[data]"``).

    Warns
    -----
    UserWarning
        Images without an annotation are left out, or an entry of ``data.yaml`` does not exist.

    Examples
    --------
    >>> found = find_dataset('path/to/bolts')          # doctest: +SKIP
    >>> found.format, found.splits                     # doctest: +SKIP
    ('coco', ('train', 'val', 'test'))
    >>> train = found.open('train')                    # doctest: +SKIP
    """
    path = check_path('path', path)
    check_choice('format', format, FORMATS)
    if os.path.isfile(path):
        return _open_file(path, format)
    if not os.path.isdir(path):
        raise FileNotFoundError(f'{shorten(path, 300)}: no such file or folder')
    tree = FileTree(path)
    names = _FINDERS if format == 'auto' else (format,)
    found = {name: each for name in names for each in [_FINDERS[name](path, tree)] if each}
    if not found:
        wanted = _KNOWN if format == 'auto' else f'a data set in the format {format}'
        raise ValueError(f'{shorten(path, 300)}: {_describe_content(tree)}, expected {wanted}')
    if len(found) > 1:
        raise ValueError(
            f'{shorten(path, 300)}: holds data in several formats, {" and ".join(found)}. '
            'Choose one with format, in the command --format'
        )
    return next(iter(found.values()))


def _open_file(path: str, format: str) -> FoundDataset:
    suffix = os.path.splitext(path)[1].lower()
    if suffix == '.json' and format in ('auto', 'coco'):
        return open_coco_file(path)
    if suffix in ('.yaml', '.yml') and format in ('auto', 'yolo'):
        config = read_yolo_yaml(path)
        if config is None:
            raise ValueError(f'{shorten(path, 300)}: no names, as the data.yaml of YOLO has them')
        return open_yolo_yaml(path, config, FileTree(os.path.dirname(path) or '.'))
    hint = '. Unpack the archive first' if suffix in _ARCHIVES else ''
    raise ValueError(
        f'{shorten(path, 300)}: {quote(suffix or "a file")} with the format {format}, expected a '
        f"folder, a JSON file of COCO, or YOLO's data.yaml{hint}"
    )


def _describe_content(tree: FileTree) -> str:
    counts = {
        'images': len(tree.images),
        **{
            f'{suffix} files': len(tree.with_suffix([suffix]))
            for suffix in ('.xml', '.json', '.txt')
        },
    }
    found = [f'{count} {name}' for name, count in counts.items() if count]
    return ', '.join(found) or 'no image and no annotation'
