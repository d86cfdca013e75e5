#!/usr/bin/env python3
"""Do `bitsmith eval --tasks` and lm-evaluation-harness agree, item by item?

    python3 -m venv harness && harness/bin/pip install "lm-eval[hf]==0.4.13" gguf
    bench/agreement.py MODEL --task-data DIR --python harness/bin/python --work out/agreement

Both judge the first --items items of each task's file in DIR (docs/evaluation.md): the harness with transformers in float32,
on the tasks of its own YAML files, with this data. The table has the largest relative difference of two log-likelihoods, how
many are compared, how often one finds a continuation greedy and the other does not, and the figures of both. Exit code 1
where a difference is above --tolerance, or a figure is another one. Answers are kept in WORK, task by task: the same command
goes on where it was stopped. Standard library only, but for what --python runs.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import measured_rows as shared

LEAST = 0.01  # nats: differences of smaller log-likelihoods are relative to this
HARNESS = Path(__file__).resolve().parent / "lm_eval_answers.py"


def records(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def arc(name):
    def items(folder):
        for r in records(folder / f"{name}_test.jsonl"):
            choices = r["question"]["choices"]
            yield {"id": r["id"], "question": r["question"]["stem"], "answerKey": r["answerKey"],
                   "choices": {"text": [c["text"] for c in choices], "label": [c["label"] for c in choices]}}
    return items


def hellaswag(folder):
    lines = (folder / "hellaswag_val.txt").read_text(encoding="utf-8").splitlines()
    for i in range(0, len(lines) - 5, 6):
        yield {"query": lines[i], "label": int(lines[i + 1]), "choices": lines[i + 2:i + 6]}


def piqa(folder):
    labels = (folder / "piqa_valid_labels.lst").read_text().split()
    for r, label in zip(records(folder / "piqa_valid.jsonl"), labels, strict=True):
        yield {"goal": r["goal"], "sol1": r["sol1"], "sol2": r["sol2"], "label": int(label)}


def winogrande(folder):
    for r in records(folder / "winogrande_dev.jsonl"):
        yield {name: r[name] for name in ("sentence", "option1", "option2", "answer")}


def boolq(folder):
    for r in records(folder / "boolq_dev.jsonl"):
        yield {"question": r["question"], "passage": f"{r['title']} -- {r['passage']}", "label": int(r["answer"])}


def lambada(folder):
    for r in records(folder / "lambada_openai_test.jsonl"):
        yield {"text": r.get("text") or f"{r['context']} {r['continuation']}"}


# The items of a folder in the form of the data set that the harness's YAML file names.
TASKS = {"arc_easy": arc("arc_easy"), "arc_challenge": arc("arc_challenge"), "hellaswag": hellaswag, "piqa": piqa,
         "winogrande": winogrande, "boolq": boolq, "lambada_openai": lambada}


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", metavar="MODEL")
    p.add_argument("--reference", help="the same model as transformers loads it (default: MODEL)")
    p.add_argument("--task-data", type=Path, required=True)
    p.add_argument("--tasks", default=",".join(TASKS))
    p.add_argument("--items", type=int, default=250, help="of each task")
    p.add_argument("--engine", default="torch", choices=["torch", "runtime"])
    p.add_argument("--tolerance", type=float, default=1e-3, help="of log-likelihoods, relative")
    p.add_argument("--python", default=sys.executable, help="of an environment with lm-eval, transformers and torch")
    p.add_argument("--work", type=Path, required=True)
    p.add_argument("--bitsmith", default="build/release/bitsmith")
    args = p.parse_args()
    args.tasks = args.tasks.split(",")
    for task in args.tasks:
        if task not in TASKS:
            p.error(f"unknown task {task}: choose of {', '.join(TASKS)}")
    return args


def answers_of_harness(args, task):
    out = args.work / f"{task}.answers.json"
    if not out.exists():
        print(f"lm-evaluation-harness: {task} ...", file=sys.stderr, flush=True)
        items = args.work / f"{task}.jsonl"
        first = list(TASKS[task](args.task_data))[:args.items]
        items.write_text("".join(json.dumps(item) + "\n" for item in first), encoding="utf-8")
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(args.work / "home")}
        with open(args.work / "log.txt", "ab") as log:
            done = subprocess.run([args.python, HARNESS, args.reference or args.model, "float32", task, items, out],
                                  env={**os.environ, **offline}, stdout=log, stderr=log)
        if done.returncode != 0:
            sys.exit(f"lm-evaluation-harness failed on {task}, see {args.work / 'log.txt'}")
        shutil.rmtree(args.work / "home", ignore_errors=True)
    return json.loads(out.read_text())


def answers_of_bitsmith(args):
    """Figures and items of each task; an interrupted eval goes on by its log."""
    log = args.work / "bitsmith.jsonl"
    command = [args.bitsmith, "eval", args.model, "--tasks", ",".join(args.tasks), "--task-data", args.task_data, "--task-limit",
               args.items, "--task-log", log, "--engine", args.engine, "--json", "--quiet"]
    report = json.loads(shared.run([*map(str, command)], args.work / "log.txt")[0])
    items = {task: {} for task in args.tasks}
    for line in log.read_text().splitlines()[1:]:
        record = json.loads(line)
        if record["task"] in items:
            items[record["task"]][record["item"]] = list(zip(record["loglikelihoods"], record["greedy"]))
    return {figures["task"]: (figures, [items[figures["task"]][i] for i in sorted(items[figures["task"]])])
            for figures in report["tasks"]}


def compare(own, theirs):
    """Largest relative difference, scores compared, greedy flags that differ."""
    worst, scores, flags = 0.0, 0, 0
    for ours, others in zip(own, theirs, strict=True):
        for (score, greedy), (other, other_greedy) in zip(ours, others, strict=True):
            worst = max(worst, abs(score - other) / max(abs(other), LEAST))
            scores += 1
            flags += bool(greedy) != bool(other_greedy)
    return worst, scores, flags


def main():
    args = parse()
    shared.keep_settings(args.work, {"model": Path(args.model).name, "reference": args.reference, "items": args.items,
                                     "engine": args.engine})
    theirs = {task: answers_of_harness(args, task) for task in args.tasks}
    ours = answers_of_bitsmith(args)
    agree, lines = True, []
    for task in args.tasks:
        figures, items = ours[task]
        worst, scores, flags = compare(items, theirs[task]["items"])
        agree = agree and worst <= args.tolerance
        cells = []
        for figure in ("acc", "acc_norm"):
            own, other = figures.get(figure), theirs[task]["figures"].get(figure)
            cells.append("-" if own is None else f"{own:.4f} / {other:.4f}")
            agree = agree and (own is None or abs(own - other) < 1e-9)
        lines.append([task, str(len(items)), str(scores), f"{worst:.1e}", str(flags), *cells])
    print(shared.markdown(["task", "items", "log-likelihoods", "largest difference", "greedy flags that differ",
                           "acc, here / harness", "acc_norm"], lines))
    versions = {answers["harness"] for answers in theirs.values()}
    print(f"\nlm-evaluation-harness {', '.join(sorted(versions))}; " +
          ("they agree" if agree else f"they do NOT agree within {args.tolerance}"))
    sys.exit(0 if agree else 1)


if __name__ == "__main__":
    main()
