#!/usr/bin/env python3
"""Writes a corpus of small stories from a probabilistic grammar whose entropy is known exactly.

A language model can at best learn the distribution its data came from, so with a corpus made this way the loss has a
floor that no guess is needed for: the entropy of the grammar. A demonstration that ends near that floor has learned
everything there is to learn; one that ends below it has a bug, and so has one that stays far above.

    python3 grammar.py --bytes 10000000 --seed 1 > stories.txt    # stories, an empty line after each
    python3 grammar.py --entropy                                  # JSON: the exact figures
    python3 grammar.py --score stories.txt                        # JSON: what the grammar itself pays for these
    python3 grammar.py --check                                    # proves the claims below on itself

How the figure is exact. A story is derived by a finite number of independent choices, each with fixed weights, so the
entropy of a derivation is the sum over choices of (expected number of uses) x (entropy of the choice). The entropy of
the *text* equals that of the derivation when no text has two derivations; `--check` proves this from the grammar: at
every choice the alternatives begin with different words, so a reader who goes from left to right always knows which
one was taken. Names, animals and towns are chosen once and repeated later; a repetition is no choice and costs nothing.

Tokens are the bytes of the story, the newline that ends it included, plus one end-of-document token: what `tok-shard
--tokenizer bytes --split-on ''` makes of it. Where a story ends is determined by its text, so both add no entropy.

Standard library only; `random.Random(seed).random()` is documented to give the same numbers on every Python 3.
"""

import argparse
import json
import math
import os
import random
import re
import sys
from functools import lru_cache

# -- The grammar ------------------------------------------------------------------------------------------------------
#
# A class is a list of words, equally likely. A word may have further forms after '|', named in FORMS.
# A rule is a list of (weight, template). In a template {x} derives the class or rule x; {v=x} chooses from class x,
# writes its first form and remembers it as v; {@v} repeats v, {@v.form} writes another form of it ({@v.Form}: capital).
# {a x} is {x} with its article, a or an.
#
# Names and towns begin with capitals that nothing else in a story begins with. A small model first learns to look back
# by what a byte is, long before it learns to look back by where it stood; capitals of their own let it learn in a few
# minutes to repeat a name from the story's beginning, which otherwise takes it ten times the data.

FORMS = {"name": ("name", "he", "his")}

CLASSES = {
    "name": """Basil|he|his Clara|she|her Dora|she|her Felix|he|his Greta|she|her Jasper|he|his Konrad|he|his
        Lydia|she|her Mabel|she|her Victor|he|his""",
    "animal": "cat dog goat pony",
    "town": "Oakham Pinecrest Quarryton Redcliff Underwood Westbourne Yarrow Zennor",
    "trait": """bold brave calm careful cheerful clever clumsy curious dreamy eager earnest faithful fearless gentle
        grumpy hasty honest humble hungry jolly kind lazy lively lonely loyal lucky merry modest nervous noble patient
        polite proud quiet restless shy silent sleepy stubborn wise""",
    "trade": """baker barber butcher carpenter cobbler cook dancer doctor farmer fiddler fisher gardener glazier hunter
        jeweller judge mason merchant miller miner musician painter plumber poet potter printer sailor shepherd singer
        soldier tailor teacher""",
    "look": """battered bright broken carved cheap copper cracked crooked dusty fancy fine foreign frozen golden green
        heavy hollow huge little muddy narrow painted pale polished purple rare round rusty scarlet secret shiny silver
        simple spotted square strange striped tiny velvet white""",
    "thing": """anchor apron axe barrel basket bell blanket bottle bowl bracelet bridle broom bucket button candle
        carpet chest clock coat compass crown cup drum feather flag flute goblet hammer harp helmet kettle kite ladder
        lantern letter map mirror needle oar pillow quilt ring saddle scarf table trumpet vase whistle""",
    "several": """apples beetles boots bricks buttons candles cherries coins eggs flowers forks gloves lemons letters
        nails onions pearls ribbons shells snails spoons stamps stones walnuts""",
    "did": """admired borrowed bought buried carried chose cleaned collected counted described dropped examined fetched
        found guarded hid kept lost measured noticed ordered packed painted polished remembered sketched stole touched
        unpacked wanted washed weighed""",
    "how": """absently angrily bravely briskly calmly carefully cheerfully eagerly gently gladly happily hastily
        honestly loudly merrily neatly patiently politely promptly proudly quickly quietly sadly secretly silently
        slowly softly suddenly tenderly twice warmly wisely""",
    "where": """bakery barn bridge castle cellar chapel farm ferry forge fountain garden harbour inn kitchen library
        lighthouse market meadow mill museum orchard palace pond prison river school stable station temple tower well
        windmill""",
    "near": "above behind below beside beyond inside near under",
    "stuff": """amber bread butter cheese cider cloth coal cream flour garlic ginger grain honey ivory lace leather
        linen milk paper pepper pottery rice salt silk soap sugar tea thread timber tobacco wax wool""",
    "digit": "0 1 2 3 4 5 6 7 8 9",
    "first digit": "1 2 3 4 5 6 7 8 9",
}

