"""What the sub-commands share: one-line errors, the device, and types of arguments."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import chainer

from chainer_ssd._options import check_integer
from chainer_ssd.images import printable_name

#: Exceptions that a user can do something about.
USER_ERRORS = ArithmeticError, ImportError, MemoryError, OSError, RuntimeError, ValueError
MAX_ERROR_LETTERS, MAX_VALUE_LETTERS = 2000, 100
MAX_INTEGER = 2**31 - 1  # larger numbers of images or iterations are mistakes
#: Limits of the paper: boxes of a class before the suppression, detections of an image after it.
NMS_TOP_K, KEEP_TOP_K = 400, 200
USER_ERROR_STATUS = 2
INTERRUPTED_STATUS = 130  # as shells report Ctrl-C: 128 + SIGINT


def split_doc(doc: str | None) -> tuple[str, str]:
    """Return the first paragraph of a module docstring as one line, and the rest."""
    description, _, epilog = (doc or '').partition('\n\n')
    return ' '.join(description.split()), epilog


@contextlib.contextmanager
def exit_in_one_line(
    parser: argparse.ArgumentParser, errors: tuple[type[Exception], ...] = USER_ERRORS
) -> Iterator[None]:
    """Turn exceptions into one line on the standard error and an exit status.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Its ``prog`` begins the line.
    errors : tuple of exception types
        They end the program with status 2. Ctrl-C always ends it with status 130, and SIGTERM in a
        training with 143.
    """
    try:
        yield
    except errors as error:
        text = ' '.join(str(error).split()) or type(error).__name__
        text = printable_name(text, MAX_ERROR_LETTERS)
        parser.exit(USER_ERROR_STATUS, f'{parser.prog}: error: {text}\n')
    except KeyboardInterrupt as error:
        status = getattr(error, 'exit_status', INTERRUPTED_STATUS)
        parser.exit(status, f'{parser.prog}: {str(error) or "interrupted"}\n')


def use_device(gpu: int) -> chainer.backend.Device:
    """Return the device that ``--gpu`` names, and make it the current one.

    Raises
    ------
    ImportError
        If CuPy is missing.
    RuntimeError
        If there is no driver or no such device.
    """
    if gpu >= 0 and importlib.util.find_spec('cupy') is None:
        raise ImportError(
            f'--gpu {gpu}: CuPy is missing: pip install "chainer_ssd[cuda12x]" (or cuda13x)'
        )
    try:
        device = chainer.get_device(gpu)
        device.use()
    except RuntimeError as error:
        raise RuntimeError(f'--gpu {gpu}: {error}') from error
    return device


def integer(minimum: int, maximum: float = float('inf')) -> Callable[[str], int]:
    """Return an argument type for integers in a range."""

    def parse(text: str) -> int:
        value = _parse(text, int, lambda name, value: check_integer(name, value, minimum, maximum))
        if value > max(MAX_INTEGER, 0 if maximum == float('inf') else maximum):
            raise argparse.ArgumentTypeError(f'{text[:20]!r}: expected at most {MAX_INTEGER}')
        return value

    return parse


def number(check: Callable[[str, Any], Any]) -> Callable[[str], float]:
    """Return an argument type for numbers that one of the checks in ``_options`` accepts."""

    def parse(text: str) -> float:
        return _parse(text, float, check)

    return parse


def numbers(check: Callable[[str, Any], Any]) -> Callable[[str], list[float]]:
    """Return an argument type for numbers with commas between them."""
    parse = number(check)
    return lambda text: [parse(part) for part in text.split(',')]


def add_gpu_argument(add: Callable[..., Any], note: str = '') -> None:
    """Add ``--gpu``."""
    add(
        '--gpu',
        type=integer(-1),
        default=-1,
        metavar='ID',
        help='number of the CUDA device, -1 for the CPU. A GPU needs CuPy. '
        f'{note}(default: %(default)s)',
    )


def add_limit_arguments(add: Callable[..., Any]) -> None:
    """Add ``--nms-top-k`` and ``--keep-top-k``."""
    add(
        '--nms-top-k',
        type=integer(0),
        default=NMS_TOP_K,
        metavar='N',
        help='boxes of a class in an image that enter the non-maximum suppression, those of the '
        'highest scores. 0: no limit, for comparison with ChainerCV. (default: %(default)s)',
    )
    add(
        '--keep-top-k',
        type=integer(0),
        default=KEEP_TOP_K,
        metavar='N',
        help='detections of an image, those of the highest scores. Raise it if an image can hold '
        'more objects. 0: no limit. (default: %(default)s)',
    )


def limit_detections(model: Any, args: argparse.Namespace) -> None:
    """Set the limits of ``add_limit_arguments`` on a model."""
    model.nms_top_k, model.keep_top_k = args.nms_top_k or None, args.keep_top_k or None


def _parse(text: str, convert: Callable[[str], Any], check: Callable[[str, Any], Any]) -> Any:
    try:
        value = convert(text)
    except ValueError:
        kind = 'an integer' if convert is int else 'a number'
        shown = printable_name(repr(text), MAX_VALUE_LETTERS)
        raise argparse.ArgumentTypeError(f'{shown}: expected {kind}') from None
    try:
        return check('value', value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
