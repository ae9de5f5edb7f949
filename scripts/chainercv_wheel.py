"""Builds a wheel of ChainerCV 0.13.1 that installs on today's Python and NumPy.

    python scripts/chainercv_wheel.py [--out FOLDER] [SDIST]
    pip install ./chainercv-0.13.1+pure-py3-none-any.whl

ChainerCV's own setup cannot build its one C module any more. This script takes ChainerCV's source
distribution, replaces the C module by NumPy, and replaces ``np.int`` and ``np.bool``. The rest is
unchanged. pip downloads the source distribution, unless SDIST names the file.

The wheel's version is 0.13.1+pure, so that ``pip list`` shows which ChainerCV is installed.
"""

import argparse
import base64
import hashlib
import inspect
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
VERSION = '0.13.1'
SHA256 = '84214bd2fc191dacd73a95342ac45ded36232fc588825458752ec57df5e97ded'
C_MODULE = 'chainercv/utils/bbox/_nms_gpu_post'
DIST_INFO = f'chainercv-{VERSION}+pure.dist-info'

# NumPy 1.24 removed np.int and np.bool, which were Python's own. NumPy 2 has another np.bool.
NUMPY_ALIAS = re.compile(r'\bnp\.(int|bool)\b')

# ChainerCV imports pkg_resources and distutils. Setuptools 70.1 has both on each Python, 80.9
# warns on each import of pkg_resources, and 82 has none.
METADATA = f"""\
Metadata-Version: 2.1
Name: chainercv
Version: {VERSION}+pure
Summary: ChainerCV {VERSION} with its C module replaced by NumPy
License: MIT
Requires-Dist: chainer>=6.0
Requires-Dist: numpy
Requires-Dist: Pillow
Requires-Dist: setuptools>=70.1,<80.9
"""
WHEEL = """\
Wheel-Version: 1.0
Generator: chainercv_wheel.py
Root-Is-Purelib: true
Tag: py3-none-any
"""


def _nms_gpu_post(mask, n_bbox, threads_per_block, col_blocks):
    """Returns the boxes that non-maximum suppression keeps, and their number.

    ``mask`` holds ``col_blocks`` words of 64 bits per box, by falling score. Bit j of box i is set
    if the boxes i and j overlap too much. Bits of earlier boxes (j < i) have no meaning.
    """
    words = np.asarray(mask, dtype='<u8').reshape(n_bbox, col_blocks)
    is_kept = np.ones(n_bbox, dtype=bool)
    for i in range(n_bbox):
        if is_kept[i]:
            overlaps = np.unpackbits(words[i].view(np.uint8), count=n_bbox, bitorder='little')
            is_kept[i + 1 :] &= overlaps[i + 1 :] == 0
    selection = np.flatnonzero(is_kept).astype(np.int32)
    return selection, len(selection)


def download(folder):
    """Downloads the source distribution with pip, and returns its path."""
    # pip runs ChainerCV's setup.py to read the name. That needs pkg_resources.
    constraints = (ROOT / 'build-constraints.txt').as_uri()
    command = [sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps', '--no-binary']
    subprocess.run(
        [*command, 'chainercv', '--dest', str(folder), f'chainercv=={VERSION}'],
        env={**os.environ, 'PIP_CONSTRAINT': constraints, 'PIP_BUILD_CONSTRAINT': constraints},
        check=True,
    )
    return Path(folder, f'chainercv-{VERSION}.tar.gz')


def check_sdist(sdist):
    """Raises ``ValueError`` if the file is not ChainerCV's source distribution."""
    found = hashlib.sha256(sdist.read_bytes()).hexdigest()
    if found != SHA256:
        raise ValueError(
            f'{sdist}: SHA-256 is {found}, expected {SHA256} of chainercv-{VERSION}.tar.gz'
        )


def read_package(sdist):
    """Returns the package's files, with their new text: {path: bytes}."""
    files = {}
    with tarfile.open(sdist) as archive:
        for member in archive:
            path = member.name.partition('/')[2]
            if member.isfile() and path.startswith('chainercv/') and path != f'{C_MODULE}.c':
                files[path] = archive.extractfile(member).read()
    for path in [path for path in files if path.endswith('.py')]:
        files[path] = NUMPY_ALIAS.sub(r'\1', files[path].decode()).encode()
    module = f'import numpy as np\n\n\n{inspect.getsource(_nms_gpu_post)}'
    return {**files, f'{C_MODULE}.py': module.encode()}


def write_wheel(files, folder):
    """Writes the wheel that holds ``files``, and returns its path."""
    path = Path(folder, f'chainercv-{VERSION}+pure-py3-none-any.whl')
    files = {
        **files,
        f'{DIST_INFO}/METADATA': METADATA.encode(),
        f'{DIST_INFO}/WHEEL': WHEEL.encode(),
    }
    record = [f'{name},{_record_hash(files[name])},{len(files[name])}' for name in files]
    record.append(f'{DIST_INFO}/RECORD,,')
    files[f'{DIST_INFO}/RECORD'] = '\n'.join([*record, '']).encode()
    Path(folder).mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
    return path


def _record_hash(content):
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return f'sha256={digest.decode().rstrip("=")}'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        'sdist',
        nargs='?',
        type=Path,
        help=f'chainercv-{VERSION}.tar.gz (default: pip downloads it)',
    )
    parser.add_argument('--out', default='.', help='folder of the wheel (default: %(default)s)')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sdist = options.sdist or download(folder)
        check_sdist(sdist)
        print(write_wheel(read_package(sdist), options.out))


if __name__ == '__main__':
    main()
