#!/usr/bin/env python3
"""A thousand requests of every kind at once, honest and hostile ones: none is left over, nothing crashes, the program ends
cleanly. Works for any build; those with sanitizers say what they find when the program ends. Only 127.0.0.1 is spoken to."""
import argparse
import json
import random
import socket
import sys
import threading
import time

from server import Server, post
from support import ProgramTest, main

REQUESTS, THREADS, SECONDS = 1000, 24, 1200
LONG = {"prompt": "Anna has", "max_tokens": 400, "temperature": 1.5, "ignore_eos": True}
CHAT = {"messages": [{"role": "user", "content": "What is 3 plus 4?"}], "max_tokens": 30}


def json_bytes(body):
    return json.dumps(body).encode()


class Client:
    """Requests over connections of their own, by one random generator."""

    def __init__(self, server, seed, ends):
        self.server, self.random, self.ends = server, random.Random(seed), ends
        self.statuses, self.unexpected = {}, []
        # (what it does, how often it is taken)
        self.kinds = [(self.answered, 20), (self.streamed, 20), (self.cancelled, 15), (self.half_closed, 8),
                      (self.truncated, 8), (self.small, 10), (self.refused, 15), (self.large_head, 4),
                      (self.slow, 2), (self.pipelined, 4), (self.large_body, 3)]

    def one(self):
        kind = self.random.choices([k for k, _ in self.kinds], [weight for _, weight in self.kinds])[0]
        try:
            kind()
        except OSError:  # also a time that is over: whoever is refused may be cut off
            pass

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.server.port), timeout=max(1, self.ends - time.time()))
        return connection

    def read(self, connection, most=1 << 22):
        data = b""
        while len(data) < most:
            piece = connection.recv(65536)
            if not piece:
                break
            data += piece
        return data

    def exchange(self, data, expected, finish=False):
        with self.connect() as connection:
            connection.sendall(data)
            if finish:
                connection.shutdown(socket.SHUT_WR)
            answer = self.read(connection)
        while answer.startswith(b"HTTP/1.1 100 "):
            answer = answer.split(b"\r\n\r\n", 1)[1]
        if answer:  # else it was cut off
            status = int(answer.split(b" ", 2)[1])
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if status not in (*expected, 503):
                self.unexpected.append((data[:300], answer[:300]))
        return answer

    def completion(self, stream):
        if self.random.random() < 0.5:
            return "/v1/chat/completions", {**CHAT, "stream": stream, "seed": self.random.randrange(100)}
        prompt = self.random.choice(["Anna", ["Anna", "The dog"], [3, 4, 5], [[7], [8, 9]]])
        return "/v1/completions", {**LONG, "prompt": prompt, "stream": stream, "max_tokens": self.random.randrange(1, 100),
                                   "logprobs": self.random.choice([None, 0, 3])}

    def send(self, path, body, *headers):
        return post(path, body if isinstance(body, bytes) else json_bytes(body), "Connection: close", *headers)

    def answered(self):
        path, body = self.completion(False)
        self.exchange(self.send(path, body), (200,))

    def streamed(self):
        path, body = self.completion(True)
        answer = self.exchange(self.send(path, body), (200,))
        if b" 200 OK" in answer[:20] and b"data: [DONE]" not in answer:
            self.unexpected.append((path, answer[-300:]))

    def cancelled(self):
        """Leaves at any moment: before the answer, within a stream, with an orderly end or without."""
        with self.connect() as connection:
            connection.sendall(self.send("/v1/completions", {**LONG, "stream": self.random.random() < 0.6}))
            time.sleep(self.random.choice([0, 0.01, 0.1, 0.4]))
            if self.random.random() < 0.5:
                connection.settimeout(0.2)
                connection.recv(300)
            if self.random.random() < 0.5:  # a reset
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    def half_closed(self):
        path, body = self.completion(self.random.random() < 0.5)
        self.exchange(self.send(path, body), (200,), finish=True)

    def truncated(self):
        """A connection that breaks within the request."""
        path, body = self.completion(True)
        data = self.send(path, body)
        with self.connect() as connection:
            connection.sendall(data[:self.random.randrange(len(data))])
            if self.random.random() < 0.5:
                connection.shutdown(socket.SHUT_WR)
                self.read(connection)

    def small(self):
        path = self.random.choice(["/health", "/metrics", "/v1/models", "/"])
        self.exchange(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode(), (200,))
        self.exchange(self.send("/tokenize", {"text": "Anna \u20ac" * self.random.randrange(1, 500)}), (200,))
        self.exchange(self.send("/detokenize", {"tokens": [self.random.randrange(384) for _ in range(50)]}), (200,))

    def refused(self):
        data, *expected = self.random.choice([
            (self.send("/v1/completions", b'{"prompt": "'), 400), (self.send("/v1/completions", b"{" * 5000), 400),
            (self.send("/v1/completions", b'{"prompt": "\xc3\x28\xff"}'), 400), (self.send("/tokenize", b"\xff\xfe"), 400),
            (self.send("/v1/completions", {"prompt": "a", "temperature": "hot"}), 400),
            (self.send("/v1/completions", {"prompt": [10 ** 9]}), 400), (self.send("/v1/chat/completions", {"messages": 3}), 400),
            (self.send("/v1/completions", {f"k{i}": i for i in range(3000)}), 400),
            (self.send("/v1/completions", {**LONG, "prompt": [3] * 5000}), 400), (self.send("/none", b"{}"), 404),
            (post("/tokenize", b'{"text": "a"}', "Content-Length: 2"), 400),
            (post("/tokenize", b'{"text": "a"}', "Transfer-Encoding: chunked"), 400),
            (b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
             b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
            (b"GET / HTTP/9.9\r\n\r\n", 400), (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400)])
        self.exchange(data, expected, finish=True)

    def large_head(self):
        head = self.random.choice([b"GET /" + b"a" * 100000, b"GET / HTTP/1.1\r\nX: " + b"a" * 100000,
                                   b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: a\r\n" % i for i in range(20000))])
        self.exchange(head + b"\r\n\r\n", (400, 414), finish=True)

    def large_body(self):
        self.exchange(self.send("/tokenize", {"text": "a" * 300000}), (413,))

    def slow(self):
        """Byte by byte, in the head or in the body, until the server has enough of it."""
        data = self.send("/tokenize", b" " * 500)
        with self.connect() as connection:
            connection.sendall(data[:self.random.choice([20, len(data) - 490])])
            for _ in range(100):
                connection.sendall(b"a")
                time.sleep(0.1)

    def pipelined(self):
        head = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
        one = post("/tokenize", b'{"text": "Anna"}')
        self.exchange(one + head + b"\r\n" + one + head + b"Connection: close\r\n\r\n", (200,))


class Stress(ProgramTest):
    count, seconds = REQUESTS, SECONDS

    def test_requests_of_every_kind(self):
        ends = time.time() + self.seconds
        server = Server("--context", 1000, "--parallel", 4, "--max-queue", 16, "--max-connections", 20, "--read-timeout", 2,
                        "--time-limit", 600, "--max-body", "200kB", "--body-memory", "20MB")
        left, lock = list(range(self.count)), threading.Lock()
        clients = [Client(server, seed, ends) for seed in range(THREADS)]

        def work(client):
            while time.time() < ends:
                with lock:
                    if not left:
                        return
                    left.pop()
                client.one()

        threads = [threading.Thread(target=work, args=(client,)) for client in clients]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(max(1, ends + 60 - time.time()))
            self.assertFalse(any(thread.is_alive() for thread in threads), "a client never came back")
            self.assertEqual(left, [], f"more than {self.seconds} seconds for {self.count} requests")
            server.wait_until(0, "requests_running", "requests_waiting", seconds=120)
            self.assertEqual(server.ask("GET", "/health")[0], 200)
        finally:
            code = server.stop(timeout=180)
            server.process.stdout.close()
        self.assertEqual(code, 0, server.err[-8000:])
        self.assertNotRegex(server.err, "Sanitizer|runtime error|terminate called")
        unexpected = [case for client in clients for case in client.unexpected]
        self.assertEqual(unexpected[:3], [], f"{len(unexpected)} unexpected answers")
        statuses = {}
        for client in clients:
            for status, count in client.statuses.items():
                statuses[status] = statuses.get(status, 0) + count
        print("answers by status:", dict(sorted(statuses.items())))
        self.assertGreater(statuses.get(200, 0), self.count / 10)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    options, sys.argv[1:] = parser.parse_known_args()
    Stress.count, Stress.seconds = options.requests, options.seconds
    main()
