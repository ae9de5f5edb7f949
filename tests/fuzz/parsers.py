"""Run one parser on bytes that Atheris chooses. The arguments after the name are libFuzzer's.

python -m tests.fuzz.parsers coco -runs=10000
"""

import io
import json
import os
import re
import struct
import sys
import tempfile
import warnings
import zlib
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=['chainer_ssd', 'PIL']):
    from chainer_ssd import COCOBboxDataset, SSDMini, VOCBboxDataset, load_detector, read_image
    from chainer_ssd._files import read_json, read_npz
    from chainer_ssd.datasets import find_dataset, read_coco_ids
    from chainer_ssd.links import save_detector
    from chainer_ssd.runtime.snapshot.record import read_record, write_record

#: A longer message would hide what is wrong.
MAX_MESSAGE = 2000
CONTROL = re.compile(r'[\x00-\x1f\x7f]')

XML = b"""<annotation><size><width>8</width><height>6</height><depth>3</depth></size>
<object><name>bolt</name><difficult>0</difficult><truncated>1</truncated>
<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>6</xmax><ymax>5.5</ymax></bndbox></object>
<object><name>nut</name><robndbox><cx>4</cx><cy>3</cy><w>2</w><h>2</h><angle>.1</angle></robndbox>
</object></annotation>"""
COCO = {
    'images': [{'id': 1, 'file_name': 'a.png', 'width': 8, 'height': 6}],
    'categories': [{'id': 3, 'name': 'bolt'}, {'id': 7, 'name': 'nut'}],
    'annotations': [
        {'id': 1, 'image_id': 1, 'category_id': 3, 'bbox': [1, 2, 3, 4], 'area': 12, 'iscrowd': 0},
        {'id': 2, 'image_id': 1, 'category_id': 7, 'segmentation': [[1, 1, 4, 1, 4, 4]]},
    ],
}


def encode_png(pixels):
    """Return a PNG file without compression of its own, so that changed bytes reach the pixels."""

    def chunk(kind, data):
        checksum = zlib.crc32(kind + data)
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', checksum)

    height, width = pixels.shape[:2]
    rows = b''.join(b'\0' + row.tobytes() for row in pixels)
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        chunk(kind, data)
        for kind, data in ((b'IHDR', header), (b'IDAT', zlib.compress(rows, 0)), (b'IEND', b''))
    )


class Parser:
    """A file that a stranger may have written, and the function that reads it.

    Parameters
    ----------
    folder : pathlib.Path
        An empty folder for the files.
    """

    #: Valid contents to start from.
    seeds = ()
    #: Words that Atheris may insert.
    words = ()

    def __init__(self, folder):
        self.folder = folder

    def write_voc(self, annotation, names):
        """Write a folder in Pascal VOC's layout with one image."""
        for name, file, content in (
            ('Annotations', 'a.xml', annotation),
            ('JPEGImages', 'a.png', encode_png(np.zeros((6, 8, 3), np.uint8))),
            ('ImageSets/Main', 'x.txt', names),
        ):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            (self.folder / name / file).write_bytes(content)


class VOCAnnotation(Parser):
    words = (
        *('<object>', '</object>', '<bndbox>', '<polygon>', '<robndbox>', '<part>', '<item>'),
        *('<xmin>', '</xmin>', '<XMIN>', '<name>', '<difficult>', '<!DOCTYPE a [', '<!ENTITY'),
        *('nan', 'inf', '1e999', '-1', '1,5', 'true', '&#27;', 'encoding="utf-16"', 'gb2312'),
    )
    seeds = XML, b'<annotation/>', XML.replace(b'</annotation>', XML + b'</annotation>')

    def read(self, data):
        self.write_voc(data, b'a\n')
        list(map(VOCBboxDataset(self.folder, 'x').get_annotation, range(1)))


