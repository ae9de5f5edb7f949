"""Pascal VOC's lists of images."""

import glob
import os

LISTS = os.path.join('ImageSets', 'Main')
_NAMED_AT_MOST = 10


def read_list(root, split):
    """The names of the images; FileNotFoundError, which says what is there, or ValueError."""
    path = os.path.join(root, LISTS, f'{split}.txt')
    try:
        with open(path, encoding='utf-8-sig') as lines:
            names = [line.strip() for line in lines if line.strip()]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(f'{path}: no such list: {_what_is_there(root)}') from error
    if not names:
        raise ValueError(f'{path}: lists no image')
    return names


def _what_is_there(root):
    if not os.path.isdir(root):
        return f'{root} is not a folder'
    found = glob.glob(os.path.join(glob.escape(root), LISTS, '*.txt'))
    if found:
        names = sorted(
            (os.path.splitext(os.path.basename(file))[0] for file in found),
            key=lambda name: (len(name), name),
        )  # VOC has one for each class, too
        return f'there are {_some(names)}'
    near = [
        glob.escape(os.path.dirname(os.path.abspath(root))),
        *(os.path.join(glob.escape(root), *below) for below in ('*', ('*', '*'))),
    ]
    roots = [
        folder[: -len(LISTS) - 1]
        for pattern in near
        for folder in sorted(glob.glob(os.path.join(pattern, LISTS)))
    ]
    text = f"{root} is not in Pascal VOC's layout (Annotations, {LISTS}, JPEGImages)"
    return text + (f'; what is: {_some(roots)}' if roots else '')


def _some(names):
    more = len(names) - _NAMED_AT_MOST
    return ', '.join(names[:_NAMED_AT_MOST]) + (f' and {more} more' if more > 0 else '')
