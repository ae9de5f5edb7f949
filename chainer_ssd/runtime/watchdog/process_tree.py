"""Processes below this one, as Linux lists them in /proc."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

STOPPED_STATES = {'T': 'stopped', 't': 'stopped by a debugger', 'D': 'in uninterruptible sleep'}


class ProcessFacts(NamedTuple):
    """Some fields of ``/proc/<pid>/stat``."""

    parent: int
    state: str
    #: Clock ticks of processor time.
    ticks: int


def read_process(pid: int) -> ProcessFacts | None:
    """Return the facts of a process, or None if it has ended."""
    try:
        fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return None
    return ProcessFacts(int(fields[1]), fields[0], int(fields[11]) + int(fields[12]))


def list_processes() -> dict[int, ProcessFacts]:
    """Return the facts of all processes, by process id."""
    facts = {int(path.name): read_process(int(path.name)) for path in Path('/proc').glob('[0-9]*')}
    return {pid: each for pid, each in facts.items() if each is not None}


def find_descendants(pid: int) -> list[int]:
    """Return the children of a process, and theirs, from the outermost on."""
    processes = list_processes()
    found, parents = [], [pid]
    while parents:
        parents = [each for each, facts in processes.items() if facts.parent in parents]
        found += parents
    return found


def describe_state(pid: int) -> str | None:
    """Return why a process does not run, or None if it may run or has ended."""
    facts = read_process(pid)
    return None if facts is None else STOPPED_STATES.get(facts.state)
