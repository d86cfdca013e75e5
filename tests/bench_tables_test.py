#!/usr/bin/env python3
"""The scripts of bench/ that make tables, on the tiny trained model: rows, resuming, refusals."""
import json
import os
import subprocess
import sys

from support import CALIBRATION, HELDOUT, PROGRAM, ROOT, TRAINED, ProgramTest, main
from task_files import task_files

# Writes what it is told in place of lm-evaluation-harness.
HARNESS = """#!/usr/bin/env python3
import json, os, sys
task, out = sys.argv[4], sys.argv[6]
answers = json.load(open(os.environ["ANSWERS"]))[task]
items = [json.loads(line) for line in open(sys.argv[5])]
assert len(items) == len(answers["items"]), (task, len(items))
json.dump(answers, open(out, "w"))
"""


class BenchTables(ProgramTest):
    def script(self, name, *arguments, program=PROGRAM, code=0, **environment):
        run = subprocess.run([sys.executable, "-B", ROOT / "bench" / name, TRAINED, *map(str, arguments), "--bitsmith", program],
                             capture_output=True, text=True, timeout=900, env={**os.environ, **environment})
        self.assertEqual(run.returncode, code, run.stderr[-4000:] + run.stdout[-2000:])
        return run

    def table(self, name, *arguments, **options):
        """The cells of the Markdown table, without its rule; each row has as many as the head."""
        lines = [line[2:-2].split(" | ") for line in self.script(name, *arguments, **options).stdout.splitlines()
                 if line.startswith("|")]
        self.assertEqual({len(line) for line in lines}, {len(lines[0])}, lines)
        return [lines[0], *lines[2:]]

    def check_resumes(self, name, *arguments):
        """The same command again runs nothing; a row that is taken away is made again, and other text is refused."""
        work = self.folder / "work"
        arguments = [*arguments, "--text", HELDOUT, "--windows", 2, "--work", work]
        first = self.table(name, *arguments)
        self.assertEqual(self.table(name, *arguments, program="/bin/false"), first)
        rows = (work / "rows.jsonl").read_text().splitlines()
        (work / "rows.jsonl").write_text("\n".join(rows[:-1]) + "\n")
        again = self.table(name, *arguments)
        self.assertEqual([row[:3] for row in again], [row[:3] for row in first])
        self.assertEqual(len((work / "rows.jsonl").read_text().splitlines()), len(rows))
        other = [*arguments[:-1], work, "--windows", 3]
        self.assertIn("windows", self.script(name, *other, code=1).stderr)
        return first

    def test_method_table(self):
        rows = self.check_resumes("method_table.py", "--row", "GPTQ=--representation int4g64", "--data", CALIBRATION,
                                  "--calibration-tokens", 2048)
        self.assertEqual([row[0] for row in rows[1:]], ["original", "GPTQ"])
        self.assertGreater(float(rows[2][rows[0].index("KL")]), 0)

    def test_levers(self):
        rows = self.table("method_table.py", "--row", "AQLM=--representation aq1x8g8", "--lever=--shrink-hessian",
                          "--lever=--cross-term 1", "--data", CALIBRATION, "--calibration-tokens", 2048, "--text", HELDOUT,
                          "--windows", 2, "--work", self.folder / "work")
        base = "--representation aq1x8g8"
        self.assertEqual([row[1] for row in rows[2:]], [f"`{options}`" for options in (
            base, f"{base} --shrink-hessian", f"{base} --cross-term 1", f"{base} --shrink-hessian --cross-term 1")])
        self.assertEqual(len({row[rows[0].index("KL")] for row in rows[2:]}), 4, rows)

    def test_learning_curve(self):
        rows = self.check_resumes("learning_curve.py", "--representation", "aq1x8g8", "--tokens", 2048, "--tokens", 8192,
                                  "--data", CALIBRATION)
        head = rows[0]
        self.assertEqual([row[0] for row in rows[1:]], ["corpus", "corpus", "own", "own"])
        tokens = [int(row[head.index("tokens")]) for row in rows[1:]]
        self.assertTrue(tokens[0] < tokens[1] and tokens[2] < tokens[3], tokens)
        for row in rows[1:]:
            self.assertGreater(float(row[head.index("KL, held out")]), 0)

    def test_tuning_table(self):
        grid = ["--grid", "continuous=--learning-rate 0.001", "--grid", "continuous=--learning-rate 0.003", "--grid", "pv="]
        rows = self.check_resumes("tuning_table.py", "--base", "int2g64", "--data", CALIBRATION, "--calibration-tokens", 2048,
                                  "--minutes", 0.05, "--grid-minutes", 0.02, *grid)
        self.assertEqual([row[1] for row in rows[1:]], ["calibration only", "`continuous`", "`pv`"])
        kept = [json.loads(line) for line in (self.folder / "work/rows.jsonl").read_text().splitlines()]
        trials = {row["options"]: row["kl"] for row in kept if row["kind"] == "grid"}
        self.assertEqual(len(trials), 2)
        self.assertEqual(rows[2][2], f"`{min(trials, key=trials.get)}`")

    def test_tuning_table_by_tokens(self):
        grid = ["--grid", "continuous=--learning-rate 0.001", "--grid", "continuous=--learning-rate 0.003"]
        arguments = ["--base", "int2g64", "--data", CALIBRATION, "--calibration-tokens", 2048, "--tokens", 16384, *grid]
        rows = self.check_resumes("tuning_table.py", *arguments)
        kept = [json.loads(line) for line in (self.folder / "work/rows.jsonl").read_text().splitlines()]
        self.assertEqual([row["tokens"] for row in kept if row["kind"] == "grid"], [4096, 4096])
        self.assertEqual(rows[2][rows[0].index("tokens")], "16384")
        work = ["--text", HELDOUT, "--windows", 2, "--work", self.folder / "work"]
        self.assertIn("not allowed with", self.script("tuning_table.py", *arguments, "--minutes", 1, *work, code=2).stderr)
        # Killed while it wrote a row: what is cut is made again, and nothing before it.
        file = self.folder / "work/rows.jsonl"
        text = file.read_text()
        file.write_text(text[:-20])
        again = self.script("tuning_table.py", *arguments, *work)
        self.assertIn("the last line is cut", again.stderr)
        self.assertEqual([row["kind"] for row in map(json.loads, file.read_text().splitlines())], [row["kind"] for row in kept])
        file.write_text("{" + text)
        self.assertIn("line 1 is not JSON", self.script("tuning_table.py", *arguments, *work, code=1).stderr)

    def test_agreement(self):
        data = self.folder / "data"
        data.mkdir()
        task_files(data)
        names = ["arc_easy", "hellaswag", "piqa", "winogrande", "boolq", "lambada_openai"]
        log = self.folder / "log.jsonl"
        report = self.succeed("eval", TRAINED, "--tasks", ",".join(names), "--task-data", data, "--task-limit", 5, "--task-log",
                              log, "--json").json()
        answers = {figures["task"]: {"harness": "0.0", "figures": figures, "items": []} for figures in report["tasks"]}
        for record in map(json.loads, log.read_text().splitlines()[1:]):
            answers[record["task"]]["items"].append(list(zip(record["loglikelihoods"], record["greedy"])))
        harness, told = self.folder / "harness.py", self.folder / "answers.json"
        harness.write_text(HARNESS)
        harness.chmod(0o755)
        command = ["--task-data", data, "--tasks", ",".join(names), "--items", 5, "--python", harness, "--work"]
        told.write_text(json.dumps(answers))
        rows = self.table("agreement.py", *command, self.folder / "same", ANSWERS=str(told))
        self.assertEqual([row[0] for row in rows[1:]], names)
        self.assertEqual({(row[1], row[3], row[4]) for row in rows[1:]}, {("5", "0.0e+00", "0")})
        score, greedy = answers["piqa"]["items"][2][1]
        answers["piqa"]["items"][2][1] = [score * 1.01, not greedy]
        told.write_text(json.dumps(answers))
        run = self.script("agreement.py", *command, self.folder / "other", ANSWERS=str(told), code=1)
        self.assertIn("do NOT agree", run.stdout)
        self.assertRegex(run.stdout, r"\| piqa \| 5 \| 10 \| 9.9e-03 \| 1 \|")


if __name__ == "__main__":
    main()
