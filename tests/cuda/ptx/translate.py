"""Translates PTX into C++, one instruction into one statement, for the emulator of the tests."""

from pathlib import Path

from tests.cuda.ptx.instructions import REGISTER_TYPES, InstructionTranslator
from tests.cuda.ptx.parse import Label, parse_ptx

HERE = Path(__file__).parent
#: The letter of a parameter in the emulator's signatures.
LETTERS = {'u32': 'i', 's32': 'i', 'b32': 'i', 'f64': 'd'}


def translate_ptx(text):
    """Return a C++ source with the functions that the emulator expects of each kernel.

    ``signature_of_NAME()`` returns a letter for each parameter. ``launch_NAME(grid, block, shared,
    args)`` runs the kernel, with pointers to its arguments, as ``cuLaunchKernel`` does.

    Raises
    ------
    ValueError
        If the PTX has anything that no rule covers. The message shows it.
    """
    kernels, dynamic = parse_ptx(text)
    parts = [f'#include "{HERE / "machine.h"}"']
    for kernel in kernels:
        parts += [_translate_kernel(kernel, dynamic), _write_entries(kernel)]
    return '\n'.join(parts)


def _translate_kernel(kernel, dynamic):
    translator = InstructionTranslator(kernel, dynamic)
    lines = [f'static void {kernel.name}(void** args) {{']
    for prefix, (type_, number) in kernel.registers.items():
        names = ', '.join(f'r_{prefix[1:]}{i}' for i in range(number))
        lines.append(f'{REGISTER_TYPES[type_]} {names};')
    for statement in kernel.statements:
        if isinstance(statement, Label):
            lines.append(f'{statement.name.replace("$", "label")}:;')
        else:
            lines.append(translator.translate(statement))
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