RULES = {
    "story": [(1, "{hero=name}, {a trait} {trade} from {home=town}, {had} {belongings}. {event} {rest}\n")],
    "belongings": [(1, "{a look} {thing} and {a trait} {pet=animal}")],
    "had": [(3, "had"), (2, "was proud of"), (1, "owned"), (1, "looked for")],
    "rest": [(1, "{end}"), (2, "{event} {end}")],
    "event": [
        (3, "{@hero} {how} {did} {object} and {object}."),
        (3, "At {clock} the {@pet} {did} {object}."),
        (2, "In {year} {@hero} {did} {object} {near} the {where}."),
        (2, "Then {@hero.he} sold {@hero.his} {look} {thing} for {amount} coins."),
        (1, "Every {trade} from {@home} {did} {stuff}, {stuff} and {stuff}."),
    ],
    "object": [
        (3, "{a look} {thing}"),
        (2, "{amount} {look} {several}"),
        (1, "some {stuff}"),
        (1, "the {thing} of the {trait} {trade}"),
    ],
    "end": [
        (2, "At last the {@pet} and {@hero} {how} went home to {@home}."),
        (1, "In the end the {@pet} gave {@hero} {object}."),
        (1, "Nobody in {@home} {did} {object} again."),
    ],
    "amount": [(1, "{first digit}{digit}")],
    "year": [(1, "17{digit}{digit}"), (2, "18{digit}{digit}")],
    "clock": [
        (10, "0{digit}:{minute}"),
        (10, "1{digit}:{minute}"),
        (1, "20:{minute}"), (1, "21:{minute}"), (1, "22:{minute}"), (1, "23:{minute}"),
    ],
    "minute": [(1, f"{ten}{{digit}}") for ten in range(6)],
}
START = "story"

# The nodes a template is made of: ("text", s), ("use", rule), ("bind", variable, class), ("same", variable, form).


def parse_template(template):
    nodes = []
    for part in re.split(r"(\{[^}]*\})", template):
        if not part.startswith("{"):
            if part:
                nodes.append(("text", part))
        elif part[1] == "@":
            variable, _, form = part[2:-1].partition(".")
            nodes.append(("same", variable, form))
        elif "=" in part:
            variable, _, word_class = part[1:-1].partition("=")
            nodes.append(("bind", variable, word_class))
        else:
            nodes.append(("use", part[1:-1]))
    return tuple(nodes)


def article(word):
    return "an" if word[0] in "aeiou" or word == "honest" else "a"


WORDS = {name: tuple(tuple(word.split("|")) for word in words.split()) for name, words in CLASSES.items()}
# A class is a rule too, whose alternatives are its words.
ALTERNATIVES = {name: tuple((weight, parse_template(t)) for weight, t in rule) for name, rule in RULES.items()}
ALTERNATIVES |= {name: tuple((1, (("text", word[0]),)) for word in words) for name, words in WORDS.items()}
ALTERNATIVES |= {
    f"a {name}": tuple((1, (("text", f"{article(word[0])} {word[0]}"),)) for word in words)
    for name, words in WORDS.items()
}
VARIABLES = {
    node[1]: node[2]
    for alternatives in ALTERNATIVES.values()
    for _, nodes in alternatives
    for node in nodes
    if node[0] == "bind"
}


