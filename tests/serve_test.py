#!/usr/bin/env python3
"""`bitsmith serve`: the contract of its routes and streams, as clients of OpenAI's API read them."""
import json
import threading
import time

from server import QUESTION, Server, post
from support import ProgramTest, main


class ContractTest(ProgramTest):
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

    def test_answers_in_json(self):
        schema = {"type": "object", "properties": {"sum": {"type": "integer"}, "odd": {"type": "boolean"}},
                  "required": ["sum", "odd"], "additionalProperties": False}
        form = {"type": "json_schema", "json_schema": {"name": "sum", "strict": True, "schema": schema}}
        whole = 0
        for seed in range(20):
            body = {**QUESTION, "temperature": 1, "seed": seed, "max_tokens": 100, "response_format": form}
            choice = self.server.json("POST", "/v1/chat/completions", body)["choices"][0]
            if choice["finish_reason"] == "length":  # the tiny model likes white space
                continue
            answer = json.loads(choice["message"]["content"])
            self.assertEqual(list(answer), ["sum", "odd"])
            self.assertEqual((type(answer["sum"]), type(answer["odd"])), (int, bool))
            whole += 1
        self.assertGreater(whole, 0)
        schema["properties"]["sum"]["multipleOf"] = 3
        error = self.server.json("POST", "/v1/chat/completions", {**QUESTION, "response_format": form}, status=400)["error"]
        self.assertEqual(error["param"], "response_format.json_schema.schema")
        self.assertIn("'multipleOf'", error["message"])

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


if __name__ == "__main__":
    main()
