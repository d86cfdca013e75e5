#!/usr/bin/env python3
"""What lm-evaluation-harness answers on local items, for agreement.py: in a Python that has lm-eval, transformers and torch.

    python lm_eval_answers.py MODEL DTYPE TASK ITEMS.jsonl OUT.json

The task is the harness's own YAML file; only its data set is replaced by the items, in the data set's form.
"""
import json
import sys
from pathlib import Path

import lm_eval
from lm_eval.tasks import TaskManager

YAML = {"arc_easy": "arc/arc_easy.yaml", "arc_challenge": "arc/arc_challenge.yaml", "hellaswag": "hellaswag/hellaswag.yaml",
        "piqa": "piqa/piqa.yaml", "winogrande": "winogrande/default.yaml", "boolq": "super_glue/boolq/default.yaml",
        "lambada_openai": "lambada/lambada_openai.yaml"}
# The local text of HellaSwag is what this function makes of the original.
CLEANED = {"hellaswag": {"process_docs": None}}


def write_task(task, items, folder):
    """A task `local_TASK`. YAML is a superset of JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"local_{task}.yaml").write_text(json.dumps({
        "include": str(Path(lm_eval.__file__).parent / "tasks" / YAML[task]), "task": f"local_{task}", "dataset_path": "json",
        "dataset_name": None, "dataset_kwargs": {"data_files": {"test": str(items)}}, "training_split": None,
        "validation_split": None, "test_split": "test", **CLEANED.get(task, {})}))


def model_arguments(model, dtype):
    if model.suffix == ".gguf":
        return {"pretrained": str(model.parent), "gguf_file": model.name, "dtype": dtype}
    return {"pretrained": str(model), "dtype": dtype}


def main():
    model, dtype, task, items, out = sys.argv[1:]
    out = Path(out)
    folder = out.parent / f"{task}_task"
    write_task(task, items, folder)
    results = lm_eval.simple_evaluate(
        model="hf", model_args=model_arguments(Path(model), dtype), tasks=[f"local_{task}"], device="cpu", batch_size=8,
        task_manager=TaskManager(include_path=str(folder), include_defaults=False), bootstrap_iters=0, log_samples=True)
    found = results["results"][f"local_{task}"]
    samples = sorted(results["samples"][f"local_{task}"], key=lambda sample: sample["doc_id"])
    answers = {
        "harness": lm_eval.__version__,
        "figures": {key.removesuffix(",none"): value for key, value in found.items() if key.endswith(",none")},
        # Of each item's choices: log-likelihood, and whether greedy decoding gives it.
        "items": [[[float(score), bool(greedy)] for (score, greedy), *_ in sample["resps"]] for sample in samples]}
    partial = out.with_suffix(".tmp")
    partial.write_text(json.dumps(answers))
    partial.rename(out)


if __name__ == "__main__":
    main()
