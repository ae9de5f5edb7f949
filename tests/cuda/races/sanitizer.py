"""Builds the kernels with ThreadSanitizer, and runs launches in processes of their own."""

import re
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from tests.functions.fused import emulator

HERE = Path(__file__).parent
#: The exit status of fibers.cpp where threads miss a barrier.
MISSED_BARRIER = 3
FIND_KERNEL = r"""
#include <string>
typedef int Launcher(unsigned int grid, unsigned int block, size_t shared, void** args);
Launcher* find_kernel(const std::string& name) {{
    {cases}
    return nullptr;
}}
"""


class RaceFound(AssertionError):
    """ThreadSanitizer reports that two threads access the same memory without an order."""


class BarrierMissed(AssertionError):
    """Not all threads of a block reach the same barrier."""


def write_source(cuda, names):
    """Return C++ with launchers for the kernels of a CUDA source, which have C names."""
    lines = ['#line 1 "multibox_loss.cu"', emulator.rewrite_shared_arrays(cuda)]
    return '\n'.join([*lines, emulator.ENTRIES, *(f'ENTRY({name})' for name in names)])


def build_program(folder, source, names):
    """Compile C++ with ThreadSanitizer and return the path of the program.

    Parameters
    ----------
    folder : pathlib.Path
        Receives the files. The object of ``fibers.cpp`` in it is used again.
    source : str
        C++ with a launcher for each kernel: of :func:`write_source`, or translated PTX.
    names : sequence of str
        The kernels.
    """
    cases = '\n'.join(f'if (name == "{name}") return launch_{name};' for name in names)
    own_folder = Path(tempfile.mkdtemp(dir=folder))
    program, kernels = own_folder / 'kernels', own_folder / 'kernels.cpp'
    (folder / 'cuda_fp16.h').write_text('', encoding='utf-8')
    kernels.write_text(f'{source}\n{FIND_KERNEL.format(cases=cases)}', encoding='utf-8')
    compiler = ['g++', '-std=c++17', '-O1', '-g1', '-w', '-ffp-contract=off', '-I', folder]
    scheduler = folder / 'fibers.o'
    if not scheduler.exists():
        subprocess.run([*compiler, '-c', HERE / 'fibers.cpp', '-o', scheduler], check=True)
    instrumented = [*compiler, '-fsanitize=thread', '-include', HERE / 'fibers.h']
    subprocess.run([*instrumented, kernels, scheduler, '-o', program], check=True)
    return program


def reason_to_skip():
    """Return why programs with ThreadSanitizer cannot be built or run here, or an empty string."""
    if shutil.which('g++') is None:
        return 'g++ is missing'
    # ThreadSanitizer needs fixed addresses. Some containers do not permit to ask for them.
    if shutil.which('setarch') is None:
        return 'setarch is missing: ThreadSanitizer needs fixed addresses'
    if subprocess.run(['setarch', '-R', 'true'], stderr=subprocess.DEVNULL).returncode:
        return 'setarch -R is not permitted here: ThreadSanitizer needs fixed addresses'
    return ''


def run(program, name, grid, block, shared_mem, args, seed):
    """Run a launch. Arrays receive what the kernel writes.

    Raises
    ------
    RaceFound
        With the lines of the source that race.
    BarrierMissed
        If threads of a block wait at different barriers.
    """
    launch_file, result_file = program.with_name('launch'), program.with_name('result')
    is_array = bytes(isinstance(arg, np.ndarray) for arg in args)
    parts = [name.encode(), struct.pack('<3Q', grid, block, shared_mem), is_array]
    parts += [np.asarray(arg).tobytes() for arg in args]
    launch_file.write_bytes(b''.join(struct.pack('<Q', len(part)) + part for part in parts))
    done = subprocess.run(
        ['setarch', '-R', program, launch_file, result_file, str(seed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={'TSAN_OPTIONS': 'exitcode=0 report_signal_unsafe=0 history_size=7 atexit_sleep_ms=0'},
        timeout=120,
    )
    if 'WARNING: ThreadSanitizer' in done.stdout:
        raise RaceFound(f'{name}: {summarize(done.stdout)}')
    if done.returncode == MISSED_BARRIER:
        raise BarrierMissed(f'{name}: not all threads of a block reach the same barrier')
    assert done.returncode == 0, f'{name}: exit {done.returncode}\n{done.stdout}'
    result, start = result_file.read_bytes(), 0
    for arg in args:
        if isinstance(arg, np.ndarray):
            arg[...] = np.frombuffer(result, arg.dtype, arg.size, start).reshape(arg.shape)
            start += arg.nbytes


def summarize(report):
    """Return the lines of the source that a report of ThreadSanitizer names, innermost first."""
    stacks = report.split('\n\n')
    innermost = [re.search(r'multibox_loss\.cu:(\d+)', stack) for stack in stacks]
    lines = sorted({int(match[1]) for match in innermost if match})
    if not lines:
        return report[:2000]
    return f'data race at line {", ".join(map(str, lines))} of multibox_loss.cu'
