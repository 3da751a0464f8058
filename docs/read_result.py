"""Read a result file with nothing but numpy: no unpickler, and none of this package. Written from format.md alone."""

import gzip
import json
import struct
import sys
import zlib

import numpy as np


def content_of(path):
    """Return the bytes of the result file *path*, decompressed."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:2] == b"\x1f\x8b":
        return gzip.decompress(data)  # it checks the CRC and the length at the end of each member
    if data[:4] == b"\x28\xb5\x2f\xfd":
        try:
            from compression import zstd  # Python 3.14
        except ImportError:
            from backports import zstd
        return zstd.decompress(data)
    return data


def checked_card(data):
    """Return the card of the content *data*, or None where another program wrote it."""
    if len(data) < 28 or data[-28:-20] != b"\x89NLP\r\n\x1a\n":
        return None
    pickle_size, card_size, whole, structure = struct.unpack("<QIII", data[-20:])
    if pickle_size + card_size + 28 != len(data) or zlib.crc32(data[:-8]) != whole:
        raise ValueError("the file is damaged")
    card = json.loads(data[pickle_size : pickle_size + card_size])
    found, at = 0, 0
    for _, start, size, *_ in card.get("arrays", []):
        found, at = zlib.crc32(data[at:start], found), start + size
    if zlib.crc32(data[at:-8], found) != structure:
        raise ValueError("the file is damaged")
    return card


def read_result(path):
    """Return the fields of the result file *path*, by name."""
    data = content_of(path)
    checked_card(data)
    return run(data)


class Pending:
    """What is made in two steps: a call, and the state that follows. A dtype, an array of older files, an instance."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def built(self, state):
        if isinstance(state, dict):  # the oldest files hold the instance: its attributes are the fields
            return state
        if isinstance(state[1], str):  # a dtype: its byte order
            return np.dtype(self.arguments[0]).newbyteorder(state[1])
        _, shape, dtype, fortran, content = state
        return np.ndarray(shape, dtype, bytearray(content), order="F" if fortran else "C")


def from_buffer(data, dtype, shape, order, axes=None):
    """Make an array as numpy itself writes it in protocol 5."""
    flat = np.frombuffer(data, dtype)
    return flat.reshape(shape).transpose(axes) if order == "K" else flat.reshape(shape, order=order)


CALLS = {
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": Pending,
    "numpy._core.multiarray._reconstruct": Pending,
    "numpy._core.multiarray.scalar": lambda dtype, data: np.frombuffer(data, dtype)[0],
    "numpy._core.numeric._frombuffer": from_buffer,
}
LENGTHS = {0x8C: "<B", 0x58: "<I", 0x8D: "<Q", 0x43: "<B", 0x42: "<I", 0x8E: "<Q", 0x96: "<Q", 0x8A: "<B"}
NUMBERS = {0x4B: "<B", 0x4D: "<H", 0x4A: "<i", 0x47: ">d", 0x68: "<B", 0x6A: "<I", 0x80: "<B", 0x95: "<Q"}
CONSTANTS = {
    0x4E: lambda: None,
    0x88: lambda: True,
    0x89: lambda: False,
    0x7D: dict,
    0x5D: list,
    0x29: tuple,
    0x8F: set,
}


def run(data):
    """Run the opcodes of the pickle *data*; return what is on the stack at its end."""
    at, stack, marks, memo = 0, [], [], {}
    while True:
        opcode = data[at]
        at += 1
        if opcode in CONSTANTS:
            stack.append(CONSTANTS[opcode]())
        elif opcode in LENGTHS:  # text, bytes, a bytearray or a long integer, after its length
            (size,) = struct.unpack_from(LENGTHS[opcode], data, at)
            at += struct.calcsize(LENGTHS[opcode])
            value, at = data[at : at + size], at + size
            if opcode in {0x8C, 0x58, 0x8D}:
                value = value.decode("utf-8", "surrogatepass")
            elif opcode == 0x96:
                value = bytearray(value)
            elif opcode == 0x8A:
                value = int.from_bytes(value, "little", signed=True)
            stack.append(value)
        elif opcode in NUMBERS:
            (value,) = struct.unpack_from(NUMBERS[opcode], data, at)
            at += struct.calcsize(NUMBERS[opcode])
            if opcode in {0x68, 0x6A}:
                value = memo[value]
            if opcode not in {0x80, 0x95}:  # the protocol, the size of a frame
                stack.append(value)
        elif opcode == 0x94:  # MEMOIZE
            memo[len(memo)] = stack[-1]
        elif opcode == 0x30:  # POP
            stack.pop()
        elif opcode == 0x28:  # MARK
            marks.append(stack)
            stack = []
        elif opcode in {0x75, 0x65, 0x90, 0x74, 0x91}:  # SETITEMS, APPENDS, ADDITEMS, TUPLE, FROZENSET
            items, stack = stack, marks.pop()
            if opcode == 0x75:
                stack[-1].update(zip(items[::2], items[1::2], strict=True))
            elif opcode == 0x65:
                stack[-1].extend(items)
            elif opcode == 0x90:
                stack[-1].update(items)
            else:
                stack.append(tuple(items) if opcode == 0x74 else frozenset(items))
        elif opcode in {0x85, 0x86, 0x87}:  # TUPLE1, 2, 3
            count = opcode - 0x84
            stack[-count:] = [tuple(stack[-count:])]
        elif opcode == 0x73:  # SETITEM
            value, key = stack.pop(), stack.pop()
            stack[-1][key] = value
        elif opcode == 0x61:  # APPEND
            value = stack.pop()
            stack[-1].append(value)
        elif opcode == 0x93:  # STACK_GLOBAL
            name, module = stack.pop(), stack.pop()
            stack.append(f"{module}.{name}".replace("numpy.core.", "numpy._core."))
        elif opcode in {0x52, 0x81}:  # REDUCE, NEWOBJ
            arguments, called = stack.pop(), stack.pop()
            if opcode == 0x81:
                stack.append(Pending())
            elif called in CALLS:
                stack.append(CALLS[called](*arguments))
            else:
                stack.append(
                    (called, *arguments)
                )  # of a class that only Python knows: its name, and what it is made of
        elif opcode == 0x62:  # BUILD
            state, pending = stack.pop(), stack.pop()
            stack.append(pending.built(state))
            memo = {place: stack[-1] if value is pending else value for place, value in memo.items()}
        elif opcode == 0x2E:  # STOP
            return stack.pop()
        else:
            raise ValueError(f"the opcode {opcode:#04x} at byte {at - 1} is none that this reader knows")


if __name__ == "__main__":
    card = checked_card(content_of(sys.argv[1])) or {}
    units, keys = card.get("units", {}), card.get("key_names", [])
    if card.get("class", [""])[-1]:
        print("class:", ".".join(card["class"]))
    if card.get("packages"):
        print("objects of:", ", ".join(f"{name} {version}".strip() for name, version in card["packages"].items()))
    for name, value in read_result(sys.argv[1]).items():
        print(f"{name}{' (key)' if name in keys else ''}: {value!r} {units.get(name, '')}".rstrip())
