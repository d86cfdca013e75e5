#!/usr/bin/env python3
"""bitsmith eval --tasks."""
import json
import math
import time

from support import HELDOUT, TRAINED, ProgramTest, interrupted, main, read_safetensors
from task_files import task_files


class Tasks(ProgramTest):
    """Zero-shot judging: eval --tasks."""
    ALL = ["arc_easy", "arc_challenge", "hellaswag", "piqa", "winogrande", "boolq", "lambada_openai"]

    def setUp(self):
        super().setUp()
        self.data = self.folder / "tasks"
        self.data.mkdir()
        task_files(self.data)

    def command(self, *more, tasks=None):
        return ["eval", TRAINED, "--tasks", ",".join(tasks or self.ALL), "--task-data", self.data, "--engine", "runtime", *more]

    def judge(self, *more, tasks=None):
        """The figures of each task, without times."""
        report = self.succeed(*self.command("--json", *more, tasks=tasks)).json()
        return [{key: value for key, value in task.items() if key != "seconds"} for task in report["tasks"]]

    def test_all_tasks(self):
        figures = self.judge()
        self.assertEqual([task["task"] for task in figures], self.ALL)
        for task in figures:
            self.assertEqual(task["items"], 12)
            self.assertEqual("acc_norm" in task, task["task"] in self.ALL[:4], task)
            self.assertEqual("perplexity" in task, task["task"] == "lambada_openai", task)
        self.assertGreater(figures[-1]["acc"], 0.9)  # the model has learned it
        self.assertLess(figures[-1]["perplexity"], 2)
        text = self.succeed(*self.command()).out
        for words in ["acc_norm", "lambada_openai", "0-shot", "lm-evaluation-harness", "without BOS", "256 tokens"]:
            self.assertIn(words, text)
        both = self.succeed(*self.command("--text", HELDOUT, "--windows", 1, "--json", tasks=["boolq"])).json()
        self.assertIn("perplexity", both)
        self.assertEqual([task["task"] for task in both["tasks"]], ["boolq"])

    def test_log_likelihoods_are_those_of_the_logits(self):
        """Computed again from what tokenize and logits say; a short context cuts prompts on the left."""
        for context in [256, 24]:
            log = self.folder / f"log{context}.jsonl"
            self.judge("--task-log", log, "--context", context, "--task-limit", 2)
            for name, prompt, continuations in [
                    ("piqa", "Question: {goal}\nAnswer:", [" {sol1}", " {sol2}"]),
                    ("boolq", "{title} -- {passage}\nQuestion: {question}?\nAnswer:", [" no", " yes"])]:
                file = next(self.data.glob(f"{name}*.jsonl"))
                record = json.loads(file.read_text().splitlines()[1])
                found = next(line for line in map(json.loads, log.read_text().splitlines()[1:])
                             if (line["task"], line["item"]) == (name, 1))
                for i, pattern in enumerate(continuations):
                    context_ids, ids = (self.succeed("tokenize", TRAINED, "--text", text, "--json").json()["ids"] for text in
                                        [prompt.format(**record), (prompt + pattern).format(**record)])
                    judged = len(ids) - len(context_ids)
                    ids = ids[-(context + 1):]
                    out = self.folder / f"{name}{context}-{i}.safetensors"
                    self.succeed("logits", TRAINED, "--ids", ",".join(map(str, ids[:-1])), "--engine", "runtime", "-o", out)
                    (_, vocabulary), logits = read_safetensors(out)["logits"]
                    total = 0
                    for position in range(len(ids) - 1 - judged, len(ids) - 1):
                        row = logits[position * vocabulary:(position + 1) * vocabulary]
                        total += row[ids[position + 1]] - math.log(math.fsum(map(math.exp, row)))
                    self.assertAlmostEqual(found["loglikelihoods"][i] / total, 1, places=5)

    def test_goes_on_from_the_log(self):
        log = self.folder / "log.jsonl"
        whole = self.judge("--task-log", log)
        self.assertEqual(whole, self.judge())
        lines = log.read_text().splitlines(keepends=True)
        self.assertEqual(len(lines), 1 + 12 * len(self.ALL))
        log.write_text("".join(lines[:40]) + lines[40][:17])  # as a kill would leave it
        self.assertEqual(self.judge("--task-log", log), whole)
        self.assertEqual(log.read_text(), "".join(lines))
        other = self.folder / "other.jsonl"
        self.judge("--task-log", other, "--task-limit", 5)
        self.assertEqual(self.judge("--task-log", other), whole)  # more items of the same request
        self.assertEqual(sorted(other.read_text().splitlines()), sorted(log.read_text().splitlines()))

    def test_an_interrupt_keeps_what_is_judged(self):
        task_files(self.data, items=400)
        log = self.folder / "log.jsonl"
        err = interrupted(*self.command("--task-log", log), after=lambda: log.exists() and log.stat().st_size > 20000)
        self.assertIn(f"{log}, and the same command goes on", err)
        judged = len(log.read_text().splitlines()) - 1
        self.assertTrue(0 < judged < 400 * len(self.ALL))
        loaded = time.time() + 1
        self.assertIn("--task-log FILE", interrupted(*self.command(), after=lambda: time.time() > loaded))

    def test_refusals(self):
        log = self.folder / "log.jsonl"
        self.judge("--task-log", log, tasks=["piqa"])
        refuse = lambda *more, tasks=None, codes=(2,), says: self.fail_cleanly(*self.command(*more, tasks=tasks), codes=codes, says=says)  # noqa: E731
        refuse("--task-log", log, says=["log.jsonl belongs to another request", "task_data"])
        refuse("--task-log", log, "--context", 64, tasks=["piqa"], says=["context is 256 there, 64 here"])
        refuse("--task-log", TRAINED / "config.json", tasks=["piqa"], says=["no task log"])
        refuse(tasks=["piqa", "helaswag"], says=["unknown task 'helaswag'; did you mean 'hellaswag'?"])
        refuse(tasks=["mmlu"], says=["unknown task 'mmlu'", "arc_easy", "lambada_openai"])
        refuse("--teacher", TRAINED, says=["--teacher", "--text"])
        self.fail_cleanly("eval", TRAINED, "--tasks", "piqa", codes=(2,), says=["--task-data"])
        self.fail_cleanly("eval", TRAINED, "--text", HELDOUT, "--task-limit", 3, codes=(2,), says=["--tasks"])
        self.fail_cleanly("eval", TRAINED, codes=(2,), says=["--text", "--tasks"])
        refuse("--context", 2, tasks=["piqa"], codes=(1,), says=["piqa, item 1", "context of 2"])
        (self.data / "piqa_valid_labels.lst").unlink()
        refuse(tasks=["piqa"], codes=(1,), says=["piqa_valid_labels.lst is missing"])
        (self.data / "boolq_dev.jsonl").write_text('{"question": "a"}\n')
        refuse(tasks=["boolq"], codes=(1,), says=["boolq_dev.jsonl, line 1"])


if __name__ == "__main__":
    main()