def form_of(variable, word, form):
    """The form of a remembered word: `he` as it stands, `He` with a capital."""
    if not form:
        return word[0]
    text = word[FORMS[VARIABLES[variable]].index(form.lower())]
    return text.capitalize() if form[0].isupper() else text


# -- Exact figures ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=None)
def entropy(rule):
    """Nats of one derivation of a rule. The recursion ends because no rule contains itself."""
    total = sum(weight for weight, _ in ALTERNATIVES[rule])
    result = 0.0
    for weight, nodes in ALTERNATIVES[rule]:
        inner = sum(entropy(node[-1]) for node in nodes if node[0] in ("use", "bind"))
        result += weight / total * (inner - math.log(weight / total))
    return result


@lru_cache(maxsize=None)
def length(rule):
    """(expected, greatest) bytes of one derivation. Words of a class are equally likely and chosen independently of
    everything else, so a repetition has the mean length of its class wherever it stands."""
    total = sum(weight for weight, _ in ALTERNATIVES[rule])
    mean, greatest = 0.0, 0
    for weight, nodes in ALTERNATIVES[rule]:
        parts = [node_length(node) for node in nodes]
        mean += weight / total * sum(part[0] for part in parts)
        greatest = max(greatest, sum(part[1] for part in parts))
    return mean, greatest


def node_length(node):
    if node[0] == "text":
        return len(node[1].encode()), len(node[1].encode())
    if node[0] == "same":
        sizes = [len(form_of(node[1], word, node[2]).encode()) for word in WORDS[VARIABLES[node[1]]]]
        return sum(sizes) / len(sizes), max(sizes)
    return length(node[-1])


def exact_figures():
    nats, (mean, greatest) = entropy(START), length(START)
    return {
        "nats_per_document": nats,
        "bytes_per_document": mean,
        "longest_document": greatest,
        "nats_per_byte": nats / mean,
        "bits_per_byte": nats / mean / math.log(2),
        # The loss of a perfect model: per token, where a document has one token a byte and one for its end.
        "entropy_bound": nats / (mean + 1),
    }


# -- Derivation -------------------------------------------------------------------------------------------------------


def derive(rng, rule, bound, pieces):
    """Appends one random derivation of `rule` to `pieces`; returns -log of its probability, in nats."""
    alternatives = ALTERNATIVES[rule]
    total = sum(weight for weight, _ in alternatives)
    ticket = int(rng.random() * total)
    for index, (weight, nodes) in enumerate(alternatives):
        if ticket < weight:
            break
        ticket -= weight
    surprise = math.log(total / weight)
    for node in nodes:
        if node[0] == "text":
            pieces.append(node[1])
        elif node[0] == "same":
            pieces.append(form_of(node[1], bound[node[1]], node[2]))
        elif node[0] == "use":
            surprise += derive(rng, node[1], bound, pieces)
        else:
            words = WORDS[node[2]]
            bound[node[1]] = words[int(rng.random() * len(words))]
            pieces.append(bound[node[1]][0])
            surprise += math.log(len(words))
    return surprise


def stories(seed):
    """An endless series of (text, nats)."""
    rng = random.Random(seed)
    while True:
        pieces = []
        surprise = derive(rng, START, {}, pieces)
        yield "".join(pieces), surprise


# -- The proof that a text has one derivation -------------------------------------------------------------------------

TOKEN = re.compile(r"[A-Za-z]+|[^A-Za-z]")
LOOKAHEAD = 6


def beginnings(nodes, depth):
    """Every way a sequence of nodes can begin: tuples of at most `depth` tokens, shorter only if the sequence ends."""
    if not nodes or depth == 0:
        return {()}
    result = set()
    for first in node_beginnings(nodes[0], depth):
        if len(first) == depth:
            result.add(first)
        else:
            result |= {first + rest for rest in beginnings(nodes[1:], depth - len(first))}
    return result


@lru_cache(maxsize=None)
def node_beginnings(node, depth):
    if node[0] == "text":
        return {tuple(TOKEN.findall(node[1])[:depth])}
    if node[0] == "same":
        return {(form_of(node[1], word, node[2]),)[:depth] for word in WORDS[VARIABLES[node[1]]]}
    return set().union(*(beginnings(nodes, depth) for _, nodes in ALTERNATIVES[node[-1]]))


