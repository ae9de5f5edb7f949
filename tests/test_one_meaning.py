"""Searches the package for rules that should stand in one place, and fails where one stands twice.

Each entry of ``RULES`` has a search over the syntax tree of a file, the places where the rule
stands, and samples. The samples show that the search finds a second copy, in several spellings,
and that it passes over similar code.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np
import pytest

from chainer_ssd import EncodeTransform, MatchTransform, _validation, encode, match

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'chainer_ssd'

RATIOS = {'k', 'neg_pos', 'neg_pos_ratio', 'ratio'}
BOX = r'(gt_|pred_|default_|prior_)?(bbox|box)(es)?'
WRITE_MODE = re.compile('(?=.*[wax+])[rwaxbt+]+')
# What these functions write is a file, unless an argument is the file of an atomic_write or of a
# replace_file.
WRITERS = {
    'dump',
    'imwrite',
    'save_hdf5',
    'save_npz',
    'savefig',
    'savetxt',
    'savez',
    'savez_compressed',
    'tofile',
    'write_bytes',
    'write_text',
}
WRITERS_OF_MODULES = re.compile(
    r'^(cv2\.VideoWriter|os\.(rename|replace)|shutil\.(copy\w*|move)|(np|numpy|xp)\.save)$'
)
SERIALIZER = re.compile(r'(serializer|Serializer\(.*\))\.save$')
LOADERS = re.compile(r'(^(np|numpy|xp|cupy|pickle)\.loads?|\bload_npz|\bfromfile|\bloadtxt)$')
SCALERS = re.compile(r'\.(resize|thumbnail|warpAffine|remap|resize_images|zoom)$')
SNAPSHOT_NAME = re.compile(r'snapshot_(?![a-z]|$)|snapshot_$')


def name_of(call: ast.AST) -> str:
    """Return the dotted name of a called function, or '' for another node."""
    return ast.unparse(call.func) if isinstance(call, ast.Call) else ''


def names_in(node: ast.AST) -> set[str]:
    """Return the names of the variables and attributes in an expression."""
    return {
        part.id if isinstance(part, ast.Name) else part.attr
        for part in ast.walk(node)
        if isinstance(part, (ast.Name, ast.Attribute))
    }


def find_mining_counts(tree: ast.AST):
    """Find ceil(k · n): the number of hard negatives before the minimum."""
    for node in ast.walk(tree):
        if name_of(node).split('.')[-1] == 'ceil' and node.args:
            is_product = any(isinstance(part, ast.Mult) for part in ast.walk(node.args[0]))
            if is_product and names_in(node.args[0]) & RATIOS:
                yield node


def find_written_files(tree: ast.AST):
    """Find calls that write or rename a file, except into the file of an
    ``atomic_write`` or a ``replace_file``."""
    atomic = {
        item.optional_vars.id
        for node in ast.walk(tree)
        if isinstance(node, (ast.With, ast.AsyncWith))
        for item in node.items
        if name_of(item.context_expr).split('.')[-1] in ('atomic_write', 'replace_file')
        and isinstance(item.optional_vars, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or any(
            isinstance(arg, ast.Name) and arg.id in atomic for arg in node.args
        ):
            continue
        name = name_of(node)
        last = name.split('.')[-1]
        if (
            (last == 'open' and _opens_for_writing(node, name))
            or (last == 'save' and node.args and not SERIALIZER.search(name))
            or last in WRITERS
            or WRITERS_OF_MODULES.search(name)
        ):
            yield node


def _opens_for_writing(call: ast.Call, name: str) -> bool:
    """Return whether ``open(path, mode)``, ``path.open(mode)`` or ``os.open`` may write."""
    if name == 'os.open':
        return 'O_WRONLY' in ast.unparse(call) or 'O_RDWR' in ast.unparse(call)
    modes = call.args[1:2] if name in ('open', 'io.open') else call.args[:1]
    modes = [*modes, *(keyword.value for keyword in call.keywords if keyword.arg == 'mode')]
    texts = [mode.value for mode in modes if isinstance(mode, ast.Constant)]
    is_unknown = name in ('open', 'io.open') and len(texts) < len(modes)
    return is_unknown or any(WRITE_MODE.fullmatch(text) for text in texts)


def find_loaded_arrays(tree: ast.AST):
    """Find calls that read arrays or pickles from a file."""
    return [node for node in ast.walk(tree) if LOADERS.search(name_of(node))]


def find_resized_images(tree: ast.AST):
    """Find calls that scale pixels."""
    return [node for node in ast.walk(tree) if SCALERS.search(name_of(node))]


def find_snapshot_names(tree: ast.AST):
    """Find texts, other than docstrings, that hold the pattern of a snapshot's file name."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in docstrings and SNAPSHOT_NAME.search(node.value):
                yield node


def find_swapped_axes(tree: ast.AST):
    """Find the order (1, 0, 3, 2) of indices or of columns, and two reversed pairs side by side."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.List, ast.Tuple)):
            elements = [ast.unparse(element) for element in node.elts]
            columns = [re.sub(r'.*?(\d)\]?$', r'\1', element) for element in elements]
            n_reversed = sum(', ::-1]' in element for element in elements)
            if columns == ['1', '0', '3', '2'] or n_reversed > 1:
                yield node


def find_match_limits(tree: ast.AST):
    """Find the number 1e-6."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and type(node.value) is float and node.value == 1e-6:
            yield node


