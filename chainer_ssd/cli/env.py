"""Print what a bug report needs: versions, extras, GPU, and active patches of Chainer.

chainer-ssd env
"""

from __future__ import annotations

import argparse
import platform


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the command has no options."""


def run(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Print the environment."""
    print(f'Python {platform.python_version()}')
