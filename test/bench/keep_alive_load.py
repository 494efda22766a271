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
    begin, sent, data, size = time.monotonic(), under_way, 0, 0
    connection.send(frame(DATA, 0, 1, message * under_way))
    while size == 0 or data < count * size:
        got = connection.read_frame()
        if got is None or got[0] == RST_STREAM or got[0] == HEADERS and got[1] & END_STREAM:
            raise SystemExit(f"the stream ended: {got}")
        if got[0] != DATA or not got[3]:
            continue
        # Nothing changes meanwhile, so all answers have the size of the first: to count them costs next to nothing.
        size = size or 5 + struct.unpack_from(">I", got[3], 1)[0]
        data += len(got[3])
        more = min(data // size + under_way, count) - sent
        if more > 0:
            connection.send(frame(DATA, 0, 1, message * more))
            sent += more
    if data != count * size:
        raise SystemExit(f"{data} bytes, not {count} answers of {size}")
    print(count / (time.monotonic() - begin))


if __name__ == "__main__":
    main()
