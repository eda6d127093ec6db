"""Shared: the memory between the driver and the shim (shim.h), and the names in the extension."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# The build with the shim; `make coverage` has one that counts lines.
BUILD = Path(os.environ.get("TONIO_FAULTS_BUILD", ROOT / "build" / "faults"))

LOG = 65536
FIRED = 16

# The enumeration in shim.h.
MEMORY, SHORT, THREAD, WOKEN, GAI = range(10000, 10005)


class Call(ctypes.Structure):
    _fields_ = (("symbol", ctypes.c_uint32), ("caller", ctypes.c_uint32))


class Fired(ctypes.Structure):
    _fields_ = (
        ("symbol", ctypes.c_uint32),
        ("caller", ctypes.c_uint32),
        ("variant", ctypes.c_uint32),
        ("call", ctypes.c_uint32),
    )


class Faults(ctypes.Structure):
    """As in shim.h."""

    _fields_ = (
        ("armed", ctypes.c_uint64),
        ("count", ctypes.c_uint64),
        ("fail_at", ctypes.c_uint64),
        ("variant", ctypes.c_uint64),
        ("one_in", ctypes.c_uint64),
        ("seed", ctypes.c_uint64),
        ("fired", ctypes.c_uint64),
        ("live_memory", ctypes.c_int64),
        ("live_objects", ctypes.c_int64),
        ("first", Fired * FIRED),
        ("log", Call * LOG),
    )


def new_faults() -> Any:
    """Memory that this process shares with those it forks."""
    return Faults.from_buffer(mmap.mmap(-1, ctypes.sizeof(Faults)))


def extension_path() -> Path:
    (found,) = (BUILD / "src").glob("_core*.so")
    return found


class Extension:
    """The extension with the shim in it, as the linker sees it."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL(str(extension_path()))
        self.library.faults_symbol.restype = ctypes.c_char_p
        self.symbols: list[str] = []
        while (name := self.library.faults_symbol(len(self.symbols))) is not None:
            self.symbols.append(name.decode())
        self.variants: list[list[int]] = []
        for symbol in range(len(self.symbols)):
            ways = []
            while way := self.library.faults_variant(symbol, len(ways)):
                ways.append(way)
            self.variants.append(ways)

    def attach(self, faults: Any) -> None:
        self.library.faults_attach(ctypes.byref(faults))

    def write_coverage(self) -> None:
        self.library.faults_write_coverage()


def way_name(way: int) -> str:
    """How a call fails, in a word."""
    names = {MEMORY: "no memory", SHORT: "short", THREAD: "no thread", WOKEN: "woken"}
    if way > GAI:
        return f"EAI {way - GAI - 100}"
    return names.get(way) or errno.errorcode[way]


_places: dict[int, str] = {}


def place(caller: int) -> str:
    """The line of the source that made a call."""
    if caller not in _places:
        command = ["addr2line", "-s", "-f", "-e", extension_path(), hex(caller - 1)]
        try:
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            function, line = out.split("\n")[:2]
            _places[caller] = f"{line.split(' ')[0]} in {function}"
        except (OSError, subprocess.CalledProcessError):
            _places[caller] = hex(caller)
    return _places[caller]


def describe(extension: Extension, fired: Any) -> str:
    way = extension.variants[fired.symbol][fired.variant]
    name = extension.symbols[fired.symbol]
    return f"call {fired.call}: {name} ({way_name(way)}) at {place(fired.caller)}"


def online() -> int:
    return len(os.sched_getaffinity(0))