class VOCList(Parser):
    seeds = b'a\n', b'a 1\r\n', 'a\n'.encode('utf-16'), b'\xef\xbb\xbfa'

    def read(self, data):
        self.write_voc(XML, data)
        VOCBboxDataset(self.folder, 'x')


class COCOFile(Parser):
    words = (
        *('"id"', '"bbox"', '"iscrowd"', '"image_id"', '"category_id"', '"segmentation"', '"name"'),
        *('null', 'true', 'NaN', 'Infinity', '1e999', '[[', '{}', '""', '"../a.png"', '"/a.png"'),
    )
    seeds = tuple(
        json.dumps({**COCO, **changed}).encode()
        for changed in ({}, {'annotations': []}, {'categories': COCO['categories'][:1]})
    )

    def read(self, data):
        (self.folder / 'a.png').write_bytes(encode_png(np.zeros((6, 8, 3), np.uint8)))
        file = self.folder / 'coco.json'
        file.write_bytes(data)
        COCOBboxDataset(file, self.folder)


class COCOIds(COCOFile):
    """The file of ``chainer-ssd predict --coco-ids``."""

    def read(self, data):
        file = self.folder / 'coco.json'
        file.write_bytes(data)
        read_coco_ids(file, ['bolt']).find_image('a/a.png')


class YOLOFolder(Parser):
    """A folder with data.yaml, one image and its label file."""

    names = b'train: images\nval: images\nnames: [bolt, nut]\n'
    labels = b'0 0.5 0.5 0.25 0.5\n1 .1 .2 .3 .4 .5 .6\r\n'

    def write(self, names, labels):
        for name, file, content in (
            ('', 'data.yaml', names),
            ('images', 'a.png', encode_png(np.zeros((6, 8, 3), np.uint8))),
            ('labels', 'a.txt', labels),
        ):
            (self.folder / name).mkdir(exist_ok=True)
            (self.folder / name / file).write_bytes(content)
        find_dataset(self.folder).open('train')


class YOLOLabels(YOLOFolder):
    words = ('nan', 'inf', '1e999', '-1', '0,5', '7', '1_0', '\u0660')
    seeds = YOLOFolder.labels, b'', b'\xef\xbb\xbf0 1 1 1 1'

    def read(self, data):
        self.write(self.names, data)


class YOLOConfig(YOLOFolder):
    words = (
        *('names:', 'train:', 'val:', 'path:', 'nc:', '../', '/', '[', ']', '{', '}', '&a', '*a'),
        *(
            '!!python/name:os',
            '!!binary',
            '!!timestamp',
            '<<:',
            '? ',
            '~',
            '1e999',
            '|',
            '2001-1-1',
        ),
    )
    seeds = YOLOFolder.names, b'names: {0: a, 1: b}\npath: .\nnc: 2\ntrain: [images]\n'

    def read(self, data):
        self.write(data, self.labels)


class Image(Parser):
    def __init__(self, folder):
        super().__init__(folder)
        from PIL import Image

        pixels = np.arange(144, dtype=np.uint8).reshape(6, 8, 3)
        self.seeds = [encode_png(pixels)]
        for name in 'JPEG', 'GIF', 'BMP', 'TIFF', 'WEBP':
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, name)
            self.seeds.append(file.getvalue())

    def read(self, data):
        file = self.folder / 'a.img'
        file.write_bytes(data)
        img = read_image(file, max_pixels=10**7)
        assert img.ndim == 3 and img.dtype == np.float32 and img.min() >= 0 and img.max() <= 255


class Npz(Parser):
    def __init__(self, folder):
        super().__init__(folder)
        self.seeds = []
        for save in np.savez, np.savez_compressed:
            file = io.BytesIO()
            save(file, a=np.arange(6.0), b=np.array(3))
            self.seeds.append(file.getvalue())

    def read(self, data):
        file = self.folder / 'a.npz'
        file.write_bytes(data)
        assert all(array.dtype != object for array in read_npz(file).values())


