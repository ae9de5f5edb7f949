"""Print what a bug report needs: versions, extras, the GPU, and the active patches of Chainer.

    chainer-ssd env

A line begins with - where something is missing or does not work.
"""

from __future__ import annotations

import argparse

from chainer_ssd.cli._environment import describe_environment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no argument: the command has no options."""


def run(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Print the environment as a table."""
    rows = describe_environment()
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f'{name:{width}}  {value}')
