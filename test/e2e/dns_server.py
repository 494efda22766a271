"""A DNS server for tests, on a UDP port of the loopback: SRV records and addresses from a table, no such name otherwise."""

import ipaddress
import socket
import struct
import threading

A, AAAA, SRV = 1, 28, 33
NO_SUCH_NAME = 3


def encode_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".")) + b"\0"


class DnsServer:
    """`srv`: name -> [(priority, weight, port, target)]; `hosts`: name -> [address]. Both may change while it serves."""

    def __init__(self, srv=None, hosts=None):
        self.srv = srv or {}
        self.hosts = hosts or {}
        self.asked = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self.socket.getsockname())
        self.thread.join()
        self.socket.close()

    def serve(self):
        while True:
            query, sender = self.socket.recvfrom(4096)
            if not query:
                return
            self.socket.sendto(self.answer(query), sender)

    def answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        name, kind = ".".join(labels), struct.unpack(">H", query[at + 1:at + 3])[0]
        self.asked.append((name, kind))
        records = []
        if kind == SRV:
            for priority, weight, port, target in self.srv.get(name, []):
                records.append(struct.pack(">HHH", priority, weight, port) + encode_name(target))
        else:
            for address in map(ipaddress.ip_address, self.hosts.get(name, [])):
                if (kind == A and address.version == 4) or (kind == AAAA and address.version == 6):
                    records.append(address.packed)
        known = name in self.srv or name in self.hosts
        flags = 0x8580 | (0 if known else NO_SUCH_NAME)
        head = query[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + query[12:at + 5]
        return head + b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(data)) + data for data in records)
