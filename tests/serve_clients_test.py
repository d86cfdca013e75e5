#!/usr/bin/env python3
"""`bitsmith serve` with the clients that people have: the openai package, curl, lm-evaluation-harness. Slow: the Python
ones are installed into virtual environments of their own, and skipped where there is no network."""
import json
import os
import shutil
import subprocess
import unittest

from server import QUESTION, Server
from support import TRAINED, ProgramTest, jsonl, main, virtual_environment
from task_files import task_files

OPENAI = """
import asyncio, json, sys
import openai
url, model = sys.argv[1:]
question = [{"role": "user", "content": "What is 3 plus 4?"}]
client = openai.OpenAI(base_url=url, api_key="secret", max_retries=0, timeout=300)
found = {"models": [m.id for m in client.models.list()], "model": client.models.retrieve(model).id}

answer = client.chat.completions.create(model=model, messages=question, temperature=0, max_tokens=50, logprobs=True,
                                        top_logprobs=2)
choice = answer.choices[0]
found["chat"] = choice.message.content
found["finish_reason"] = choice.finish_reason
found["usage"] = answer.usage.total_tokens - answer.usage.prompt_tokens - answer.usage.completion_tokens
found["greedy"] = all(t.logprob == t.top_logprobs[0].logprob for t in choice.logprobs.content)

chunks = list(client.chat.completions.create(model=model, messages=question, temperature=0, max_completion_tokens=50,
                                             stream=True, stream_options={"include_usage": True}))
found["stream"] = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
found["stream_usage"] = chunks[-1].usage.completion_tokens == answer.usage.completion_tokens

text = client.completions.create(model=model, prompt="Anna has", temperature=0, max_tokens=8, echo=True, logprobs=1)
found["text"] = text.choices[0].text
found["tokens"] = "".join(text.choices[0].logprobs.tokens)
found["text_stream"] = "".join(c.choices[0].text for c in client.completions.create(
    model=model, prompt="Anna has", temperature=0, max_tokens=8, echo=True, stream=True))

def failure(**more):
    try:
        client.chat.completions.create(**{"model": model, "messages": question, **more})
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.param]
found["bad"] = failure(temperature=9)
found["missing"] = failure(model="gpt-4")
try:
    openai.OpenAI(base_url=url, api_key="wrong", max_retries=0).models.list()
except openai.AuthenticationError as error:
    found["key"] = error.status_code

# A reader that leaves.
with client.completions.create(model=model, prompt="Anna", max_tokens=150, temperature=2, stream=True,
                               extra_body={"ignore_eos": True}) as stream:
    next(iter(stream))

async def many():
    async with openai.AsyncOpenAI(base_url=url, api_key="secret", max_retries=0, timeout=300) as client:
        answers = await asyncio.gather(*(client.chat.completions.create(
            model=model, messages=question, temperature=0, max_tokens=50) for _ in range(12)))
    return [a.choices[0].message.content for a in answers]
found["many"] = asyncio.run(many())
print(json.dumps(found))
"""


class OpenAi(ProgramTest):
    def test_contract(self):
        python = virtual_environment("openai_venv", ["openai"])
        with Server(environment={"BITSMITH_API_KEY": "secret"}) as server:
            run = subprocess.run([python, "-c", OPENAI, f"http://127.0.0.1:{server.port}/v1", TRAINED.name],
                                 env={**os.environ, "NO_PROXY": "127.0.0.1"}, capture_output=True, text=True, timeout=600)
            self.assertEqual(run.returncode, 0, run.stderr[-4000:])
        found = json.loads(run.stdout)
        text = found.pop("text")
        self.assertTrue(text.startswith("Anna has"))
        self.assertEqual(found, {
            "models": [TRAINED.name], "model": TRAINED.name, "chat": "3 plus 4 is 7.", "finish_reason": "stop", "usage": 0,
            "greedy": True, "stream": "3 plus 4 is 7.", "stream_usage": True, "tokens": text, "text_stream": text,
            "bad": ["BadRequestError", 400, "temperature"], "missing": ["NotFoundError", 404, "model"], "key": 401,
            "many": ["3 plus 4 is 7."] * 12})


