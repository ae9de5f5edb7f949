"""Translates PTX into C++, one instruction into one statement, for the emulator of the tests."""

from pathlib import Path

from tests.cuda.ptx.instructions import REGISTER_TYPES, InstructionTranslator
from tests.cuda.ptx.parse import Instruction, Label, parse_ptx

HERE = Path(__file__).parent
#: The letter of a parameter in the emulator's signatures.
LETTERS = {'u32': 'i', 's32': 'i', 'b32': 'i', 'f64': 'd'}

#: Instructions that all threads of a warp execute together.
CONVERGING = ('shfl', 'vote', 'match', 'bar')


def translate_ptx(text, count=False):
    """Return a C++ source with the functions that the emulator expects of each kernel.

    ``signature_of_NAME()`` returns a letter for each parameter. ``launch_NAME(grid, block, shared,
    args)`` runs the kernel, with pointers to its arguments, as ``cuLaunchKernel`` does.

    With ``count``, ``count.h`` counts how often the warps execute each basic block of a kernel.

    Raises
    ------
    ValueError
        If the PTX has anything that no rule covers. The message shows it.
    """
    kernels, dynamic = parse_ptx(text)
    parts = [f'#include "{HERE / "machine.h"}"']
    if count:
        parts.append(f'#include "{HERE / "count.h"}"')
    for kernel in kernels:
        parts += [_translate_kernel(kernel, dynamic, count), _write_entries(kernel)]
    return '\n'.join(parts)


def find_basic_blocks(kernel):
    """Return the number of the basic block that each statement belongs to.

    A basic block begins at a label and after a branch. A thread executes all of it or nothing.
    """
    numbers, number = [], 0
    for previous, statement in zip([None, *kernel.statements], kernel.statements):
        after_branch = isinstance(previous, Instruction) and previous.name in ('bra', 'ret')
        number += isinstance(statement, Label) or after_branch
        numbers.append(number)
    return numbers


def _translate_kernel(kernel, dynamic, count):
    translator = InstructionTranslator(kernel, dynamic)
    lines = [f'static void {kernel.name}(void** args) {{']
    for prefix, (type_, number) in kernel.registers.items():
        names = ', '.join(f'r_{prefix[1:]}{i}' for i in range(number))
        lines.append(f'{REGISTER_TYPES[type_]} {names};')
    basic_blocks, labels = find_basic_blocks(kernel), set()
    if count:
        lines.append(f'count::begin({basic_blocks[-1] + 1});')
    for previous, basic_block, statement in zip(
        [None, *basic_blocks], basic_blocks, kernel.statements
    ):
        if isinstance(statement, Label):
            labels.add(statement.name)
            lines.append(f'{statement.name.replace("$", "label")}:;')
        if count and basic_block != previous:
            lines.append(f'count::basic_block({basic_block});')
        if isinstance(statement, Instruction):
            line = translator.translate(statement)
            if count and statement.name == 'bra' and statement.operands[0] in labels:
                line = line.replace('goto', 'count::go_back(); goto')
            lines.append(line)
            if count and statement.name in CONVERGING:
                lines.append('count::converge();')
    return '\n'.join([*lines, '}'])


def _write_entries(kernel):
    signature = ''.join(
        'p' if parameter.is_pointer else LETTERS[parameter.type] for parameter in kernel.parameters
    )
    return f"""
extern "C" const char* signature_of_{kernel.name}() {{ return "{signature}"; }}
extern "C" int launch_{kernel.name}(unsigned grid, unsigned block, size_t shared, void** args) {{
    return emulator::launch(grid, block, shared, [=] {{ {kernel.name}(args); }});
}}"""