class Detector(Parser):
    words = ('"insize"', '"box_scale"', '"label_names"', 'null', 'NaN', '1e999', '0', '1000000')

    def __init__(self, folder):
        super().__init__(folder)
        save_detector(folder, SSDMini(1, 32), ['bolt'])
        self.seeds = [(folder / 'model.json').read_bytes()]

    def read(self, data):
        (self.folder / 'model.json').write_bytes(data)
        load_detector(self.folder)


class Record(Parser):
    def __init__(self, folder):
        super().__init__(folder)
        write_record(str(folder / 'a'), {'x': np.arange(3)}, iteration=5)
        self.seeds = [(folder / 'a.json').read_bytes()]

    def read(self, data):
        (self.folder / 'a.json').write_bytes(data)
        read_record(str(self.folder / 'a'))


class Json(Parser):
    seeds = b'{"a": [1, 2.5, null, "text"]}', b'[' * 100 + b']' * 100

    def read(self, data):
        file = self.folder / 'a.json'
        file.write_bytes(data)
        read_json(file)


PARSERS = {
    'VOC annotation': VOCAnnotation,
    'VOC list': VOCList,
    'COCO': COCOFile,
    'COCO ids': COCOIds,
    'YOLO labels': YOLOLabels,
    'YOLO data.yaml': YOLOConfig,
    'image': Image,
    'npz': Npz,
    'detector': Detector,
    'snapshot record': Record,
    'JSON': Json,
}


def check_message(message, folder):
    """Assert that a message is one short line that names a file."""
    assert len(message) <= MAX_MESSAGE, f'{len(message)} characters: {message[:200]}'
    assert not CONTROL.search(message), f'control characters: {message!r}'
    assert str(folder) in message, f'no file is named: {message}'


def check_parser(parser, data):
    """Read ``data``. Any exception but a ``ValueError`` and an ``OSError`` is a fault."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        try:
            parser.read(data)
        except (ValueError, OSError) as error:
            check_message(str(error), parser.folder)
    for warning in caught:
        # Pillow's own warnings name no file.
        if (
            issubclass(warning.category, UserWarning)
            and f'{os.sep}PIL{os.sep}' not in warning.filename
        ):
            check_message(str(warning.message), parser.folder)


def quote(word):
    """Return a word as a dictionary file of libFuzzer has it."""
    return ''.join(f'\\x{byte:02x}' for byte in word.encode())


def fuzz(name, options):
    """Fuzz a parser. libFuzzer then ends the process."""
    with tempfile.TemporaryDirectory(dir='/dev/shm' if os.path.isdir('/dev/shm') else None) as root:
        files, corpus = Path(root, 'files'), Path(root, 'corpus')
        files.mkdir()
        corpus.mkdir()
        parser = PARSERS[name](files)
        for i, seed in enumerate(parser.seeds):
            (corpus / str(i)).write_bytes(seed)
        if parser.words:
            dictionary = Path(root, 'words')
            dictionary.write_text(''.join(f'"{quote(word)}"\n' for word in parser.words))
            options = [*options, f'-dict={dictionary}']
        atheris.Setup([sys.argv[0], str(corpus), *options], lambda data: check_parser(parser, data))
        atheris.Fuzz()


def fuzz_each(folder, options):
    """Fuzz all parsers, each in a child of this process, since the imports take seconds.

    ``folder`` receives what each prints, and its exit status as the last line.
    """
    for name in PARSERS:
        output = folder / name
        child = os.fork()
        if not child:
            with output.open('wb') as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            fuzz(name, options)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with output.open('a') as file:
            file.write(f'\n{status}')


def main():
    """``parsers NAME OPTION...`` fuzzes a parser, ``parsers --each FOLDER OPTION...`` each."""
    name, *options = sys.argv[1:]
    if name == '--each':
        fuzz_each(Path(options[0]), options[1:])
    else:
        fuzz(name, options)


if __name__ == '__main__':
    main()
