"""Translates one PTX instruction into one C++ statement. ``machine.h`` has the functions used.

The source of each rule is NVIDIA's "Parallel Thread Execution ISA", version 9. An instruction
without a rule raises :class:`UnknownInstruction`: a wrong guess would prove nothing.
"""

import re

C_TYPES = {
    **{name: name for name in ('u8', 'u16', 'u32', 'u64', 's8', 's16', 's32', 's64')},
    **{name: name for name in ('f16', 'f32', 'f64')},
    **{f'b{bits}': f'u{bits}' for bits in (8, 16, 32, 64)},
    'pred': 'bool',
}
REGISTER_TYPES = {'pred': 'bool'}
REGISTER_TYPES.update({f'{kind}{bits}': f'u{bits}' for kind in 'bsuf' for bits in (16, 32, 64)})

SPECIAL_REGISTERS = {
    '%tid.x': 'threadIdx.x',
    '%ntid.x': 'blockDim.x',
    '%ctaid.x': 'blockIdx.x',
    '%nctaid.x': 'gridDim.x',
}
ARITHMETIC = {'add': '{} + {}', 'sub': '{} - {}', 'mul': '{} * {}', 'div': '{} / {}'}
BITWISE = {'and': '&', 'or': '|', 'xor': '^'}
COMPARISONS = {'eq': '==', 'ne': '!=', 'lt': '<', 'le': '<=', 'gt': '>', 'ge': '>='}
COMPARISONS.update({'lo': '<', 'ls': '<=', 'hi': '>', 'hs': '>='})
ROUNDINGS = {'rni': 'nearbyint', 'rzi': 'trunc', 'rmi': 'floor', 'rpi': 'ceil'}
ATOMICS = {
    'add': 'old + x',
    'min': 'ptx_min(old, x)',
    'max': 'ptx_max(old, x)',
    'and': 'old & x',
    'or': 'old | x',
    'exch': 'x',
}


class UnknownInstruction(ValueError):
    """An instruction that has no rule here."""


