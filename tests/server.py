"""For tests of `bitsmith serve`: the program as a server, and requests byte by byte."""
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

from support import PROGRAM, TRAINED

QUESTION = {"messages": [{"role": "user", "content": "What is 3 plus 4?"}], "temperature": 0}
# Does not end by itself.
LONG = {"prompt": "Anna", "max_tokens": 100000, "temperature": 2, "ignore_eos": True}


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
