"""Files of every task of bitsmith eval --tasks."""
import random

from support import jsonl


def task_files(folder, items=12):
    """A file of every task, about what the tiny trained model has learned."""
    rng = random.Random(5)
    names = ["Anna", "Boris", "Clara", "David", "Emma"]
    colors = ["red", "green", "blue", "white"]
    arc, hellaswag, piqa, labels, winogrande, boolq, lambada = [], [], [], [], [], [], []
    for i in range(items):
        one, two = rng.sample(names, 2)
        gold = rng.randrange(3)
        arc.append({"id": f"q{i}", "answerKey": "ABC"[gold], "question": {"stem": f"{one} carries a {colors[gold]} kite. "
                    "Which color has it?", "choices": [{"text": color, "label": label} for color, label in zip(colors, "ABC")]}})
        hellaswag += [f"Kites: {one} carries a {colors[gold]} kite to the river. At the river", str(gold),
                      *(f"there is a {color} kite." for color in colors)]
        piqa.append({"goal": f"{one} is older than {two}.", "sol1": f"So {two} is younger than {one}.", "sol2": f"So {one} sits "})
        labels.append(str(i % 2))
        winogrande.append({"qID": f"w{i}", "sentence": f"{one} is older than {two}. So _ is younger than {one}.",
                           "option1": one, "option2": two, "answer": "2"})
        boolq.append({"question": f"is {one} older than {two}", "title": "Age", "answer": i % 3 > 0,
                      "passage": f"{one} is older than {two}. " * 6})
        lambada.append({"context": f"{one} carries a {colors[gold]} lamp to the market. At the market there is a {colors[gold]}",
                        "continuation": "lamp."})
    for name, text in {"arc_easy_test.jsonl": jsonl(*arc), "arc_challenge_test.jsonl": jsonl(*arc[::-1]),
                       "hellaswag_val.txt": "\n".join(hellaswag) + "\n", "piqa_valid.jsonl": jsonl(*piqa),
                       "piqa_valid_labels.lst": "\n".join(labels) + "\n", "winogrande_dev.jsonl": jsonl(*winogrande),
                       "boolq_dev.jsonl": jsonl(*boolq), "lambada_openai_test.jsonl": jsonl(*lambada)}.items():
        (folder / name).write_text(text)
    return folder