class InstructionTranslator:
    """The rules, for the registers and the shared variables of one kernel.

    Parameters
    ----------
    kernel : Kernel
        The kernel, as :func:`tests.cuda.ptx.parse.parse_ptx` returns it.
    dynamic : list of str
        Names of dynamic shared arrays.
    """

    def __init__(self, kernel, dynamic):
        self.kernel = kernel
        self.parameters = {parameter.name: parameter for parameter in kernel.parameters}
        self.shared = {name: str(offset) for name, offset in kernel.shared.items()}
        self.shared.update({name: 'DYNAMIC_OFFSET' for name in dynamic})

    def translate(self, instruction):
        """Return a C++ statement."""
        rule = getattr(self, f'_{instruction.name}', None)
        if rule is None:
            raise UnknownInstruction(f'{instruction.text}: no rule for {instruction.name!r}')
        try:
            statement = rule(instruction)
        except (KeyError, IndexError, TypeError) as error:
            raise UnknownInstruction(f'{instruction.text}: {error!r}') from error
        if not instruction.predicate:
            return f'{{ {statement} }}'
        condition = self._register(instruction.predicate)
        return f'if ({"!" if instruction.negated else ""}{condition}) {{ {statement} }}'

    # Operands

    def _register_type(self, operand):
        match = re.match(r'(%[a-z]+)\d+$', operand)
        if match is None or match[1] not in self.kernel.registers:
            raise UnknownInstruction(f'{operand!r} is not a register')
        return REGISTER_TYPES[self.kernel.registers[match[1]][0]]

    def _register(self, operand):
        self._register_type(operand)
        return f'r_{operand[1:]}'  # without r_, a register could have the name of a type

    def _value(self, operand, type_):
        """Return the value of a register, a number or an address, as the type of PTX has it."""
        c_type = C_TYPES[type_]
        if operand in SPECIAL_REGISTERS:
            return f'({c_type}){SPECIAL_REGISTERS[operand]}'
        if operand.startswith('%'):
            if self._register_type(operand) == 'bool':
                return self._register(operand)
            return f'read<{c_type}>({self._register(operand)})'
        if re.match(r'0[fF][0-9A-Fa-f]{8}$', operand):
            return f'read<{c_type}>((u32)0x{operand[2:]}u)'
        if re.match(r'0[dD][0-9A-Fa-f]{16}$', operand):
            return f'read<{c_type}>((u64)0x{operand[2:]}ull)'
        if operand in self.shared:
            return f'({c_type}){self.shared[operand]}'
        if re.match(r'-?(\d+|0x[0-9a-fA-F]+)U?$', operand):
            return f'({c_type}){operand.rstrip("U")}ll'
        raise UnknownInstruction(f'operand {operand!r}')

    def _assign(self, operand, type_, expression):
        register = self._register_type(operand)
        if register == 'bool':
            return f'{self._register(operand)} = {expression};'
        value = f'({C_TYPES[type_]})({expression})'
        return f'{self._register(operand)} = write<{register}>({value});'

    def _inputs(self, instruction, type_=None):
        """Return the values of all operands but the first. ``.ftz`` flushes those of float32."""
        type_ = type_ or instruction.type
        values = [self._value(operand, type_) for operand in instruction.operands[1:]]
        flush = 'ftz' in instruction.opcode and type_ == 'f32'
        return [f'ftz({value})' for value in values] if flush else values

    def _result(self, instruction, expression, type_=None):
        type_ = type_ or instruction.type
        if 'ftz' in instruction.opcode and type_ == 'f32':
            expression = f'ftz({expression})'
        return self._assign(instruction.operands[0], type_, expression)

    def _address(self, operand, instruction, n_byte):
        base, offset = re.match(r'\[\s*([%\w$]+)\s*(?:\+\s*(-?\w+))?\s*\]$', operand).groups()
        if 'shared' in instruction.opcode:
            place = f'{self._value(base, "u32")} + (u32){offset or 0}'
            return f'shared_address({place}, {n_byte}, {self.kernel.n_shared_byte})'
        if 'global' in instruction.opcode:
            return f'global_address({self._value(base, "u64")} + (u64)({offset or 0}), {n_byte})'
        raise UnknownInstruction(f'{instruction.text}: only shared and global memory are supported')

    # Moves

    def _mov(self, instruction):
        target, source = instruction.operands
        if target.startswith('{'):
            bits = int(instruction.type[1:]) // 2
            halves = [half.strip() for half in target[1:-1].split(',')]
            parts = [
                self._assign(half, f'b{bits}', f'whole >> {i * bits}')
                for i, half in enumerate(halves)
                if half not in ('_', '%temp')
            ]
            return f'u64 whole = {self._value(source, instruction.type)}; {" ".join(parts)}'
        if source.startswith('{'):
            bits = int(instruction.type[1:]) // 2
            low, high = (self._value(half.strip(), f'b{bits}') for half in source[1:-1].split(','))
            return self._assign(target, instruction.type, f'(u64){low} | (u64){high} << {bits}')
        return self._assign(target, instruction.type, self._value(source, instruction.type))

    def _cvta(self, instruction):
        if 'global' not in instruction.opcode:
            raise UnknownInstruction(f'{instruction.text}: generic addresses are global here')
        return self._result(instruction, self._inputs(instruction)[0])

    def _ld(self, instruction):
        target, source = instruction.operands
        if 'param' in instruction.opcode:
            name = re.match(r'\[(\w+)\]$', source)[1]
            type_ = self.parameters[name].type
            if type_[1:] != instruction.type[1:]:
                raise UnknownInstruction(f'{instruction.text}: the parameter is {type_}')
            value = (
                f'*(const {C_TYPES[instruction.type]}*)args[{list(self.parameters).index(name)}]'
            )
            return self._assign(target, instruction.type, value)
        c_type = C_TYPES[instruction.type]
        targets = self._split_vector(target, instruction)
        address = self._address(source, instruction, self._n_byte(instruction, targets))
        is_volatile = str('volatile' in instruction.opcode).lower()
        loads = [
            self._assign(register, instruction.type, f'load<{c_type}, {is_volatile}>(p + {i})')
            for i, register in enumerate(targets)
        ]
        return f'const {c_type}* p = (const {c_type}*){address}; {" ".join(loads)}'

    def _st(self, instruction):
        target, source = instruction.operands
        c_type = C_TYPES[instruction.type]
        sources = self._split_vector(source, instruction)
        address = self._address(target, instruction, self._n_byte(instruction, sources))
        stores = [
            f'*(volatile {c_type}*)(p + {i}) = {self._value(register, instruction.type)};'
            for i, register in enumerate(sources)
        ]
        return f'{c_type}* p = ({c_type}*){address}; {" ".join(stores)}'

    @staticmethod
    def _split_vector(operand, instruction):
        registers = operand.strip('{}').split(',')
        wanted = {'v2': 2, 'v4': 4}.get(instruction.opcode[-2], 1)
        if len(registers) != wanted:
            raise UnknownInstruction(f'{instruction.text}: {len(registers)} elements')
        return [register.strip() for register in registers]

    @staticmethod
    def _n_byte(instruction, elements):
        return len(elements) * int(instruction.type[1:]) // 8

    # Arithmetic

    def _add(self, instruction):
        unsigned = {'s': 'u'}.get(instruction.type[0], instruction.type[0]) + instruction.type[1:]
        return self._result(
            instruction,
            ARITHMETIC[instruction.name].format(*self._inputs(instruction, unsigned)),
        )

    _sub = _add

    def _mul(self, instruction, extra=''):
        factors = self._inputs(instruction)[:2]
        if 'wide' in instruction.opcode:
            type_ = instruction.type[0] + str(2 * int(instruction.type[1:]))
            if extra:
                extra = f' + {self._value(instruction.operands[3], type_)}'
            product = ' * '.join(f'({C_TYPES[type_]}){factor}' for factor in factors)
            return self._result(instruction, product + extra, type_)
        if 'hi' in instruction.opcode:
            high = f'multiply_high<{C_TYPES[instruction.type]}>({", ".join(factors)})'
            return self._result(instruction, high + extra)
        if instruction.type[0] in 'us':
            factors = [f'(u64){factor}' for factor in factors]
        return self._result(instruction, ' * '.join(factors) + extra)

    def _mad(self, instruction):
        return self._mul(instruction, f' + {self._inputs(instruction)[2]}')

    def _div(self, instruction):
        if 'approx' in instruction.opcode:
            raise UnknownInstruction(f'{instruction.text}: an approximation')
        return self._result(instruction, '{} / {}'.format(*self._inputs(instruction)))

    def _rem(self, instruction):
        return self._result(instruction, '{} % {}'.format(*self._inputs(instruction)))

    def _fma(self, instruction):
        function = {'rn': 'fmaf' if instruction.type == 'f32' else 'fma', 'rm': 'fma_down'}
        if instruction.type == 'f64' and 'rm' in instruction.opcode:
            raise UnknownInstruction(f'{instruction.text}: rounds down')
        arguments = ', '.join(self._inputs(instruction))
        return self._result(instruction, f'{function[instruction.opcode[1]]}({arguments})')

    def _neg(self, instruction):
        return self._result(instruction, f'-{self._inputs(instruction)[0]}')

    def _abs(self, instruction):
        function = 'fabs' if instruction.type[0] == 'f' else 'llabs'
        return self._result(instruction, f'{function}({self._inputs(instruction)[0]})')

    def _max(self, instruction):
        c_type = C_TYPES[instruction.type]
        arguments = ', '.join(self._inputs(instruction))
        return self._result(instruction, f'ptx_{instruction.name}<{c_type}>({arguments})')

    _min = _max

    def _ex2(self, instruction):
        if instruction.opcode != ('ex2', 'approx', 'ftz', 'f32'):
            raise UnknownInstruction(instruction.text)
        return self._result(instruction, f'exp2f({self._inputs(instruction)[0]})')

    def _rcp(self, instruction):
        if instruction.opcode != ('rcp', 'approx', 'ftz', 'f64'):
            raise UnknownInstruction(instruction.text)
        return self._result(
            instruction, f'reciprocal_of_upper_half({self._inputs(instruction)[0]})'
        )

    # Comparisons and bits

    def _setp(self, instruction):
        if len(instruction.operands) != 3:
            raise UnknownInstruction(f'{instruction.text}: combined predicates')
        a, b = self._inputs(instruction)
        comparison = instruction.opcode[1]
        unordered = f'{a} != {a} || {b} != {b}'
        if comparison == 'nan':
            expression = unordered
        elif comparison == 'num':
            expression = f'!({unordered})'
        elif instruction.type[0] == 'f' and comparison.endswith('u'):
            expression = f'{unordered} || {a} {COMPARISONS[comparison[:-1]]} {b}'
        elif instruction.type[0] == 'f':  # false where either number is a NaN, also for `ne`
            expression = f'!({unordered}) && {a} {COMPARISONS[comparison]} {b}'
        else:
            expression = f'{a} {COMPARISONS[comparison]} {b}'
        return f'{self._register(instruction.operands[0])} = {expression};'

    def _selp(self, instruction):
        target, a, b, predicate = instruction.operands
        a, b = (self._value(operand, instruction.type) for operand in (a, b))
        return self._assign(target, instruction.type, f'{self._register(predicate)} ? {a} : {b}')

    def _and(self, instruction):
        operator = f' {BITWISE[instruction.name]} '
        return self._result(instruction, operator.join(self._inputs(instruction)))

    _or = _xor = _and

    def _not(self, instruction):
        operator = '!' if instruction.type == 'pred' else '~'
        return self._result(instruction, f'{operator}{self._inputs(instruction)[0]}')

    def _shl(self, instruction):
        target, value, places = instruction.operands
        function = {'shl': 'shift_left', 'shr': 'shift_right'}[instruction.name]
        value, places = self._value(value, instruction.type), self._value(places, 'u32')
        return self._assign(
            target,
            instruction.type,
            f'{function}<{C_TYPES[instruction.type]}>({value}, {places})',
        )

    _shr = _shl

    def _bfi(self, instruction):
        target, a, b, position, length = instruction.operands
        values = [self._value(operand, instruction.type) for operand in (a, b)]
        values += [self._value(operand, 'u32') for operand in (position, length)]
        return self._assign(
            target,
            instruction.type,
            f'insert_bits<{C_TYPES[instruction.type]}>({", ".join(values)})',
        )

    def _popc(self, instruction):
        bits = self._value(instruction.operands[1], instruction.type)
        return self._assign(instruction.operands[0], 'u32', f'__builtin_popcountll({bits})')

    def _brev(self, instruction):
        if instruction.type != 'b32':
            raise UnknownInstruction(instruction.text)
        return self._result(instruction, f'reverse_bits({self._inputs(instruction)[0]})')

    def _bfind(self, instruction):
        if instruction.opcode != ('bfind', 'shiftamt', 'u32'):
            raise UnknownInstruction(instruction.text)
        return self._result(instruction, f'shift_of_highest_bit({self._inputs(instruction)[0]})')

    def _cvt(self, instruction):
        to, source = instruction.opcode[-2:]
        value = self._value(instruction.operands[1], source)
        if 'ftz' in instruction.opcode and source == 'f32':
            value = f'ftz({value})'
        for rounding in ROUNDINGS.keys() & set(instruction.opcode):
            value = f'{ROUNDINGS[rounding]}({value})'
        if {'rm', 'rp', 'rz'} & set(instruction.opcode):
            raise UnknownInstruction(f'{instruction.text}: rounds to one side')
        if source[0] == 'f' and to[0] in 'us':
            value = f'to_integer<{C_TYPES[to]}>({value})'
        if 'sat' in instruction.opcode:
            if to[0] != 'f':
                raise UnknownInstruction(f'{instruction.text}: saturates an integer')
            value = f'ptx_min<{to}>(ptx_max<{to}>({value}, 0), 1)'  # a NaN becomes 0
        if 'ftz' in instruction.opcode and to == 'f32':
            value = f'ftz(({to})({value}))'
        return self._assign(instruction.operands[0], to, value)

    # Threads together

    def _shfl(self, instruction):
        kind = instruction.opcode[2].upper()
        register, _, predicate = instruction.operands[0].partition('|')
        value = self._value(instruction.operands[1], 'b32')
        places, clamp = (self._value(operand, 'u32') for operand in instruction.operands[2:4])
        report = f' {self._register(predicate)} = is_inside;' if predicate else ''
        shuffle = f'shuffle<{kind}>({value}, {places}, {clamp}, is_inside)'
        return f'bool is_inside; {self._assign(register, "b32", shuffle)}{report}'

    def _vote(self, instruction):
        kind, value = instruction.opcode[2:], self._value(instruction.operands[1], 'pred')
        if kind == ('any', 'pred'):
            return f'{self._register(instruction.operands[0])} = __any_sync(~0u, {value});'
        if kind == ('ballot', 'b32'):
            return self._assign(instruction.operands[0], 'b32', f'__ballot_sync(~0u, {value})')
        raise UnknownInstruction(instruction.text)

    def _match(self, instruction):
        if instruction.opcode != ('match', 'any', 'sync', 'b32'):
            raise UnknownInstruction(instruction.text)
        value = self._value(instruction.operands[1], 's32')
        return self._assign(instruction.operands[0], 'b32', f'__match_any_sync(~0u, {value})')

    def _atom(self, instruction):
        operation = next(part for part in instruction.opcode if part in ATOMICS)
        c_type = C_TYPES[instruction.type]
        target, place, operand = ('', *instruction.operands)[-3:]
        address = self._address(place, instruction, int(instruction.type[1:]) // 8)
        keep = self._assign(target, instruction.type, 'before') if target not in ('', '_') else ''
        return (
            f'{c_type} x = {self._value(operand, instruction.type)}, '
            f'before = update_atomically(({c_type}*){address}, '
            f'[=]({c_type} old) {{ return ({c_type})({ATOMICS[operation]}); }}); {keep}'
        )

    _red = _atom

    def _bar(self, instruction):
        if instruction.operands != ('0',):
            raise UnknownInstruction(f'{instruction.text}: a barrier of some threads')
        return '__syncthreads();'

    def _membar(self, instruction):
        return '__threadfence();'

    _fence = _membar

    def _bra(self, instruction):
        return f'goto {instruction.operands[0].replace("$", "label")};'

    def _ret(self, instruction):
        return 'return;'
