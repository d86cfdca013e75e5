#!/usr/bin/env python3
"""`bitsmith serve`: how it ends."""
import json
import subprocess
import threading
import time

from server import LONG, Server, post, read_all
from support import PROGRAM, TRAINED, ProgramTest, main


class ShutdownTest(ProgramTest):
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
            connection.sendall(post("/v1/completions", json.dumps({**LONG, "stream": True}).encode()))
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


if __name__ == "__main__":
    main()
