#!/usr/bin/env python3
"""`bitsmith serve`: who may use it, by key and by origin."""
import json

from server import Server, post, read_all
from support import TRAINED, ProgramTest, main


class AccessTest(ProgramTest):
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

    def test_other_origins(self):
        with Server("--cors", "https://example.org") as server:
            _, headers, _ = server.ask("GET", "/v1/models", headers={"Origin": "https://example.org"})
            self.assertEqual(headers["Access-Control-Allow-Origin"], "https://example.org")
            server.json("GET", "/v1/models", status=403, headers={"Origin": "https://example.com"})
            status, headers, _ = server.ask("OPTIONS", "/v1/completions", headers={"Origin": "https://example.org"})
            self.assertEqual(status, 204)
            self.assertIn("Content-Type", headers["Access-Control-Allow-Headers"])


if __name__ == "__main__":
    main()
