#!/usr/bin/env python3
"""`bitsmith serve` from outside: the contract of its routes, streams, broken and hostile connections, shutdown."""
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import threading
import time
import unittest

from support import PROGRAM, TRAINED, ProgramTest, main

QUESTION = {"messages": [{"role": "user", "content": "What is 3 plus 4?"}], "temperature": 0}


class Server:
    """The program, listening on a port of its own; stopped at the end of the `with`."""

    def __init__(self, *arguments, environment=None):
        self.process = subprocess.Popen(
            [PROGRAM, "serve", str(TRAINED), "--port", "0", "--json", *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})})
        text = ""
        while not text.rstrip().endswith("}"):
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError("the server did not start: " + self.process.stderr.read())
            text += line
        self.port = json.loads(text)["port"]
        self.err = ""
        self.reader = threading.Thread(target=self.read_messages, daemon=True)
        self.reader.start()

    def read_messages(self):
        for line in self.process.stderr:
            self.err += line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()
        self.process.stdout.close()

    def stop(self, timeout=60):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout)
        self.reader.join(10)
        return code

    def connect(self, timeout=60):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(self, method, path, body=None, headers=None, raw=None):
        """Status, headers and body of one request."""
        connection = self.connect()
        headers = dict(headers or {})
        if body is not None:
            raw = json.dumps(body)
        if raw is not None:
            headers.setdefault("Content-Type", "application/json")
        connection.request(method, path, raw, headers)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        return response.status, dict(response.getheaders()), data

    def json(self, method, path, body=None, status=200, **more):
        code, _, data = self.ask(method, path, body, **more)
        if code != status:
            raise AssertionError(f"{method} {path}: status {code}, expected {status}: {data[:500]}")
        return json.loads(data)

    def events(self, path, body):
        """The events of a stream, with [DONE] as None."""
        connection = self.connect()
        connection.request("POST", path, json.dumps({**body, "stream": True}), {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        assert response.getheader("Content-Type") == "text/event-stream"
        for event in response.read().decode().split("\n\n"):
            if event and not event.startswith(":"):  # a comment
                assert event.startswith("data: "), event
                yield None if event == "data: [DONE]" else json.loads(event[6:])
        connection.close()

    def metric(self, name):
        text = self.ask("GET", "/metrics")[2].decode()
        return sum(float(value) for value in re.findall(rf"^bitsmith_{name}(?:{{[^}}]*}})? (\S+)$", text, re.M))

    def socket(self, timeout=60):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def wait_until(self, count, *names, seconds=30):
        """Until the metrics add up to a number of requests."""
        end = time.time() + seconds
        while sum(self.metric(name) for name in names) != count:
            if time.time() > end:
                raise AssertionError(f"{' + '.join(names)} is not {count}")
            time.sleep(0.05)

    def wait_until_idle(self):
        self.wait_until(0, "requests_running", "requests_waiting")


def read_all(connection):
    data = b""
    while True:
        piece = connection.recv(65536)
        if not piece:
            return data
        data += piece


def post(path, body, *headers):
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json",
             f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class ContractTest(ProgramTest):
    """Routes of OpenAI's API, as its clients read them."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server("--context", 200)

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def test_chat(self):
        answer = self.server.json("POST", "/v1/chat/completions", {**QUESTION, "model": "tiny_llama_trained", "max_tokens": 50})
        self.assertRegex(answer["id"], "^chatcmpl-")
        self.assertAlmostEqual(answer["created"], time.time(), delta=600)
        self.assertEqual(answer["choices"][0]["message"], {"role": "assistant", "content": "3 plus 4 is 7."})
        self.assertEqual(answer["choices"][0]["finish_reason"], "stop")
        self.assertIsNone(answer["choices"][0]["logprobs"])
        usage = answer["usage"]
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"])

    def test_stream(self):
        events = list(self.server.events("/v1/chat/completions", {**QUESTION, "stream_options": {"include_usage": True}}))
        self.assertIsNone(events.pop())
        self.assertEqual(events.pop()["choices"], [])
        self.assertEqual(events[-1]["choices"][0]["finish_reason"], "stop")
        self.assertEqual({e["object"] for e in events}, {"chat.completion.chunk"})
        self.assertEqual("".join(e["choices"][0]["delta"].get("content") or "" for e in events), "3 plus 4 is 7.")

    def test_a_stream_comes_piece_by_piece(self):
        """The first tokens are there long before the last ones."""
        with Server("--context", 100000) as server:
            connection, data = server.socket(), b""
            connection.sendall(post("/v1/completions", json.dumps(
                {"prompt": "Anna", "max_tokens": 90000, "temperature": 2, "stream": True, "ignore_eos": True}).encode()))
            while b"data:" not in data:
                data += connection.recv(65536)
            self.assertNotIn(b"[DONE]", data)
            connection.close()
            server.wait_until_idle()

    def test_completion_of_ids_and_text(self):
        ids = self.server.json("POST", "/tokenize", {"text": "Anna has 3"})["tokens"]
        body = {"temperature": 0, "max_tokens": 8}
        by_text = self.server.json("POST", "/v1/completions", {**body, "prompt": "Anna has 3"})
        by_ids = self.server.json("POST", "/v1/completions", {**body, "prompt": ids})
        self.assertEqual(by_text["choices"][0]["text"], by_ids["choices"][0]["text"])
        self.assertEqual(by_text["object"], "text_completion")
        # Of a list of prompts each is a choice.
        both = self.server.json("POST", "/v1/completions", {**body, "prompt": [ids, ids[:3]]})
        self.assertEqual([c["index"] for c in both["choices"]], [0, 1])
        self.assertEqual(both["choices"][0]["text"], by_ids["choices"][0]["text"])

    def test_log_probabilities_of_a_prompt(self):
        ids = self.server.json("POST", "/tokenize", {"text": "Anna has 3 coins."})["tokens"]
        choice = self.server.json("POST", "/v1/completions", {"prompt": [ids], "echo": True, "logprobs": 1,
                                                              "max_tokens": 1, "temperature": 0, "seed": 1234})["choices"][0]
        logprobs = choice["logprobs"]
        self.assertEqual(len(logprobs["token_logprobs"]), len(ids) + 1)
        for own, likeliest in list(zip(logprobs["token_logprobs"], logprobs["top_logprobs"]))[1:]:
            self.assertLessEqual(own, max(likeliest.values()))
        self.assertEqual("".join(logprobs["tokens"][:-1]), "Anna has 3 coins.")

    def test_models_health_metrics_page(self):
        models = self.server.json("GET", "/v1/models")
        self.assertEqual(models["object"], "list")
        self.assertEqual(models["data"][0]["id"], "tiny_llama_trained")
        self.assertEqual(self.server.json("GET", "/v1/models/tiny_llama_trained")["object"], "model")
        self.assertEqual(self.server.json("GET", "/health"), {"status": "ok"})
        status, headers, page = self.server.ask("GET", "/")
        self.assertEqual(status, 200)
        self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
        self.assertIn(b"<title>Bitsmith</title>", page)
        status, headers, body = self.server.ask("HEAD", "/health")
        self.assertEqual((status, body), (200, b""))
        for line in self.server.ask("GET", "/metrics")[2].decode().splitlines():
            self.assertRegex(line, r'^(# (HELP|TYPE) bitsmith_\w+ .+|bitsmith_\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [0-9.e+-]+)$')

    def test_errors_are_objects(self):
        for method, path, body, status, param in [
                ("GET", "/none", None, 404, None), ("GET", "/v1/completions", None, 405, None),
                ("PUT", "/v1/completions", None, 405, None),
                ("POST", "/v1/chat/completions", {"messages": 3}, 400, "messages"),
                ("POST", "/v1/completions", {"prompt": "a", "temperature": "x"}, 400, "temperature"),
                ("POST", "/v1/completions", {"prompt": "a", "best_of": 2}, 400, "best_of"),
                ("POST", "/v1/completions", {"prompt": "a", "model": "gpt"}, 404, "model"),
                ("POST", "/v1/completions", {"prompt": [3] * 201}, 400, "prompt")]:
            error = self.server.json(method, path, body, status=status)["error"]
            self.assertEqual(error["param"], param, error)
            self.assertTrue(error["message"])
        self.server.json("POST", "/v1/completions", status=400, raw=b'{"prompt": "\xc3\x28"}')
        self.server.json("POST", "/v1/completions", status=400, raw=b"{" * 100000)
        self.server.json("POST", "/v1/completions", status=415, raw=b"prompt=a",
                         headers={"Content-Type": "application/x-www-form-urlencoded"})

    def test_a_growing_chat_reads_only_what_is_new(self):
        messages = [{"role": "user", "content": "What does the dog do? What is 3 plus 4?"}]
        first = self.server.json("POST", "/v1/chat/completions", {"messages": messages, "temperature": 0, "max_tokens": 20})
        messages += [first["choices"][0]["message"], {"role": "user", "content": "And the cat?"}]
        second = self.server.json("POST", "/v1/chat/completions", {"messages": messages, "temperature": 0, "max_tokens": 5})
        self.assertGreater(second["usage"]["prompt_tokens_details"]["cached_tokens"], 0)

    def test_requests_side_by_side_are_what_they_are_alone(self):
        body = lambda i: {"prompt": f"Anna has {i}", "temperature": 1.5, "seed": i, "max_tokens": 30}  # noqa: E731
        ask = lambda i: self.server.json("POST", "/v1/completions", body(i))["choices"][0]["text"]  # noqa: E731
        alone = [ask(i) for i in range(6)]
        together = [None] * 6
        threads = [threading.Thread(target=lambda i=i: together.__setitem__(i, ask(i))) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(together, alone)


class ConnectionTest(ProgramTest):
    LONG = {"prompt": "Anna", "max_tokens": 100000, "temperature": 2, "ignore_eos": True}

    def test_who_leaves_is_not_served_any_more(self):
        with Server("--context", 200000) as server:
            for stream in (True, False):
                connection = server.socket()
                connection.sendall(post("/v1/completions", json.dumps({**self.LONG, "stream": stream}).encode()))
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
                connection.sendall(post("/v1/completions", json.dumps({**self.LONG, "max_tokens": 10000, "stream": i % 3 > 0}).encode()))
                time.sleep(0.01 * (i % 7))
                connection.close()
            server.wait_until_idle()
            self.assertEqual(server.json("POST", "/v1/chat/completions", QUESTION)["choices"][0]["message"]["content"],
                             "3 plus 4 is 7.")

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

    def test_more_connections_than_allowed(self):
        with Server("--max-connections", 2) as server:
            held = [server.socket() for _ in range(2)]
            time.sleep(0.3)
            connection = server.socket()
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertIn(b" 503 ", read_all(connection))
            for h in held:
                h.close()
            time.sleep(0.5)
            self.assertEqual(server.json("GET", "/health"), {"status": "ok"})

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

    def test_a_full_queue_refuses(self):
        with Server("--context", 200000, "--parallel", 1, "--max-queue", 0) as server:
            connection = server.socket()
            connection.sendall(post("/v1/completions", json.dumps({**self.LONG, "stream": True}).encode()))
            connection.recv(1000)
            server.wait_until(1, "requests_running")
            status, headers, body = server.ask("POST", "/v1/completions", {"prompt": "a"})
            self.assertEqual(status, 503, body)
            self.assertEqual(headers["Retry-After"], "5")
            connection.close()

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

    def test_a_key_is_asked_for_before_the_body(self):
        with Server(environment={"BITSMITH_API_KEY": "secret"}) as server:
            for more in ([], ["Expect: 100-continue"]):
                connection = server.socket(timeout=20)
                connection.sendall(post("/v1/completions", b" " * 5000000, *more)[:-5000000])
                self.assertRegex(read_all(connection), rb"^HTTP/1.1 401 ")
                connection.close()
            # Who sends it all the same reads the refusal.
            server.json("POST", "/v1/completions", {"prompt": "a" * 5000000}, status=401)
            # With the key the body is asked for.
            connection = server.socket(timeout=20)
            body = json.dumps({"text": "Anna"}).encode()
            head = post("/tokenize", body, "Expect: 100-continue", "Authorization: Bearer secret",
                        "Connection: close")[:-len(body)]
            connection.sendall(head)
            self.assertIn(b" 100 Continue", connection.recv(1000))
            connection.sendall(body)
            self.assertIn(b'"tokens"', read_all(connection))
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
            error = server.json("POST", "/v1/completions", self.LONG, status=504)["error"]
            self.assertEqual(error["code"], "timeout")
            last = list(server.events("/v1/completions", self.LONG))[-2]
            self.assertEqual(last["error"]["code"], "timeout")
            server.wait_until_idle()

    def test_key(self):
        file = self.folder / "key"
        file.write_text("secret\n")
        for arguments, environment in [(["--api-key-file", file], {}), ([], {"BITSMITH_API_KEY": "secret"})]:
            with Server(*arguments, environment=environment) as server:
                server.json("GET", "/v1/models", status=401)
                server.json("GET", "/v1/models", status=401, headers={"Authorization": "Bearer wrong"})
                server.json("GET", "/v1/models", headers={"Authorization": "Bearer secret"})
                server.json("GET", "/health")
        self.fail_cleanly("serve", TRAINED, "--api-key-file", self.folder / "none", codes=(1,), says=["none"])

    def test_other_origins(self):
        with Server("--cors", "https://example.org") as server:
            _, headers, _ = server.ask("GET", "/v1/models", headers={"Origin": "https://example.org"})
            self.assertEqual(headers["Access-Control-Allow-Origin"], "https://example.org")
            server.json("GET", "/v1/models", status=403, headers={"Origin": "https://example.com"})
            status, headers, _ = server.ask("OPTIONS", "/v1/completions", headers={"Origin": "https://example.org"})
            self.assertEqual(status, 204)
            self.assertIn("Content-Type", headers["Access-Control-Allow-Headers"])

    def test_shutdown_finishes_answers(self):
        with Server("--grace", 60) as server:
            answers = []
            threads = [threading.Thread(target=lambda: answers.append(server.json(
                "POST", "/v1/completions", {"prompt": "Anna", "temperature": 0, "max_tokens": 100}))) for _ in range(3)]
            for thread in threads:
                thread.start()
            while server.metric("requests_running") < 1 and any(t.is_alive() for t in threads):
                time.sleep(0.01)
            self.assertEqual(server.stop(), 0, server.err)
            for thread in threads:
                thread.join(10)
            self.assertTrue(answers)
            for answer in answers:
                self.assertIn(answer["choices"][0]["finish_reason"], ("stop", "length"))

    def test_shutdown_fails_what_would_take_too_long(self):
        with Server("--context", 200000, "--grace", 0) as server:
            connection = server.socket()
            connection.sendall(post("/v1/completions", json.dumps({**self.LONG, "stream": True}).encode()))
            data = connection.recv(1000)
            idle = server.socket()
            self.assertEqual(server.stop(timeout=20), 0, server.err)
            data += read_all(connection)
            self.assertIn(b"the server is stopping", data)
            self.assertIn(b"data: [DONE]", data)
            connection.close()
            idle.close()

    def test_an_output_that_cannot_be_written_ends_it(self):
        with open("/dev/full", "w") as full:
            run = subprocess.run([PROGRAM, "serve", str(TRAINED), "--port", "0", "--json"], stdout=full,
                                 stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(run.returncode, 1, run.stderr)
        self.assertEqual(run.stderr.count("No space left"), 1, run.stderr)

    def test_usage_errors(self):
        self.fail_cleanly("serve", TRAINED, "--port", 70000, codes=(2,))
        self.fail_cleanly("serve", TRAINED, "--time-limit", 10**11, codes=(2,))
        self.fail_cleanly("serve", TRAINED, "--kv-cache", "int3", codes=(2,), says=["f16 or int8"])
        self.fail_cleanly("serve", TRAINED, "--kv-memory", "many", codes=(2,), says=["512MiB"])
        self.fail_cleanly("serve", TRAINED, "--kv-memory", "1B", codes=(2,), says=["--kv-memory"])
        self.fail_cleanly("serve", self.folder / "none", codes=(1,))
        with Server() as server:
            self.fail_cleanly("serve", TRAINED, "--port", server.port, codes=(1,), says=["cannot listen"])

    def test_little_memory_refuses_what_cannot_fit(self):
        with Server("--context", 2000, "--kv-memory", "64kB", "--kv-cache", "int8") as server:
            error = server.json("POST", "/v1/completions", {"prompt": [3] * 1500}, status=400)["error"]
            self.assertEqual(error["code"], "context_length_exceeded")
            self.assertEqual(server.json("POST", "/v1/chat/completions", QUESTION)["choices"][0]["message"]["content"],
                             "3 plus 4 is 7.")


if __name__ == "__main__":
    main()