@unittest.skipUnless(shutil.which("curl"), "no curl here")
class Curl(ProgramTest):
    def curl(self, *arguments):
        run = subprocess.run(["curl", "-sS", "--noproxy", "*", "--max-time", "300", *map(str, arguments)], capture_output=True,
                             timeout=600)
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout

    def test_contract(self):
        body = self.folder / "body.json"
        # Beyond a megabyte curl asks before it sends.
        body.write_text(json.dumps({"text": "Anna has 3 coins. " * 100000}))
        with Server() as server:
            url = f"http://127.0.0.1:{server.port}"
            ask = ["-H", "Content-Type: application/json"]
            chat = [*ask, "-d", json.dumps({**QUESTION, "max_tokens": 50}), url + "/v1/chat/completions"]
            for version in ([], ["--http1.0"], ["-H", "Expect: 100-continue"]):
                answer = json.loads(self.curl(*version, *chat))
                self.assertEqual(answer["choices"][0]["message"]["content"], "3 plus 4 is 7.")
            stream = self.curl("-N", *ask, "-d", json.dumps({**QUESTION, "max_tokens": 50, "stream": True}), chat[-1])
            self.assertTrue(stream.endswith(b"data: [DONE]\n\n"), stream)
            self.assertGreater(json.loads(self.curl(*ask, "-d", f"@{body}", url + "/tokenize"))["count"], 100000)
            # Without the type that curl's -d does not send; a path that is not there.
            for arguments, status in [(["-d", "{}", url + "/tokenize"], b"415"), ([url + "/none"], b"404"),
                                      (["-I", url + "/health"], b"200")]:
                self.assertEqual(self.curl("-o", self.folder / "out", "-w", "%{http_code}", *arguments), status)
            # Two requests on one connection.
            self.assertEqual(self.curl(url + "/health", url + "/health", "-w", "%{num_connects}"),
                             b'{"status":"ok"}1{"status":"ok"}0')


LM_EVAL = """
import json, sys
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
url, tokenizer, folder, names = sys.argv[1:]
results = simple_evaluate(
    model="local-completions",
    model_args={"model": "tiny_llama_trained", "base_url": url, "tokenizer": tokenizer, "tokenizer_backend": "huggingface",
                "max_length": 256, "num_concurrent": 4, "max_retries": 1},
    tasks=names.split(","), task_manager=TaskManager(include_path=folder, include_defaults=False), bootstrap_iters=0,
    log_samples=True)
found = {}
for name in names.split(","):
    figures = {key.removesuffix(",none"): value for key, value in results["results"][name].items() if key.endswith(",none")}
    samples = sorted(results["samples"][name], key=lambda sample: sample["doc_id"])
    found[name] = {"figures": figures, "resps": [[list(resp[0]) for resp in sample["resps"]] for sample in samples]}
print("FOUND " + json.dumps(found))
"""