def find_box_checks(tree: ast.AST):
    """Find comparisons of minimum with maximum corners, tests for finite boxes, shape tests."""
    for node in ast.walk(tree):
        text = ast.unparse(node) if isinstance(node, (ast.Compare, ast.Call)) else ''
        if isinstance(node, ast.Compare) and (
            re.search(r'(\w+)\[(:|\.\.\.), :2\] <=? \1\[(:|\.\.\.), 2:\]', text)
            or re.search(r'(\w+)\[(:|\.\.\.), 2:\] >=? \1\[(:|\.\.\.), :2\]', text)
            or re.fullmatch(rf'{BOX}\.shape\[-?1\] != 4', text)
        ):
            yield node
        elif re.search(rf'^\w+\.(isfinite|isnan)\((\w+\.)?{BOX}\)', text):
            yield node


def find_detection_calls(tree: ast.AST):
    """Find calls of a model's ``predict``."""
    for node in ast.walk(tree):
        if name_of(node).split('.')[-1] == 'predict' and node.args:
            yield node


class Rule(NamedTuple):
    """A search, and the files in which it may find something, with the number of times."""

    find: Callable
    places: dict[str, int | None]  # None: any number, because the file exists for the rule
    copies: list[str]
    similar: list[str]


RULES = {
    'number of hard negatives': Rule(
        find_mining_counts,
        {'functions/parts/mining.py': 1},
        [
            'min(math.ceil(k * n), n_negative)',
            'xp.minimum(xp.ceil(self.k * n_positive), n_negative)',
            "np.ceil((gt_mb_labels > 0).sum(axis=1) * k).astype('i')",
            'math.ceil(float(n * self.neg_pos_ratio))',
            'xp.ceil(float(k) * n_positive)',
        ],
        ['math.ceil(epoch * len(data) / batchsize)', 'math.floor(k * n)'],
    ),
    'writing a file': Rule(
        find_written_files,
        {
            '_files.py': 2,  # replace_file: open, and os.replace
            'images/video.py': 1,  # OpenCV opens videos by name
        },
        [
            "open(path, 'w')",
            "open(path, mode='wb')",
            'open(path, mode)',
            'os.open(path, os.O_WRONLY | os.O_CREAT)',
            "path.open('a')",
            'path.write_text(text)',
            'np.savez(path, **arrays)',
            'json.dump(value, file)',
            'chainer.serializers.save_npz(path, model)',
            'Image.fromarray(pixels).save(path)',
            'os.rename(path, other)',
            'figure.savefig(path)',
            "shutil.copy('a', 'b')",
            'with atomic_write(path) as file:\n    image.save(path)',
            "with open(path + '.tmp', 'xb') as file:\n    file.write(data)",
        ],
        [
            'open(path)',
            "open(path, 'rb')",
            "Image.open(path, 'r')",
            'os.open(folder, os.O_RDONLY)',
            "with atomic_write(path) as file:\n    image.save(file, 'PNG')",
            "with replace_file(path) as file:\n    image.save(file, 'PNG')",
            "DictionarySerializer(state, 'trainer/').save(trainer)",
            'copy.copy(model)',
            'bbox.copy()',
            'predictions.save()',
            'tempfile.TemporaryFile(dir=folder)',
            'json.dumps(value)',
        ],
    ),
    'reading arrays without pickle': Rule(
        find_loaded_arrays,
        {'_files.py': 1},
        [
            'np.load(path)',
            'numpy.load(path, allow_pickle=False)',
            'chainer.serializers.load_npz(path, model)',
            'pickle.load(file)',
            'pickle.loads(data)',
        ],
        ['json.load(file)', 'NpzDeserializer(arrays).load(model)', 'read_npz(path)'],
    ),
    'resizing': Rule(
        find_resized_images,
        {'images/resize_image.py': 2},  # one kind of filter converts to floats first
        [
            'cv2.resize(img, size)',
            'image.resize(size)',
            'image.thumbnail(size)',
            'F.resize_images(x, size)',
            'cv2.warpAffine(img, matrix, size)',
        ],
        ['resize_image(img, size)', 'self._resize(img, size)', "image.draft('RGB', size)"],
    ),
    'file names of snapshots': Rule(
        find_snapshot_names,
        {'runtime/snapshot/files.py': 4},  # two kinds, each for reading and writing
        [
            "f'snapshot_{iteration:08d}_rank{rank}'",
            "re.compile(r'snapshot_(\\d+)_rank')",
            "glob(os.path.join(folder, 'snapshot_*'))",
            "name.startswith('snapshot_')",
        ],
        ["'snapshot_interval'", "'''The folder holds snapshot_*.'''", 'snapshot_path(folder, 1)'],
    ),
    'exchange of x and y': Rule(
        find_swapped_axes,
        {'ops/boxes.py': 1},
        [
            'bbox[:, [1, 0, 3, 2]]',
            'bbox[..., (1, 0, 3, 2)]',
            'np.stack((bbox[:, 1], bbox[:, 0], bbox[:, 3], bbox[:, 2]), axis=1)',
            'np.concatenate((a[:, ::-1], b[:, ::-1]), axis=1)',
        ],
        ['frame[:, :, ::-1]', 'loss[:, ::-1]', 'img.transpose(1, 2, 0)', '[0, 1, 2, 3]'],
    ),
    'smallest IoU of a match': Rule(
        find_match_limits,
        {'ops/matching.py': 1},
        ['iou > 1e-6', 'max(thresh, 1e-06)', 'LIMIT = 0.000001'],
        ['1e-5', "'1e-6'"],
    ),
    'valid boxes': Rule(
        find_box_checks,
        {'_validation.py': None},
        [
            '(bbox[:, :2] < bbox[:, 2:]).all(axis=1)',
            '(gt_bbox[..., :2] <= gt_bbox[..., 2:]).all()',
            '(bbox[:, 2:] > bbox[:, :2]).all()',
            'np.isfinite(bbox).all()',
            'xp.isnan(self.default_bbox).any()',
            'bbox.ndim != 2 or bbox.shape[1] != 4',
        ],
        [
            '(bbox[:, :2] < 0).any()',
            'np.isfinite(score)',
            'a[:, :2] < b[:, 2:]',
            'is_valid_bbox(b)',
        ],
    ),
    'detection over a data set': Rule(
        find_detection_calls,
        {
            'evaluation/_detect_images.py': 1,
            'extensions/detection_vis_report.py': 1,  # single images, to draw them
            # files and videos without ground truth, and a first empty image
            'cli/_timed_detector.py': 2,
        },
        [
            'for img in data:\n    model.predict([img])',
            '[predict([img]) for img, bbox, label in data]',
            'self.model.predict(imgs)',
        ],
        ['predict.run(args)', 'model.predict', 'detect_dataset(model, data)'],
    ),
}

