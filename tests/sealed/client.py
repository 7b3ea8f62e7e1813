"""A client of the hub that speaks sealed, in Python.

Owns: the sealed frame as PROTOCOL.md has it, written from the specification with PyPI's `cryptography`. Refuses to know: the hub's own code.

    client.py ADDRESS ROOM KEY_ID KEY_FILE    joins, says something, prints what is said next, leaves
    client.py --vectors                       prints the vectors that the tests have
"""

import base64
import json
import os
import socket
import struct
import sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def seal(key, key_id, side, text, nonce):
    beside = bytes([1, key_id]) + side
    return bytes([1, key_id]) + nonce + AESGCM(key).encrypt(nonce, text, beside)


def unseal(key, key_id, side, frame):
    assert frame[:2] == bytes([1, key_id])
    return AESGCM(key).decrypt(frame[2:14], frame[14:], bytes([1, key_id]) + side)


class Hub:
    def __init__(self, address, key_id, key):
        host, port = address.rsplit(":", 1)
        self.key_id, self.key = key_id, key
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        nonce = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((
            f"GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {nonce}\r\n\r\n").encode())
        self.input = self.socket.makefile("rb")
        assert self.input.readline().startswith(b"HTTP/1.1 101 ")
        while self.input.readline() != b"\r\n":
            pass

    def send(self, message):
        frame = seal(self.key, self.key_id, b"c", json.dumps(message).encode(), os.urandom(12))
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[n % 4] for n, byte in enumerate(frame))
        self.socket.sendall(struct.pack("!BBH", 0x82, 0x80 | 126, len(frame)) + mask + masked)

    def receive(self):
        first, length = self.input.read(2)
        assert first == 0x82, hex(first)
        if length == 126:
            length, = struct.unpack("!H", self.input.read(2))
        elif length == 127:
            length, = struct.unpack("!Q", self.input.read(8))
        return json.loads(unseal(self.key, self.key_id, b"h", self.input.read(length)))


def talk(address, room, key_id, key_file):
    with open(key_file, "rb") as file:
        hub = Hub(address, int(key_id), file.read())
    member = {"id": "python", "personName": "Python"}
    hub.send({"msgType": 2, "textData": {"dataType": 1, "data": {"from": member, "roomNumber": room}}})
    assert hub.receive()["msg"] == "Join successfully"
    say = {"roomNumber": room, "content": "你好 from Python"}
    hub.send({"msgType": 3, "textData": {"dataType": 3, "data": say}})
    assert hub.receive()["resultBody"]["textData"]["data"]["content"] == say["content"]
    print(hub.receive()["resultBody"]["textData"]["data"]["content"], flush=True)
    hub.send({"msgType": 3, "textData": {"dataType": 2, "data": {"roomNumber": room}}})
    assert hub.receive()["msg"] == "Leave successfully"


def vectors():
    cases = [
        (0, b"c", b""),
        (0, b"h", b'{"msgType":1}'),
        (1, b"c", "老师好".encode()),
        (1, b"h", bytes(range(256))),
        (127, b"c", b"x" * 15),
        (255, b"h", b"y" * 16),
        (255, b"c", b"z" * 1000),
    ]
    made = []
    for n, (key_id, side, text) in enumerate(cases):
        key, nonce = bytes([n * 17 + 1] * 31 + [n]), bytes([200 + n] * 11 + [n])
        frame = seal(key, key_id, side, text, nonce)
        made.append({"id": key_id, "side": side.decode(), "key": key.hex(), "nonce": nonce.hex(),
                     "text": text.hex(), "frame": frame.hex()})
    print(json.dumps(made, indent=1))


if __name__ == "__main__":
    vectors() if sys.argv[1:] == ["--vectors"] else talk(*sys.argv[1:])
