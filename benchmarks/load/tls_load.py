"""A load of TLS on an echo server: blocking sockets of the standard library, a thread for each.

    python tls_load.py PORT PID CONNECTIONS SIZE SECONDS

When all are connected each sends so many bytes and waits until they have come back, over and over.
Prints one line of JSON: the number of these requests, the seconds they took, the CPU time that the
process PID took meanwhile, and percentiles of the latency.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
import threading
import time
from pathlib import Path


def connect(port: int) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(plain)


def client(sock: ssl.SSLSocket, size: int, end: float, latencies: list[float]) -> None:
    message, room = b"x" * size, bytearray(size)
    with sock:
        while (begin := time.perf_counter()) < end:
            sock.sendall(message)
            left = memoryview(room)
            while left:
                count = sock.recv_into(left)
                if count == 0:
                    raise EOFError("the server has closed the connection")
                left = left[count:]
            latencies.append(time.perf_counter() - begin)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    port, pid, connections, size = map(int, sys.argv[1:5])
    seconds = float(sys.argv[5])
    sockets = [connect(port) for _ in range(connections)]
    latencies: list[list[float]] = [[] for _ in sockets]
    begin, before = time.perf_counter(), cpu_seconds(pid)
    threads = [
        threading.Thread(target=client, args=(sock, size, begin + seconds, own))
        for sock, own in zip(sockets, latencies, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, used = time.perf_counter() - begin, cpu_seconds(pid) - before
    ordered = sorted(latency for own in latencies for latency in own)
    if not all(latencies):
        raise SystemExit("tls_load: a connection has not had a single answer")
    result = {"requests": len(ordered), "seconds": took, "server_cpu_seconds": used}
    for name, part in (("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999)):
        result[name] = ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1e6
    result["requests_per_second"] = len(ordered) / took
    print(json.dumps(result))


if __name__ == "__main__":
    main()