FILES = {
    path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding='utf-8'))
    for path in sorted(PACKAGE.rglob('*.py'))
}

each_rule = pytest.mark.parametrize('rule', RULES.values(), ids=RULES)


@each_rule
def test_the_rule_stands_in_its_place_only(rule):
    found = [
        (path, f'{path}:{node.lineno}: {ast.unparse(node)}')
        for path, tree in FILES.items()
        for node in rule.find(tree)
    ]
    elsewhere = [place for path, place in found if path not in rule.places]
    assert not elsewhere, '\n'.join(elsewhere)
    counts = Counter(path for path, _ in found)
    for path, count in rule.places.items():
        assert counts[path] == count or (count is None and counts[path])


@each_rule
def test_the_search_finds_a_second_copy(rule):
    assert [copy for copy in rule.copies if not list(rule.find(ast.parse(copy)))] == []


@each_rule
def test_the_search_passes_over_similar_code(rule):
    assert [code for code in rule.similar if list(rule.find(ast.parse(code)))] == []


def test_the_cuda_kernel_counts_hard_negatives_once():
    """A kernel cannot call Python, so its source holds the rule a second time, and once only."""
    sources = [
        path.read_text(encoding='utf-8')
        for path in sorted(PACKAGE.rglob('*'))
        if path.suffix in {'.cu', '.cuh'} or path.name == 'kernels.py'
    ]
    assert len(sources) > 1
    assert [line for text in sources for line in re.findall(r'ceil[fl]?\(.*', text)] == [
        'ceil(k * n_positive);'
    ]


@pytest.fixture
def checks(monkeypatch):
    """Count the calls of each check of boxes."""
    counts = Counter()

    def count(name, check):
        def counted(*args, **kwargs):
            counts[name] += 1
            return check(*args, **kwargs)

        return counted

    modules = [module for name, module in sys.modules.items() if name.startswith('chainer_ssd.')]
    for name in 'check_bbox', 'check_default_bbox':
        check = getattr(_validation, name)
        for module in modules:
            if getattr(module, name, None) is check:
                monkeypatch.setattr(module, name, count(name, check))
    return counts


DEFAULT_BBOX = np.array([(5, 5, 10, 10), (50, 50, 10, 10)], np.float32)
IMG, BBOX, LABEL = np.zeros((3, 60, 60), np.float32), np.float32([(0, 0, 9, 9)]), np.int32([2])


def test_a_box_is_checked_once_on_its_way_to_the_targets(checks):
    transforms = MatchTransform(DEFAULT_BBOX), EncodeTransform(DEFAULT_BBOX)
    assert checks == {'check_default_bbox': 2}
    for _ in range(3):
        example = IMG, BBOX, LABEL
        for transform in transforms:
            example = transform(example)
        assert example[2].tolist() == [3, 0]
    assert checks == {'check_default_bbox': 2, 'check_bbox': 3}


def test_the_functions_of_one_image_check_their_arguments_each_time(checks):
    encode(DEFAULT_BBOX, BBOX, LABEL, match(DEFAULT_BBOX, BBOX))
    assert checks == {'check_default_bbox': 2, 'check_bbox': 2}
