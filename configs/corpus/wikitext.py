"""WikiText-2 as a corpus: repeated text removed, a byte-level BPE of 4,096 tokens, blocks of 256.

    jaxrec corpus corpus/wikitext --source.paths wikitext-2/valid.txt.gz

The articles were selected by hand, so the rules for web pages are left out. The release has no raw
text: it is split into words, and rare words are <unk>. Do not train on test.txt.
"""

from jaxrec.data.corpora import Blocks, CorpusConfig, Duplicates, Quality, Source, Tokenizer


def get_config() -> CorpusConfig:
    return CorpusConfig(
        source=Source(paths=("wikitext-2/train.txt",), form="wikitext"),
        quality=Quality(rules=("gopher_repetition",)),
        duplicates=Duplicates(sentences=3, tokens=50),
        personal=False,
        tokenizer=Tokenizer(vocab_size=4096),
        blocks=Blocks(length=256),
    )
