"""Tells LeakSanitizer, in every program that runs under it, that Python objects are alive.

LeakSanitizer looks for pointers to a block of malloc's on stacks, in globals and in other such
blocks. Objects are in memory that the interpreter's own allocator maps, where it does not look:
whatever only an object refers to would be a leak. So at the end of the program the mapped regions
are made known. A freed object is no root: its memory is marked (see scripts/test_python.sh).
"""

import atexit


def register_roots() -> None:
    import ctypes

    register = ctypes.CDLL(None).__lsan_register_root_region
    with open("/proc/self/maps") as maps:
        for line in maps:
            span, rights, _, _, inode, *_ = line.split()
            start, end = (int(edge, 16) for edge in span.split("-"))
            # The sanitizer's own heap lies at 0x6...; to take that as a root would hide every leak.
            if rights == "rw-p" and inode == "0" and start >> 40 not in range(0x50, 0x70):
                register(ctypes.c_void_p(start), ctypes.c_size_t(end - start))


atexit.register(register_roots)
