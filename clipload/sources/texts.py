"""Texts of a given number of CLIP's tokens, each its own function of (seed, index).

A word of `WORDS` is one token in CLIP's vocabulary: each was taken through the merges of openai/CLIP's
`bpe_simple_vocab_16e6.txt.gz`. Words stand apart by a blank, which CLIP does not count, and each text has two more tokens, for
its begin and its end. Other vocabularies may count otherwise.
"""

from __future__ import annotations

from clipload.mixes import Mix, Span
from clipload.pacing import generator

TEXT_STREAM, OFFSET_STREAM = 101, 102
ENDS = 2  # tokens that stand for begin and end
NUMBERED = 4  # how many of a text's last words tell its index

WORDS = tuple(
    """
    able about above across act add after air all along also and animal any apple area arm around art ask at away back bag
    ball band bank bar base basket bath beach bear bed behind bell below belt bench best big bike bird black blue board boat
    body book boot both bottle bottom bowl box boy branch bread break bridge bright brown brush build bus butter buy cake
    call calm camera camp can cap car card care carry case castle cat catch chair change cheese child church circle city
    class clean clear climb clock close cloth cloud coast coat coffee cold color come cook cool corn corner count couple
    cover cow cream cross crowd cup curve cut dad dance dark day deep deer desert desk dinner dirt dish dog door down draw
    dream dress drink drive dry duck dust each early earth east easy eat edge egg eight empty end every eye face fair fall
    family far farm fast father feet fence few field fight fill film find fine finger fire first fish five flag flat floor
    flower fly fog food foot forest fork form four fox frame fresh friend from front fruit full fun game garden gate girl
    give glass go goat gold good grass gray great green grey ground group grow guitar hair half hall hand happy hard hat
    head heart heavy hedge helmet help high hill hold hole home horse hot hotel hour house huge human ice inside iron island
    jacket jump keep key kid kind king kite knife lady lake lamp land large last laugh leaf lean learn left leg lemon level
    life lift light line lion list little long look loud love low lunch make man many map mark market mask meadow meal meat
    meet men metal middle milk mirror mist moon mother mouse mouth move much mud music narrow near neck nest new next nice
    night nine north nose old one open orange oven over owl page paint pair pale pan paper park part party path people photo
    piano picnic pig pink pipe place plain plane plant plate play pocket point pole pond pool port pot pull purple push
    quiet rabbit race rail rain red rest rice ride right ring river road rock roof room root rope rose rough round row run
    sail salt sand sea seat see seven shade sheep shelf ship shirt shoe shop shore short show side sign silver simple sing
    sink sister sit six skate ski skin sky sleep slow small smile smoke smooth snow soap soft some song soup south space
    spoon sport spring square stand star stay steel step stick still stone stop storm street strong summer sun swim table
    tail take talk tall tea team ten tent thin three throw tie tiger tile time tiny tool top towel tower town toy track
    train travel tree truck turn two under up valley van vase view violin walk wall warm wash watch water wave way week west
    wet wheel white wide wild wind window wine wing winter with woman women wood wool word work world yard year yellow young
    zebra zoo
    """.split()  # noqa: SIM905  - a page of words, not of quotes
)


def text_of(seed: int, index: int, lengths: Mix[Span]) -> str:
    """Text `index`. Its last words are the digits of `index` in base len(WORDS), each turned by an offset of the seed's."""
    draws = generator(seed, TEXT_STREAM, index)
    least, most = lengths.pick(draws.random())
    words = draws.integers(0, len(WORDS), int(draws.integers(least, most, endpoint=True)) - ENDS).tolist()
    offsets = generator(seed, OFFSET_STREAM).integers(0, len(WORDS), NUMBERED).tolist()
    for place, offset in zip(range(1, len(words) + 1), offsets, strict=False):
        index, digit = divmod(index, len(WORDS))
        words[-place] = (digit + offset) % len(WORDS)
    return " ".join(WORDS[word] for word in words)


def distinct_texts(lengths: Mix[Span]) -> int:
    """So many texts from the first are certain to be distinct: as many as the shortest length can number."""
    return int(len(WORDS) ** min(NUMBERED, min(least for least, _ in lengths.parts) - ENDS))
