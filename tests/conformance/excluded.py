"""Tests of CPython's test_socket that are not run, and why: regular expressions of their names."""

ADAPTER = "about the objects of the standard module, which the adapter replaces"
NEVER_BLOCKS = "the descriptor of a TonIO socket never blocks: its flag does not follow the timeout"
TEXT = "compares the text of an error, which is TonIO's own"
NO_VSOCK = "needs the kernel module vsock_loopback"

EXCLUDED: dict[str, str] = {
    r"GeneralModuleTests\.test_csocket_repr": ADAPTER,
    r"GeneralModuleTests\.test_dealloc_warn": ADAPTER,
    r"GeneralModuleTests\.test_socket_type": ADAPTER,
    r"GeneralModuleTests\.testRefCountGetNameInfo": ADAPTER,
    r"GeneralModuleTests\.test__sendfile_use_sendfile": ADAPTER,
    r"GeneralModuleTests\.testSendtoErrors": TEXT,
    r"NonBlockingTCPTests\.testSetBlocking": NEVER_BLOCKS,
    r"NonBlockingTCPTests\.testInitNonBlocking": NEVER_BLOCKS,
    r"NonblockConstantTest\.test_SOCK_NONBLOCK": NEVER_BLOCKS,
    r"TestExceptions\.test_setblocking_invalidfd": NEVER_BLOCKS,
    r"ThreadedVSOCKSocketStreamTest": NO_VSOCK,
}
