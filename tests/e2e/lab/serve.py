#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""serve.py [--name NAME] [--udp] [--greet TEXT] ADDRESS PORT

A service for tests: echoes what it gets, half-closed connections stay half-closed. It says "ready" and
the moment of its listen() (CLOCK_MONOTONIC, seconds); a line on its standard input closes the listening
socket, and it says "closed" and the moment. It ends with its standard input.
"""
import argparse
import ctypes
import socket
import sys
import threading
import time

PR_SET_NAME = 15


def echo(connection, greeting):
    with connection:
        try:
            connection.sendall(greeting)
            while data := connection.recv(65536):
                connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def serve_streams(listening, greeting):
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        threading.Thread(target=echo, args=(connection, greeting), daemon=True).start()


def serve_datagrams(bound):
    while True:
        try:
            data, sender = bound.recvfrom(65536)
            bound.sendto(data, sender)
        except OSError:
            return


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--name", default="service")
    parser.add_argument("--udp", action="store_true")
    parser.add_argument("--greet", default="")
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_NAME, options.name.encode(), 0, 0, 0)
    family = socket.AF_INET6 if ":" in options.address else socket.AF_INET
    service = socket.socket(family, socket.SOCK_DGRAM if options.udp else socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        service.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if options.udp:
        service.bind((options.address, options.port))
        threading.Thread(target=serve_datagrams, args=(service,), daemon=True).start()
    else:
        service.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        service.bind((options.address, options.port))
        service.listen(128)
        threading.Thread(target=serve_streams, args=(service, options.greet.encode()), daemon=True).start()
    print("ready", time.monotonic(), flush=True)
    for _ in sys.stdin:
        if not options.udp:
            service.shutdown(socket.SHUT_RDWR)
        service.close()
        print("closed", time.monotonic(), flush=True)


if __name__ == "__main__":
    main()
