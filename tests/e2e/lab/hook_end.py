# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon's end of the hook's socket, which can misbehave."""
import contextlib
import os
import socket
import struct
import threading
import time

from lab import wait

OPERATIONS = ("other", "prepare", "start", "started", "stopped", "release", "reconnect", "migrate", "restore",
              "attach")


class HookEnd:
    """The daemon's end: records (operation, uuid, wants answer, element, run), answers with `answer`.

    answer: None accepts, a text refuses with it, "silent" says nothing.
    """

    def __init__(self, path, answer=None):
        self.path, self.answer, self.messages, self._held = path, answer, [], []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(path)
        self._socket.listen(128)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            body = self._read(client, struct.unpack("<I", self._read(client, 4))[0])
            version, operation, flags, moment, run, length = struct.unpack_from("<BBBQIH", body)
            assert version == 2
            # on the clock that all processes share, and just now
            assert 0 <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) - moment < 5e9
            uuid, rest = body[17:17 + length].decode(), body[17 + length:]
            length, = struct.unpack_from("<H", rest)
            rest = rest[2 + length:]
            length, = struct.unpack_from("<I", rest)
            element = rest[4:4 + length].decode()
            run = run if flags & 2 else None
            self.messages.append((OPERATIONS[operation], uuid, bool(flags & 1), element, run))
            if self.answer == "silent":
                self._held.append(client)
                continue
            if flags & 1:
                text = (self.answer or "").encode()
                reply = struct.pack("<BBH", 2, self.answer is None, len(text)) + text
                client.sendall(struct.pack("<I", len(reply)) + reply)
            client.close()

    @staticmethod
    def _read(client, length):
        data = b""
        while len(data) < length:
            more = client.recv(length - len(data))
            assert more
            data += more
        return data

    def take(self, *operations):
        """Waits for as many messages, which must be these operations, and returns and forgets them."""
        wait.until(lambda: len(self.messages) >= len(operations), f"messages {operations}", 10)
        taken, self.messages = self.messages, []
        assert [message[0] for message in taken] == list(operations)
        return taken

    def close(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
        for client in self._held:
            client.close()
        os.unlink(self.path)
