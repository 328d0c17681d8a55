"""Corpora for pre-training: documents, filters, duplicates, privacy, tokenizers and token blocks.

Importing the package loads none of it; each name is imported when it is first used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.data.corpora.blocks import (
        BlockSource as BlockSource,
        pack_blocks as pack_blocks,
        write_blocks as write_blocks,
    )
    from jaxrec.data.corpora.config import (
        Blocks as Blocks,
        CorpusConfig as CorpusConfig,
        Evaluation as Evaluation,
        Quality as Quality,
        Scores as Scores,
        Tokenizer as Tokenizer,
    )
    from jaxrec.data.corpora.cooccurrence import cooccurrence_vectors as cooccurrence_vectors
    from jaxrec.data.corpora.directory import (
        check_directory as check_directory,
        corpus_hash as corpus_hash,
        identity as identity,
    )
    from jaxrec.data.corpora.documents import (
        END_MARK as END_MARK,
        Document as Document,
        Form as Form,
        Rejected as Rejected,
        Source as Source,
        find_files as find_files,
        form_of as form_of,
        read_documents as read_documents,
        read_file as read_file,
    )
    from jaxrec.data.corpora.duplicates import (
        Clusters as Clusters,
        Duplicates as Duplicates,
        Keys as Keys,
        find_duplicates as find_duplicates,
    )
    from jaxrec.data.corpora.hashing import (
        ngram_hashes as ngram_hashes,
        word_hashes as word_hashes,
    )
    from jaxrec.data.corpora.minhash import (
        MinHash as MinHash,
        jaccard as jaccard,
        normalize as normalize,
        shingles as shingles,
    )
    from jaxrec.data.corpora.overlap import (
        Overlap as Overlap,
    )
    from jaxrec.data.corpora.privacy import (
        Privacy as Privacy,
        remove_personal as remove_personal,
    )
    from jaxrec.data.corpora.quality import (
        C4 as C4,
        FineWeb as FineWeb,
        GopherQuality as GopherQuality,
        GopherRepetition as GopherRepetition,
        c4 as c4,
        fineweb as fineweb,
        gopher_quality as gopher_quality,
        gopher_repetition as gopher_repetition,
    )
    from jaxrec.data.corpora.repeats import (
        SentenceRuns as SentenceRuns,
        WordRuns as WordRuns,
        occurs_earlier as occurs_earlier,
        suffix_repeats as suffix_repeats,
    )
    from jaxrec.data.corpora.run import run_corpus as run_corpus, try_corpus as try_corpus
    from jaxrec.data.corpora.scores import (
        LanguageModel as LanguageModel,
        NgramModel as NgramModel,
        QualityClassifier as QualityClassifier,
        pareto_keeps as pareto_keeps,
    )
    from jaxrec.data.corpora.shards import (
        read_shard as read_shard,
        write_documents as write_documents,
    )
    from jaxrec.data.corpora.stages import (
        Drops as Drops,
        Hooks as Hooks,
        Stage as Stage,
        make_stages as make_stages,
        rule_stages as rule_stages,
        through as through,
    )
    from jaxrec.data.corpora.texts import (
        Texts as Texts,
        find_text as find_text,
        left_out as left_out,
        read_texts as read_texts,
    )
    from jaxrec.data.corpora.vocabulary import (
        encode_documents as encode_documents,
        train_tokenizer as train_tokenizer,
    )
    from jaxrec.data.corpora.words import (
        Parts as Parts,
        Splitters as Splitters,
        splitters as splitters,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
