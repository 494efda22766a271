#!/usr/bin/env python3
"""Renews one lease over one stream, so many requests under way; prints renewals/s.

usage: keep_alive_load.py URL LEASE COUNT UNDER_WAY
"""

import struct
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
from raw_grpc import (DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, Connection, call_headers, field, frame,  # noqa: E402
                      grpc)


def main():
    url, lease, count, under_way = sys.argv[1], *map(int, sys.argv[2:])
    connection = Connection(url, window=2 ** 30)
    connection.send(frame(HEADERS, END_HEADERS, 1, call_headers("/etcdserverpb.Lease/LeaseKeepAlive")))
    message = grpc(field(1, lease))
    begin, sent, answered, data = time.monotonic(), under_way, 0, b""
    connection.send(frame(DATA, 0, 1, message * under_way))
    while answered < count:
        got = connection.read_frame()
        if got is None or got[0] == RST_STREAM or got[0] == HEADERS and got[1] & END_STREAM:
            raise SystemExit(f"the stream ended: {got}")
        if got[0] != DATA:
            continue
        data += got[3]
        at, before = 0, answered
        while at + 5 <= len(data) and at + 5 + (size := struct.unpack_from(">I", data, at + 1)[0]) <= len(data):
            at, answered = at + 5 + size, answered + 1
        data = data[at:]
        more = min(answered - before, count - sent)
        if more > 0:
            connection.send(frame(DATA, 0, 1, message * more))
            sent += more
    print(count / (time.monotonic() - begin))


if __name__ == "__main__":
    main()
