"""Tells LeakSanitizer, in every program that runs under it, that Python objects are alive.

LeakSanitizer looks for pointers to a block of malloc's on stacks, in globals and in other such
blocks. Objects are in memory that the interpreter's own allocator maps, where it does not look:
whatever only an object refers to would be a leak. So at the end of the program the mapped regions
are made known. A freed object is no root: its memory is marked (see scripts/test_python.sh).

Two kinds of mapped memory are none of that: the sanitizer's own heap (as a root it would hide every
leak) and its shadow (14 TiB of address space, in which it would look for hours).
"""

import atexit


def register_roots() -> None:
    import ctypes

    sanitizer = ctypes.CDLL(None)
    scale, offset = ctypes.c_size_t(), ctypes.c_size_t()
    sanitizer.__asan_get_shadow_mapping(ctypes.byref(scale), ctypes.byref(offset))
    end_of_shadow = offset.value + (1 << 47 >> scale.value)
    with open("/proc/self/maps") as maps:
        for line in maps:
            span, rights, _, _, inode, *_ = line.split()
            start, end = (int(edge, 16) for edge in span.split("-"))
            if rights != "rw-p" or inode != "0":
                continue
            if start < end_of_shadow or start >> 40 in range(0x50, 0x70):
                continue
            sanitizer.__lsan_register_root_region(
                ctypes.c_void_p(start), ctypes.c_size_t(end - start)
            )


atexit.register(register_roots)
