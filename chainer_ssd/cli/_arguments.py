"""What the command lines of the scripts have in common."""

import argparse
import contextlib
import importlib.util
import math

import chainer

ERRORS = ImportError, OSError, RuntimeError, ValueError  # what a user can do something about
INTERRUPTED = 130  # the status that shells give to Ctrl-C: 128 + SIGINT


def split_doc(doc):
    """Return a module docstring as its first paragraph and the rest, for argparse."""
    description, _, epilog = doc.partition('\n\n')
    return ' '.join(description.split()), epilog


@contextlib.contextmanager
def told_in_one_line(parser, errors=ERRORS):
    """Ends the script, with status 2 after one of the errors and 130 after Ctrl-C."""
    try:
        yield
    except errors as error:
        parser.exit(2, f'{parser.prog}: error: {" ".join(str(error).split())}\n')
    except KeyboardInterrupt as error:
        parser.exit(INTERRUPTED, f'{parser.prog}: {str(error) or "interrupted"}\n')


def use_device(gpu):
    """Chainer's device of ``--gpu``, from now on the current one."""
    if gpu >= 0 and importlib.util.find_spec('cupy') is None:
        raise ImportError(
            f'--gpu {gpu}: CuPy is missing: pip install "chainer_ssd[cuda12x]" (or cuda13x)'
        )
    try:
        device = chainer.get_device(gpu)
        device.use()
    except RuntimeError as error:  # no driver, no such device
        raise RuntimeError(f'--gpu {gpu}: {error}') from error
    return device


def natural(text, least=0):
    value = int(text)
    if value < least:
        raise argparse.ArgumentTypeError(f'{text}: expected {least} or more')
    return value


def positive(text):
    return natural(text, 1)


def ratio(text):
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f'{text}: expected a finite number >= 0')
    return value


def scale(text):
    value = ratio(text)
    if not value:
        raise argparse.ArgumentTypeError(f'{text}: expected a number > 0')
    return value


def share(text):
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'{text}: expected a number from 0 to 1')
    return value
