"""What the tables of bench/ share: commands that are timed, rows that are kept, Markdown."""
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path


def add_model_options(parser, windows=12):
    """MODEL, the text to learn from and to judge on, and where work lies."""
    parser.add_argument("model", metavar="MODEL", help="the original")
    parser.add_argument("--data", action="append", default=[], help="text to learn from; may repeat")
    parser.add_argument("--text", action="append", required=True, help="text to judge on; may repeat")
    parser.add_argument("--windows", type=int, default=windows, help="of 2048 tokens of each text")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="of the judging")
    parser.add_argument("--work", type=Path, required=True, help="folder of models and finished rows")
    parser.add_argument("--keep-models", action="store_true", help="leave the models in WORK")
    parser.add_argument("--bitsmith", default="build/release/bitsmith")


def run(command, log):
    """Runs a command and returns its output, seconds and peak bytes."""
    start = time.monotonic()
    with open(log, "ab") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"failed, see {log}: {shlex.join(command)}")
    return output.decode(), time.monotonic() - start, usage.ru_maxrss * 1024


def keep_settings(work, settings):
    """What all that is kept in a folder depends on. Results of other settings are not mixed with it."""
    work.mkdir(parents=True, exist_ok=True)
    kept = work / "settings.json"
    if not kept.exists():
        kept.write_text(json.dumps(settings, indent=1) + "\n")
    for name, value in json.loads(kept.read_text()).items():
        if settings.get(name) != value:
            sys.exit(f"{kept}: what is there was made with {name} {value}, not {settings.get(name)}: choose another --work")


def read_rows(file):
    """Those of a file that a run may have been killed in: a last line that is cut is taken away, for its row to be made again."""
    if not file.exists():
        return []
    text = file.read_text(encoding="utf-8", errors="replace")
    lines, rows = text.splitlines(), []
    for place, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if place < len(lines):
                sys.exit(f"{file}: line {place} is not JSON ({error}): delete it to have its row done again")
            print(f"{file}: the last line is cut; its row is made again", file=sys.stderr)
    if len(rows) < len(lines) or not text.endswith("\n"):
        whole = file.with_suffix(".new")
        whole.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        whole.replace(file)
    return rows


class KeptRows:
    """Rows in WORK/rows.jsonl: the same command goes on where it was stopped; delete a line to have it done again."""

    def __init__(self, work, settings):
        keep_settings(work, settings)
        self.file = work / "rows.jsonl"
        self.done = read_rows(self.file)

    def row(self, key, make):
        """The row with all entries of `key`, by make() where it is not there yet."""
        for row in self.done:
            if all(row.get(name) == value for name, value in key.items()):
                return row
        print(" ".join(str(value) for value in key.values() if value), "...", file=sys.stderr, flush=True)
        row = key | make()
        with open(self.file, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.done.append(row)
        return row


def common_settings(args):
    """Of rows that are made with the options of add_model_options()."""
    return {"model": Path(args.model).name, "data": [Path(data).name for data in args.data],
            "text": [Path(text).name for text in args.text], "windows": args.windows, "dtype": args.dtype}


def model_folder(args, *words):
    """A name in WORK for the model that these words make."""
    return str(args.work / "".join(c if c.isalnum() else "_" for c in " ".join(map(str, words))).strip("_"))


def make_model(args, command, out, log):
    """Runs a command of bitsmith that makes the model `out`; its report, with the process's seconds and peak bytes."""
    output, seconds, memory = run([args.bitsmith, *map(str, command), "-o", out, "--json", "--quiet"], log)
    return json.loads(output) | {"process_seconds": seconds, "process_memory": memory}


def data_options(args):
    return [word for data in args.data for word in ("--data", data)]


def evaluate(args, model, log):
    """Bits and bytes of a model and its figures on each text, against the original."""
    command = [args.bitsmith, "eval", model, "--windows", str(args.windows), "--json", "--quiet", "--dtype", args.dtype]
    if model != args.model:
        command += ["--teacher", args.model]
    for text in args.text:
        command += ["--text", text]
    facts = json.loads(run(command, log)[0])
    texts = facts.get("results", [facts])
    return {"bits": facts["bits"], "bytes": facts["file_bytes"],
            "texts": [{k: t.get(k) for k in ("perplexity", "kl", "kl_error", "top1")} for t in texts]}


def number(value):
    return "-" if value is None else f"{value:.2f}" if value < 1000 else f"{value:.0f}"


def four_digits(value):
    return "-" if value is None else f"{value:.4f}"


def percent(share):
    return "-" if share is None else f"{100 * share:.1f}"


def minutes(seconds):
    return "-" if seconds is None else f"{round(seconds) // 60}:{round(seconds) % 60:02d}"


def gibibytes(size):
    return "-" if size is None else f"{size / 2**30:.2f} GiB"


def text_head(args):
    """Columns of evaluate()'s figures: perplexity, KL and top-1 of each text."""
    return [column for text in args.text for column in (Path(text).name, "KL", "top-1")]


def text_cells(texts):
    return [cell for t in texts for cell in (number(t["perplexity"]), four_digits(t["kl"]), percent(t["top1"]))]


def markdown(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
