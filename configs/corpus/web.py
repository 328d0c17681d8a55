"""Web pages as a corpus: the rules of Gopher, C4 and FineWeb, near-duplicates, personal data.

    jaxrec corpus corpus/web --source.paths pages/*.jsonl.gz --dry-run
    jaxrec corpus corpus/web --source.paths pages/*.jsonl.gz

Limits are those that FineWeb published (arXiv:2406.17557). They are for English: the stop words are
English, and other languages need limits of their own. C4's rule on curly brackets drops pages with
code. `--evaluation.paths` names evaluation sets, whose text is then kept out of the corpus.
"""

from jaxrec.data.corpora import Blocks, CorpusConfig, Duplicates, Source, Tokenizer


def get_config() -> CorpusConfig:
    return CorpusConfig(
        source=Source(paths=("pages/*.jsonl.gz",)),
        duplicates=Duplicates(sentences=3),
        tokenizer=Tokenizer(vocab_size=32_768, split_digits=True),
        blocks=Blocks(length=1024),
    )