@lru_cache(maxsize=None)
def edges(node):
    """The characters a node can begin with, and those it can end with."""
    if node[0] == "text":
        return {node[1][0]}, {node[1][-1]}
    if node[0] == "same":
        forms = [form_of(node[1], word, node[2]) for word in WORDS[VARIABLES[node[1]]]]
        return {form[0] for form in forms}, {form[-1] for form in forms}
    sides = [(edges(nodes[0])[0], edges(nodes[-1])[1]) for _, nodes in ALTERNATIVES[node[-1]]]
    return set().union(*(side[0] for side in sides)), set().union(*(side[1] for side in sides))


def ambiguities():
    """Faults that would let a text have two derivations; none, if the exact figures are right.

    Read a text as tokens: words, and single other characters. Every piece of the grammar begins and ends between
    tokens (checked here: no two letters meet where pieces join), so texts and token sequences correspond one to one.
    If then at each choice no beginning of one alternative is a prefix of a beginning of another, the tokens ahead
    decide the choice, whatever follows it; by induction from left to right the derivation is the only one.
    """
    faults = []
    for rule, alternatives in ALTERNATIVES.items():
        for _, nodes in alternatives:
            for left, right in zip(nodes, nodes[1:]):
                if any(c.isalpha() for c in edges(left)[1]) and any(c.isalpha() for c in edges(right)[0]):
                    faults.append(f"{rule}: letters may meet between {left} and {right}")
        for depth in range(1, LOOKAHEAD + 1):
            begin = [beginnings(nodes, depth) for _, nodes in alternatives]
            clash = None
            owner = {}
            for index, group in enumerate(begin):
                for sequence in group:
                    if owner.setdefault(sequence, index) != index:
                        clash = sequence
            for sequence, index in owner.items():
                for cut in range(len(sequence)):
                    if owner.get(sequence[:cut], index) != index:
                        clash = sequence
            if clash is None:
                break
        else:
            faults.append(f"{rule}: two alternatives can begin with {clash}")
    for name, words in WORDS.items():
        for word in words:
            if not all(len(TOKEN.findall(form)) == 1 for form in word):
                faults.append(f"{name}: {word} is not a single token")
    return faults


def derivations(text):
    """-log probability of every derivation of a text, by trying all of them: the slow twin of the proof."""

    def expand(nodes, position, bound, surprise):
        if not nodes:
            yield position, bound, surprise
            return
        node, rest = nodes[0], nodes[1:]
        if node[0] == "use":
            total = sum(weight for weight, _ in ALTERNATIVES[node[1]])
            for weight, inner in ALTERNATIVES[node[1]]:
                for place, known, cost in expand(inner, position, bound, surprise + math.log(total / weight)):
                    yield from expand(rest, place, known, cost)
        elif node[0] == "bind":
            for word in WORDS[node[2]]:
                if text.startswith(word[0], position):
                    yield from expand(rest, position + len(word[0]), bound | {node[1]: word},
                                      surprise + math.log(len(WORDS[node[2]])))
        else:
            literal = node[1] if node[0] == "text" else form_of(node[1], bound[node[1]], node[2])
            if text.startswith(literal, position):
                yield from expand(rest, position + len(literal), bound, surprise)

    return [cost for place, _, cost in expand((("use", START),), 0, {}, 0.0) if place == len(text)]


def score(lines):
    """What the grammar itself pays for given stories: the loss a perfect model would have on exactly these."""
    surprise = tokens = documents = 0
    for number, line in enumerate(lines, 1):
        if line == "\n":
            continue
        found = derivations(line)
        if not found:
            raise SystemExit(f"grammar.py: line {number} is not a story of this grammar: {line[:60]!r}")
        surprise += found[0]
        tokens += len(line.encode()) + 1
        documents += 1
    return {"documents": documents, "tokens": tokens, "empirical_nats_per_token": surprise / max(tokens, 1)}


