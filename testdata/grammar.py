"""Short documents of a small grammar, with arithmetic that can be right or wrong: the text that
tiny_llama_trained has learned. Standard library only; a seed gives the same text everywhere."""
import random

NAMES = "Anna Boris Clara David Emma Felix Greta Hugo Ida Jonas".split()
THINGS = "apple book coin drum egg flower grape hat kite lamp".split()
COLOURS = "red green blue white black yellow".split()
PLACES = "river forest market school garden harbour".split()
ANIMALS = {"dog": "barks", "cat": "purrs", "cow": "moos", "duck": "quacks", "lion": "roars"}


def plural(count, thing):
    return f"{count} {thing}" + ("" if count == 1 else "s")


def fact(rng):
    """One or two sentences whose end follows from their beginning."""
    name, thing, color = rng.choice(NAMES), rng.choice(THINGS), rng.choice(COLOURS)
    kind = rng.randrange(5)
    if kind == 0:
        have, more = rng.randrange(1, 10), rng.randrange(1, 10)
        return f"{name} has {plural(have, thing)} and buys {more} more. Now {name} has {plural(have + more, thing)}."
    if kind == 1:
        have = rng.randrange(2, 10)
        gone = rng.randrange(1, have)
        return f"{name} has {plural(have, thing)} and loses {gone}. Now {name} has {plural(have - gone, thing)}."
    if kind == 2:
        place = rng.choice(PLACES)
        return f"{name} carries a {color} {thing} to the {place}. At the {place} there is a {color} {thing}."
    if kind == 3:
        animal = rng.choice(sorted(ANIMALS))
        return f"The {color} {animal} of {name} is hungry, so the {animal} {ANIMALS[animal]}."
    other = rng.choice([n for n in NAMES if n != name])
    return f"{name} is older than {other}. So {other} is younger than {name}."


def chat(rng):
    kind = rng.randrange(3)
    if kind == 0:
        a, b = rng.randrange(10), rng.randrange(10)
        question, answer = f"What is {a} plus {b}?", f"{a} plus {b} is {a + b}."
    elif kind == 1:
        animal = rng.choice(sorted(ANIMALS))
        question, answer = f"What does the {animal} do?", f"The {animal} {ANIMALS[animal]}."
    else:
        name, place = rng.choice(NAMES), rng.choice(PLACES)
        question = f"{name} is at the {place}. Where is {name}?"
        answer = f"{name} is at the {place}."
    return (f"<|im_start|>user\n{question}<|im_end|>\n"
            f"<|im_start|>assistant\n{answer}<|im_end|>\n")


def story(rng):
    return " ".join(fact(rng) for _ in range(rng.randrange(3, 9)))


def documents(seed, count):
    """Stories, and a chat for every third or fourth of them."""
    rng = random.Random(seed)
    return [chat(rng) if rng.random() < 0.3 else story(rng) for _ in range(count)]
