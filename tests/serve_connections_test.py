#!/usr/bin/env python3
"""`bitsmith serve`: connections that break, that are too many, and that say what no HTTP client says."""
import json
import socket
import time

from server import LONG, QUESTION, Server, post, read_all
from support import ProgramTest, main


class ConnectionTest(ProgramTest):
    def test_who_leaves_is_not_served_any_more(self):
        with Server("--context", 200000) as server:
            for stream in (True, False):
                connection = server.socket()
                connection.sendall(post("/v1/completions", json.dumps({**LONG, "stream": stream}).encode()))
                if stream:
                    self.assertIn(b"200 OK", connection.recv(1000))
                server.wait_until(1, "requests_running")
                connection.close()
                server.wait_until_idle()
            self.assertEqual(server.metric(r"requests_finished_total"), 2)

    def test_random_cancels(self):
        with Server("--context", 20000, "--parallel", 3) as server:
            for i in range(30):
                connection = server.socket()
                connection.sendall(post("/v1/completions", json.dumps({**LONG, "max_tokens": 10000, "stream": i % 3 > 0}).encode()))
                time.sleep(0.01 * (i % 7))
                connection.close()
            server.wait_until_idle()
            self.assertEqual(server.json("POST", "/v1/chat/completions", QUESTION)["choices"][0]["message"]["content"],
                             "3 plus 4 is 7.")

    def test_one_connection_for_many_requests(self):
        with Server() as server:
            connection = server.connect()
            for _ in range(3):
                connection.request("POST", "/tokenize", json.dumps({"text": "a"}), {"Content-Type": "application/json"})
                self.assertEqual(connection.getresponse().read()[:10], b'{"tokens":')
            connection.close()
            # Two requests in one packet.
            pipelined = server.socket()
            request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
            pipelined.sendall(request + b"\r\n" + request + b"Connection: close\r\n\r\n")
            self.assertEqual(read_all(pipelined).count(b'{"status":"ok"}'), 2)
            pipelined.close()

    def test_hostile_requests(self):
        with Server() as server:
            for data in [b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n",
                         b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n",
                         b"GET / HTTP/1.1\r\nX: " + b"a" * 20000 + b"\r\n\r\n",
                         b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: a\r\n" % i for i in range(20000)) + b"\r\n",
                         b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
                         post("/v1/completions", b"{}", "Content-Encoding: gzip"),
                         b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n\r\n",
                         b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
                         post("/tokenize", b'{"text": "a"}', "Content-Length: 2"),
                         post("/tokenize", b'{"text": "a"}', "Transfer-Encoding: chunked"),
                         b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n"]:
                connection = server.socket(timeout=20)
                try:
                    connection.sendall(data)
                    connection.shutdown(socket.SHUT_WR)
                    answer = read_all(connection)
                except OSError:
                    answer = b""
                connection.close()
                self.assertNotRegex(answer, rb"^HTTP/1.1 (200|500)", data[:60])
            self.assertEqual(server.json("GET", "/health"), {"status": "ok"})

    def test_what_is_wrong_is_said(self):
        """An error object with a message, also of what is no request for the API."""
        body = b'{"prompt": "a"}'
        # A short time to read alone where it must pass: a loaded machine may take longer for what is sent at once.
        with Server() as patient, Server("--read-timeout", 1) as hasty:
            for data, status, says in [
                    (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n", 414, "address"),
                    (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20000 + b"\r\n\r\n", 431, "header"),
                    (b"GET\r\n\r\n", 400, "HTTP"),
                    (b"GET /health HTTP/1.1\r\nX: ", 408, "in time"),  # and no more
                    (post("/v1/completions", body)[:-5], 408, "in time"),
                    (post("/v1/completions", b'{"prompt": "a"'), 400, "JSON"),
                    (post("/v1/completions", b'{"prompt": "\xc3\x28"}'), 400, "UTF-8"),
                    (post("/v1/completions", b'{"prompt": "\\ud800"}'), 400, "surrogate"),
                    (post("/v1/completions", b"[" * 1000), 400, "nested"),
                    (post("/v1/completions", b'"prompt"'), 400, "a JSON object"),
                    (post("/v1/completions", b""), 400, "JSON")]:
                with self.subTest(data=data[:60]):
                    connection = (hasty if status == 408 else patient).socket(timeout=20)
                    connection.sendall(data)
                    if status == 408:
                        answer = read_all(connection)
                    else:
                        connection.shutdown(socket.SHUT_WR)
                        answer = read_all(connection)
                    connection.close()
                    self.assertRegex(answer, b"^HTTP/1.1 %d " % status)
                    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
                    self.assertIn(says, error["message"])

    def test_more_connections_than_allowed(self):
        with Server("--max-connections", 2) as server:
            held = [server.socket() for _ in range(2)]
            time.sleep(0.3)
            connection = server.socket()
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertIn(b" 503 ", read_all(connection))
            for h in held:
                h.close()
            end, status = time.time() + 30, 503
            while status == 503:  # until the server has seen that they are gone
                self.assertLess(time.time(), end)
                time.sleep(0.05)
                try:
                    status = server.ask("GET", "/health")[0]
                except OSError:  # turned away before the request was read
                    continue
            self.assertEqual(status, 200)

    def test_connections_that_are_too_many_hold_nobody_up(self):
        with Server("--max-connections", 1) as server:
            held = server.socket()
            time.sleep(0.3)
            start = time.time()
            silent = [server.socket() for _ in range(20)]
            for connection in silent:
                self.assertIn(b"Retry-After: 5", read_all(connection))
                connection.close()
            self.assertLess(time.time() - start, 5)
            held.close()

    def test_a_client_that_has_said_everything_gets_its_answer(self):
        """One that closes its sending side alone, as nc does."""
        with Server() as server:
            body = json.dumps({**QUESTION, "max_tokens": 50}).encode()
            for version in (b"HTTP/1.1", b"HTTP/1.0"):
                for stream in (False, True):
                    connection = server.socket()
                    sent = json.dumps({**QUESTION, "max_tokens": 50, "stream": stream}).encode()
                    connection.sendall(post("/v1/chat/completions", sent).replace(b"HTTP/1.1", version))
                    connection.shutdown(socket.SHUT_WR)
                    answer = read_all(connection)
                    self.assertIn(b" 200 OK\r\n", answer)
                    self.assertIn(b"[DONE]" if stream else b"3 plus 4 is 7.", answer)
                    connection.close()
            # While it waits: the interim response that asks whether anybody is there is none of a 1.0 client's.
            slow = json.dumps({"prompt": "Anna", "max_tokens": 200, "temperature": 2, "ignore_eos": True}).encode()
            for version in (b"HTTP/1.1", b"HTTP/1.0"):
                connection = server.socket()
                connection.sendall(post("/v1/completions", slow).replace(b"HTTP/1.1", version))
                connection.shutdown(socket.SHUT_WR)
                answer = read_all(connection)
                self.assertRegex(answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n") if version == b"HTTP/1.1" else answer,
                                 rb"^HTTP/1\.\d 200 OK\r\n")
                connection.close()


if __name__ == "__main__":
    main()
