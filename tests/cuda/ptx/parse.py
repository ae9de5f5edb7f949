"""Reads PTX as NVRTC writes it: kernels, their parameters, registers, shared memory, statements."""

import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes
    ----------
    text : str
        The instruction, for messages.
    predicate : str
        The register that decides whether it is executed, or an empty string.
    negated : bool
        Whether it is executed where ``predicate`` is false.
    opcode : tuple of str
        The parts between points, such as ``('add', 'ftz', 'f32')``.
    operands : tuple of str
        As written, such as ``('%f3', '%f2', '0f3F800000')``.
    """

    text: str
    predicate: str
    negated: bool
    opcode: tuple
    operands: tuple

    @property
    def name(self):
        return self.opcode[0]

    @property
    def type(self):
        return self.opcode[-1]


@dataclasses.dataclass(frozen=True)
class Label:
    name: str


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A parameter of a kernel. ``is_pointer`` is True for each 64-bit integer."""

    name: str
    type: str

    @property
    def is_pointer(self):
        return self.type in ('u64', 'b64', 's64')


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel.

    Attributes
    ----------
    name : str
        Its name in the binary.
    parameters : list of Parameter
        In order.
    registers : dict
        Type of the registers of each prefix and their number: ``{'%rd': ('b64', 57)}``.
    shared : dict
        Offset of each static shared variable.
    n_shared_byte : int
        Bytes of all static shared variables.
    statements : list of Instruction or Label
        The body.
    """

    name: str
    parameters: list
    registers: dict
    shared: dict
    n_shared_byte: int
    statements: list


def parse_ptx(text):
    """Return the kernels of a PTX file, and the names of its dynamic shared arrays."""
    text = re.sub(r'//[^\n]*', '', text)
    dynamic = re.findall(r'\.extern \.shared \.align \d+ \.b8 (\w+)\[\];', text)
    entries = re.finditer(r'\.entry (\w+)\s*\(([^)]*)\)[^{]*\{(.*?)\n\}', text, re.S)
    kernels = [_parse_kernel(*entry.groups()) for entry in entries]
    if len(kernels) != text.count('.entry '):
        raise ValueError(f'read {len(kernels)} of {text.count(".entry ")} kernels')
    outside = re.sub(r'\.entry .*?\n\}', '', text, flags=re.S)
    for directive in re.findall(
        r'^\s*\.(?:visible |weak )?\.?(const|global|func)\b', outside, re.M
    ):
        raise ValueError(f'.{directive} is not supported outside of a kernel')
    return kernels, dynamic


def _parse_kernel(name, parameters, body):
    registers = {
        prefix: (type_, int(number))
        for type_, prefix, number in re.findall(r'\.reg \.(\w+)\s+(%[a-z]+)<(\d+)>;', body)
    }
    shared, end = {}, 0
    for align, type_, variable, size in re.findall(
        r'\.shared \.align (\d+) \.(\w+) (\w+)(?:\[(\d+)\])?;', body
    ):
        start = -(-end // int(align)) * int(align)
        shared[variable] = start
        end = start + int(size or 1) * int(type_[1:]) // 8
    if '.local' in body:
        raise ValueError(f'{name} uses local memory: it has a stack frame')
    return Kernel(
        name, list(_parse_parameters(parameters)), registers, shared, end, list(_parse_body(body))
    )


def _parse_parameters(text):
    for parameter in filter(None, map(str.strip, text.split(','))):
        match = re.match(r'\.param \.([usbf]\d+)\s(?:.*\s)?(\w+)$', parameter, re.S)
        if not match:
            raise ValueError(f'parameter {parameter!r} is not supported')
        yield Parameter(match[2], match[1])


def _parse_body(body):
    # Inline assembly stands in braces of its own. Those around vectors follow a comma or a space.
    body = re.sub(r'\{\s*((?:[^;{}]+;\s*)+)\}', r'\1', body)
    for label, statement in re.findall(
        r'(?:^|(?<=[\s;]))(\$\w+):|([^;:{}]*(?:\{[^{}]*\}[^;:{}]*)*(?:::[^;:{}]*)*);', body
    ):
        if label:
            yield Label(label)
        elif not statement.strip().startswith('.'):
            yield _parse_instruction(' '.join(statement.split()))


def _parse_instruction(text):
    match = re.match(r'(?:@(!?)(%\w+) )?([\w.:]+) ?(.*)$', text)
    if not match:
        raise ValueError(f'instruction {text!r} cannot be read')
    negated, predicate, opcode, operands = match.groups()
    # A comma inside of braces or brackets does not separate operands.
    operands = re.findall(r'(?:\{[^}]*\}|\[[^\]]*\]|[^,{\[])+', operands)
    return Instruction(
        text,
        predicate or '',
        bool(negated),
        tuple(opcode.split('.')),
        tuple(operand.strip() for operand in operands),
    )
