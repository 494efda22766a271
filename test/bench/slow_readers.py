#!/usr/bin/env python3
"""Opens connections with a watcher of one range each, says `ready` when all are made, then reads a byte a second of each.

usage: slow_readers.py URL COUNT KEY RANGE_END
"""

import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
from watch_client import Watch, create  # noqa: E402

WINDOW = 2 ** 20
SOCKET_BYTES = 4096


def main():
    url, count, key, end = sys.argv[1:]
    watches = [Watch(url, create(key.encode(), end.encode()), window=WINDOW) for _ in range(int(count))]
    for watch in watches:
        watch.next()
        watch.connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
        watch.connection.socket.setblocking(False)
    print("ready", flush=True)
    while True:
        begin = time.monotonic()
        for watch in watches:
            try:
                if not watch.connection.socket.recv(1):
                    print("closed", flush=True)
            except BlockingIOError:
                pass
        time.sleep(max(0.0, 1 - (time.monotonic() - begin)))


if __name__ == "__main__":
    main()