def check():
    faults = ambiguities()
    figures = exact_figures()

    # The same figures from samples: means of 20,000 stories, within five standard errors.
    series = stories(12345)
    sample = [next(series) for _ in range(20000)]
    for name, exact, values in (
        ("nats_per_document", figures["nats_per_document"], [surprise for _, surprise in sample]),
        ("bytes_per_document", figures["bytes_per_document"], [len(text.encode()) for text, _ in sample]),
    ):
        mean = sum(values) / len(values)
        error = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
        print(f"{name}: exact {exact:.4f}, sampled {mean:.4f} +- {error:.4f}")
        if abs(mean - exact) > 5 * error:
            faults.append(f"{name}: sampled {mean}, exact {exact}, standard error {error}")
    longest = max(len(text.encode()) for text, _ in sample)
    if longest > figures["longest_document"]:
        faults.append(f"a story of {longest} bytes is longer than the longest, {figures['longest_document']}")

    # Each of 500 texts has one derivation, with the probability noted when it was made.
    for text, surprise in sample[:500]:
        found = derivations(text)
        if len(found) != 1 or abs(found[0] - surprise) > 1e-9:
            faults.append(f"{len(found)} derivations, {found} nats instead of {surprise}: {text}")

    # Names and towns have capitals of their own, as the grammar's heading says.
    capitals = [word[0][0] for name in ("name", "town") for word in WORDS[name]]
    templates = " ".join(template for rule in RULES.values() for _, template in rule)
    texts = re.findall(r"[A-Z]", re.sub(r"\{.*?\}", "", templates))
    if len(set(capitals)) != len(capitals) or set(capitals) & set(texts):
        faults.append(f"capitals are shared: {sorted(capitals)}, {sorted(texts)}")

    # The proof can fail: a word that is also the beginning of another alternative is found.
    broken = dict(ALTERNATIVES)
    try:
        ALTERNATIVES["object"] += ((1, parse_template("{a look} {thing}")),)
        node_beginnings.cache_clear()
        if not ambiguities():
            faults.append("an ambiguous grammar passed the proof")
    finally:
        ALTERNATIVES.update(broken)
        node_beginnings.cache_clear()

    # The corpus does not change with the machine or the Python version.
    series = stories(1)
    first = next(series)[0]
    print(f"first story of seed 1: {first}", end="")
    for fault in faults:
        print(f"grammar.py: {fault}", file=sys.stderr)
    return 1 if faults else 0


# -- Command line -----------------------------------------------------------------------------------------------------


def write_corpus(file, seed, size):
    """At least `size` bytes of stories, an empty line after each (`tok-shard --split-on ''`)."""
    written = 0
    for text, _ in stories(seed):
        if written >= size:
            break
        block = text.encode() + b"\n"
        file.write(block)
        written += len(block)
    file.flush()


def main():
    parser = argparse.ArgumentParser(description="stories from a grammar whose entropy is known exactly")
    parser.add_argument("--bytes", type=int, default=10_000_000, help="size of the corpus (default 10 MB)")
    parser.add_argument("--seed", type=int, default=1, help="default 1")
    parser.add_argument("--output", metavar="FILE", help="write the corpus here, whole or not at all (default: stdout)")
    parser.add_argument("--entropy", action="store_true", help="print the exact figures as JSON instead")
    parser.add_argument("--score", metavar="FILE", help="print -log p per token of the stories in FILE ('-': stdin)")
    parser.add_argument("--check", action="store_true", help="test the grammar and the figures; exit 1 if one is off")
    arguments = parser.parse_args()
    if arguments.check:
        return check()
    if arguments.score:
        with (sys.stdin if arguments.score == "-" else open(arguments.score, encoding="utf-8")) as lines:
            print(json.dumps(exact_figures() | score(lines)))
    elif arguments.entropy:
        print(json.dumps(exact_figures()))
    elif arguments.output:
        temporary = f"{arguments.output}.{os.getpid()}.tmp"
        try:
            with open(temporary, "xb") as file:
                write_corpus(file, arguments.seed, arguments.bytes)
                os.fsync(file.fileno())
            os.replace(temporary, arguments.output)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
    else:
        try:
            write_corpus(sys.stdout.buffer, arguments.seed, arguments.bytes)
        except BrokenPipeError:  # a reader that had enough is no error
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