class LmEval(ProgramTest):
    """The harness asks the server; `bitsmith eval --tasks` judges the same items by itself."""
    ITEMS = 12

    def write_task(self, name, records, **more):
        data = self.folder / f"{name}.jsonl"
        data.write_text(jsonl(*records))
        # YAML is a superset of JSON.
        (self.folder / "yaml" / f"{name}.yaml").write_text(json.dumps({
            "task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}}, "test_split": "test",
            "metadata": {"version": 1.0}, **more}))

    def harness_tasks(self, data):
        """The items of tests/task_files.py as the harness has them, under names of their own."""
        read = lambda name: [json.loads(line) for line in (data / name).read_text().splitlines()]  # noqa: E731
        metric = lambda name, higher=True: {"metric": name, "aggregation": "perplexity" if name == "perplexity" else "mean",  # noqa: E731
                                            "higher_is_better": higher}
        choices = {"output_type": "multiple_choice", "doc_to_text": "query", "doc_to_choice": "choices", "doc_to_target": "gold",
                   "metric_list": [metric("acc"), metric("acc_norm")]}
        self.write_task("our_arc_easy", [
            {"query": f"Question: {r['question']['stem']}\nAnswer:", "choices": [c["text"] for c in r["question"]["choices"]],
             "gold": [c["label"] for c in r["question"]["choices"]].index(r["answerKey"])}
            for r in read("arc_easy_test.jsonl")], **choices)
        labels = (data / "piqa_valid_labels.lst").read_text().split()
        self.write_task("our_piqa", [
            {"query": f"Question: {r['goal']}\nAnswer:", "choices": [r["sol1"], r["sol2"]], "gold": int(label)}
            for r, label in zip(read("piqa_valid.jsonl"), labels, strict=True)], **choices)
        self.write_task("our_boolq", [
            {"query": f"{r['title']} -- {r['passage']}\nQuestion: {r['question']}?\nAnswer:", "choices": ["no", "yes"],
             "gold": int(r["answer"])} for r in read("boolq_dev.jsonl")], **choices)
        self.write_task("our_lambada_openai", read("lambada_openai_test.jsonl"), output_type="loglikelihood",
                        doc_to_text="context", doc_to_target="{{' ' + continuation}}",
                        metric_list=[metric("perplexity", False), metric("acc")])

    def test_agrees_with_eval(self):
        python = virtual_environment("lm_eval_venv", ["lm-eval[api]", "transformers"])
        data = self.folder / "data"
        for folder in (data, self.folder / "yaml"):
            folder.mkdir()
        task_files(data, items=self.ITEMS)
        self.harness_tasks(data)
        names = ["arc_easy", "piqa", "boolq", "lambada_openai"]
        with Server("--context", 257) as server:
            run = subprocess.run([python, "-c", LM_EVAL, f"http://127.0.0.1:{server.port}/v1/completions", TRAINED,
                                  self.folder / "yaml", ",".join("our_" + name for name in names)],
                                 env={**os.environ, "NO_PROXY": "127.0.0.1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1",
                                      "HF_HOME": str(self.folder / "home")}, capture_output=True, text=True, timeout=1200)
        self.assertEqual(run.returncode, 0, run.stderr[-4000:])
        theirs = json.loads(next(line for line in run.stdout.splitlines() if line.startswith("FOUND "))[len("FOUND "):])
        log = self.folder / "log.jsonl"
        report = self.succeed("eval", TRAINED, "--tasks", ",".join(names), "--task-data", data, "--engine", "runtime",
                              "--task-log", log, "--json").json()
        ours = {name: [] for name in names}
        for line in map(json.loads, log.read_text().splitlines()[1:]):
            ours[line["task"]].append(line)
        for figures in report["tasks"]:
            name = figures["task"]
            found = theirs["our_" + name]
            self.assertEqual(len(found["resps"]), self.ITEMS)
            for item, responses in zip(sorted(ours[name], key=lambda line: line["item"]), found["resps"], strict=True):
                for own, (log_likelihood, greedy), own_greedy in zip(item["loglikelihoods"], responses, item["greedy"], strict=True):
                    # The server computes with rounded weights, keys and values; eval with float32.
                    self.assertAlmostEqual(float(log_likelihood), own, delta=0.02 * abs(own) + 0.02)
                    self.assertEqual(bool(greedy), bool(own_greedy))
            for figure in ("acc", "acc_norm"):
                if figure in figures:
                    self.assertAlmostEqual(found["figures"][figure], figures[figure], places=6, msg=f"{name} {figure}")
            if "perplexity" in figures:
                self.assertAlmostEqual(found["figures"]["perplexity"] / figures["perplexity"], 1, delta=0.02)


if __name__ == "__main__":
    main()
