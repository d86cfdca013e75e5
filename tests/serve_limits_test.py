#!/usr/bin/env python3
"""`bitsmith serve`: its limits on sizes, memory and time, and its options."""
import json
import select
import socket
import time

from server import LONG, QUESTION, Server, post, read_all
from support import TRAINED, ProgramTest, main


class LimitsTest(ProgramTest):
    def test_limits(self):
        with Server("--max-body", "1kB", "--max-tokens", 50, "--max-prompt", 20, "--read-timeout", 2) as server:
            server.json("POST", "/v1/completions", {"prompt": "a" * 2000}, status=413)
            server.json("POST", "/v1/completions", {"prompt": "a", "max_tokens": 51}, status=400)
            server.json("POST", "/v1/completions", {"prompt": [3] * 21}, status=400)
            # A body in chunks has no length to look at.
            connection = server.socket()
            connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                               b"Transfer-Encoding: chunked\r\n\r\n")
            try:
                for _ in range(100):
                    connection.sendall(b"400\r\n" + b" " * 1024 + b"\r\n")
            except OSError:
                pass
            try:
                self.assertIn(b" 413 ", read_all(connection))
            except ConnectionError:
                pass
            connection.close()
            # Slow senders, of headers and of bodies, are not waited for.
            for begin in (b"GET /health HTTP/1.1\r\nX: ", post("/v1/completions", b" " * 500)[:-400]):
                connection = server.socket()
                connection.sendall(begin)
                start = time.time()
                try:
                    while time.time() - start < 20:
                        connection.sendall(b"a")
                        time.sleep(0.2)
                        connection.settimeout(0.01)
                        try:
                            if connection.recv(1000) == b"":
                                break
                        except socket.timeout:
                            pass
                        connection.settimeout(10)
                except OSError:
                    pass
                self.assertLess(time.time() - start, 10)
                connection.close()
            self.assertEqual(server.json("GET", "/health"), {"status": "ok"})

    def test_a_full_queue_refuses(self):
        with Server("--context", 200000, "--parallel", 1, "--max-queue", 0) as server:
            connection = server.socket()
            connection.sendall(post("/v1/completions", json.dumps({**LONG, "stream": True}).encode()))
            connection.recv(1000)
            server.wait_until(1, "requests_running")
            status, headers, body = server.ask("POST", "/v1/completions", {"prompt": "a"})
            self.assertEqual(status, 503, body)
            self.assertEqual(headers["Retry-After"], "5")
            connection.close()

    def test_bodies_share_their_memory(self):
        with Server("--max-body", "1MB", "--body-memory", "48MB") as server:
            body = json.dumps({"text": "a" * 900000}).encode()
            end = time.time() + 30
            held, refusals = None, 0
            while refusals < 2 and time.time() < end:  # once: both may have been refused
                if held is None or select.select([held], [], [], 0)[0]:  # refused: the other was first
                    held, refusals = server.socket(), 0
                    held.sendall(post("/tokenize", body)[:-1])
                status, headers, data = server.ask("POST", "/tokenize", {"text": "a" * 300000})
                refusals = refusals + 1 if status == 503 else 0
            self.assertEqual(status, 503, data)
            self.assertEqual(headers["Retry-After"], "5")
            self.assertIn(b"try again later", data)
            held.sendall(body[-1:])
            self.assertIn(b" 200 OK", held.recv(1000))
            held.close()
            end = time.time() + 30
            while status != 200 and time.time() < end:
                status = server.ask("POST", "/tokenize", {"text": "a" * 300000})[0]
            self.assertEqual(status, 200)
        self.fail_cleanly("serve", TRAINED, "--max-body", "1MB", "--body-memory", "47MB", codes=(2,), says=["--body-memory", "48"])

    def test_time_limit(self):
        with Server("--context", 200000, "--time-limit", 1) as server:
            error = server.json("POST", "/v1/completions", LONG, status=504)["error"]
            self.assertEqual(error["code"], "timeout")
            last = list(server.events("/v1/completions", LONG))[-2]
            self.assertEqual(last["error"]["code"], "timeout")
            server.wait_until_idle()

    def test_little_memory_refuses_what_cannot_fit(self):
        with Server("--context", 2000, "--kv-memory", "64kB", "--kv-cache", "int8") as server:
            error = server.json("POST", "/v1/completions", {"prompt": [3] * 1500}, status=400)["error"]
            self.assertEqual(error["code"], "context_length_exceeded")
            self.assertEqual(server.json("POST", "/v1/chat/completions", QUESTION)["choices"][0]["message"]["content"],
                             "3 plus 4 is 7.")

    def test_usage_errors(self):
        self.fail_cleanly("serve", TRAINED, "--port", 70000, codes=(2,))
        self.fail_cleanly("serve", TRAINED, "--time-limit", 10**11, codes=(2,))
        self.fail_cleanly("serve", TRAINED, "--kv-cache", "int3", codes=(2,), says=["f16 or int8"])
        self.fail_cleanly("serve", TRAINED, "--kv-memory", "many", codes=(2,), says=["512MiB"])
        self.fail_cleanly("serve", TRAINED, "--kv-memory", "1B", codes=(2,), says=["--kv-memory"])
        self.fail_cleanly("serve", self.folder / "none", codes=(1,))
        with Server() as server:
            self.fail_cleanly("serve", TRAINED, "--port", server.port, codes=(1,), says=["cannot listen"])


if __name__ == "__main__":
    main()
