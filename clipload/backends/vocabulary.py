"""A byte-level BPE vocabulary made in memory, the size of CLIP's, for models with random weights.

Every byte is a token, so no text is unknown and different texts (up to case and white space, which CLIP drops) get different
ids; merges learnt from a list of everyday words keep captions about as short as CLIP's own vocabulary does.
"""

from __future__ import annotations

from functools import cache
from heapq import heapify, heappop, heappush
from itertools import pairwise

Pair = tuple[str, str]

VOCABULARY_SIZE = 49408
BOS, EOS = VOCABULARY_SIZE - 2, VOCABULARY_SIZE - 1
BOS_TEXT, EOS_TEXT = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"
MERGES = 4000

WORDS = """
a an the and or of in on at to for with from by near next through over under behind front along across into onto out up down
off away around between beside against towards while during as is are was were be being has have had do does his her their its
he she they it him them this that these those there who which what one two three four five six several many some few other
another each all both group pair couple crowd row line set number photo picture image drawing painting sketch view scene
background foreground close shot portrait caption beautiful landscape man men woman women boy boys girl girls child children
kid kids baby toddler people person lady guy player players team dog dogs puppy cat cats kitten horse horses bird birds cow
sheep elephant bear zebra giraffe fish duck animal animals black white brown red blue green yellow orange pink purple grey gray
tan gold silver dark light bright colorful striped spotted small large big little tall short long young old new wet dry dirty
clean empty full open closed happy sad smiling laughing looking watching standing sitting walking running jumping playing riding
climbing swimming eating drinking holding wearing carrying throwing catching kicking pulling pushing pointing posing talking
sleeping lying laying leaning leaping racing chasing fetching digging splashing sliding skiing snowboarding surfing skating
skateboarding biking cycling hiking fishing dancing singing performing cooking reading working waiting getting going making
taking using doing trying jumps runs plays walks sits stands looks holds wears rides swims climbs stands grass field park beach
sand water ocean sea lake river pool wave waves snow ice mountain mountains hill hills rock rocks cliff forest tree trees wood
wooden flower flowers garden leaf leaves sky cloud clouds sun sunset sunrise night day street road path sidewalk city town
building buildings house houses home window door wall fence bridge stairs bench chair table bed couch floor room kitchen
bathroom restaurant store shop market station train bus car cars truck van taxi motorcycle bicycle bike boat ship plane
airplane helicopter skateboard surfboard snowboard ski skis ball football soccer basketball baseball tennis frisbee stick toy
toys swing slide rope bar food pizza cake bread fruit apple banana sandwich cup glass bottle plate bowl knife phone camera
computer laptop book books bag backpack hat cap helmet glasses sunglasses shirt shirts shorts pants jeans dress skirt jacket
coat suit tie shoes boots uniform costume swimsuit hair face head hand hands arm arms leg legs foot feet mouth eyes nose ear
ears tail air ground area edge top bottom side middle outside inside outdoors indoors left right another high low fast slow
something someone nothing other together alone about after before again very just only also not no yes how when where why if
"""
ENDINGS = ("", "s", "ing", "ed", "er", "ly")


@cache
def build_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """(token → id, merges), the same in every process, not to be changed. Ids fill 0..49407; the last two are BOS and EOS."""
    letters = _byte_letters()
    merges = learn_merges(_weighted_words(), MERGES)
    tokens = [*letters, *(letter + END_OF_WORD for letter in letters), *(left + right for left, right in merges)]
    tokens = list(dict.fromkeys(tokens))  # two merges may spell the same token; it has one id
    tokens += [f"<unused{number}>" for number in range(VOCABULARY_SIZE - 2 - len(tokens))]
    tokens += [BOS_TEXT, EOS_TEXT]
    return {token: number for number, token in enumerate(tokens)}, merges


def _weighted_words() -> dict[str, int]:
    """WORDS in all their ENDINGS; the bare words count for more."""
    weights: dict[str, int] = {}
    for word in WORDS.split():
        for ending in ENDINGS:
            weights[word + ending] = weights.get(word + ending, 0) + (1 if ending else 6)
    return weights


def learn_merges(weights: dict[str, int], limit: int) -> list[tuple[str, str]]:
    """Byte-pair encoding: merges the commonest pair, again and again; of equally common ones the first in the alphabet.

    (The trainer of `tokenizers` settles such ties differently in each process, and ids must not depend on that.)
    """
    words = [[*word[:-1], word[-1] + END_OF_WORD] for word in weights]
    shares = list(weights.values())
    pairs: dict[Pair, int] = {}
    where: dict[Pair, set[int]] = {}

    def count(number: int, sign: int) -> None:
        for pair in pairwise(words[number]):
            pairs[pair] = pairs.get(pair, 0) + sign * shares[number]
            where.setdefault(pair, set()).add(number)

    for number in range(len(words)):
        count(number, +1)
    heap = [(-weight, pair) for pair, weight in pairs.items()]
    heapify(heap)
    merges: list[Pair] = []
    while heap and len(merges) < limit:
        weight, best = heappop(heap)
        if -weight != pairs[best]:  # counted before another merge changed it
            if pairs[best] > 0:
                heappush(heap, (-pairs[best], best))
            continue
        merges.append(best)
        for number in sorted(where.pop(best)):
            count(number, -1)
            words[number] = _joined(words[number], best)
            count(number, +1)
            for pair in pairwise(words[number]):
                heappush(heap, (-pairs[pair], pair))
    return merges


def _joined(word: list[str], pair: Pair) -> list[str]:
    """`word` with every occurrence of `pair` made one symbol, from the left."""
    joined: list[str] = []
    for symbol in word:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return joined


def _byte_letters() -> list[str]:
    """One printable letter for each byte value, as GPT-2 and CLIP write them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(len(others))]
