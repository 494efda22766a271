#!/usr/bin/env python3
"""Opens watchers of one range on one connection, says `ready` when all are made, then takes what comes and looks at nothing.

usage: watch_reader.py URL STREAMS WATCHERS_PER_STREAM KEY RANGE_END START_REVISION
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
from raw_grpc import DATA, END_HEADERS, HEADERS, Connection, call_headers, frame, grpc  # noqa: E402
from watch_client import WATCH, create  # noqa: E402

WINDOW = 2 ** 31 - 1


def main():
    url, streams, each, key, end, start = sys.argv[1:]
    connection = Connection(url, window=WINDOW)
    request = grpc(create(key.encode(), end.encode(), revision=int(start)))
    for stream in range(1, 2 * int(streams), 2):
        connection.send(frame(HEADERS, END_HEADERS, stream, call_headers(WATCH)), frame(DATA, 0, stream, request * int(each)))
    made = 0
    while made < int(streams) * int(each):
        kind, _, _, payload = connection.read_frame()
        while kind == DATA and payload:
            payload = payload[5 + int.from_bytes(payload[1:5], "big"):]
            made += 1
    print("ready", flush=True)
    room = bytearray(1 << 20)
    while connection.socket.recv_into(room):
        pass


if __name__ == "__main__":
    main()
