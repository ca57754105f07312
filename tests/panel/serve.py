# SPDX-License-Identifier: LGPL-2.1-or-later
"""serve.py NAME ADDRESS PORT: an HTTP server in a process of that name. Says "ready" when it listens."""
import ctypes
import http.server
import sys

PR_SET_NAME = 15


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"hello\n" * 2000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


ctypes.CDLL(None).prctl(PR_SET_NAME, sys.argv[1].encode(), 0, 0, 0)
server = http.server.ThreadingHTTPServer((sys.argv[2], int(sys.argv[3])), Handler)
print("ready", flush=True)
server.serve_forever()
