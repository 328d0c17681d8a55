"""Data: sources, `Interactions`, filters, splits, tokenizers, TFDS datasets and batches.

Functions import pyarrow, TFDS, Grain and transformers themselves, only when they need them.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.data import (
        added as added,
        contents as contents,
        corpora as corpora,
        files as files,
        parquet as parquet,
        ratings as ratings,
        recruitment as recruitment,
    )
    from jaxrec.data.amazon import read_amazon as read_amazon
    from jaxrec.data.buckets import (
        Buckets as Buckets,
        bucket_lengths as bucket_lengths,
        bucketed_batches as bucketed_batches,
    )
    from jaxrec.data.checking import (
        Check as Check,
        accepts as accepts,
        check as check,
        verdict as verdict,
    )
    from jaxrec.data.click_records import (
        ClickRecords as ClickRecords,
        Wording as Wording,
        read_click_records as read_click_records,
    )
    from jaxrec.data.clicks import (
        ClickWindows as ClickWindows,
        click_windows as click_windows,
        published_split as published_split,
        random_parts as random_parts,
        split_users as split_users,
    )
    from jaxrec.data.dataset import (
        DataConfig as DataConfig,
        Dataset as Dataset,
        load_dataset as load_dataset,
        load_interactions as load_interactions,
        read_interactions as read_interactions,
        training_source as training_source,
        with_name as with_name,
    )
    from jaxrec.data.description import describe as describe
    from jaxrec.data.distant_labels import (
        DistantLabels as DistantLabels,
        Matcher as Matcher,
        Unmatched as Unmatched,
    )
    from jaxrec.data.download import cache_dir as cache_dir
    from jaxrec.data.encoded_prompts import (
        Group as Group,
        encode_examples as encode_examples,
        encode_texts as encode_texts,
        group_tasks as group_tasks,
        prompt_batches as prompt_batches,
    )
    from jaxrec.data.esco import (
        LinkedSentence as LinkedSentence,
        read_linked_sentences as read_linked_sentences,
        read_skill_labels as read_skill_labels,
    )
    from jaxrec.data.filters import (
        k_core as k_core,
        keep_users as keep_users,
        sample_users as sample_users,
    )
    from jaxrec.data.instructions import (
        Instruction as Instruction,
        TokenRows as TokenRows,
        check_encoded as check_encoded,
        encode_instructions as encode_instructions,
        instruction_batches as instruction_batches,
        pad_rows as pad_rows,
        read_instructions as read_instructions,
    )
    from jaxrec.data.interactions import (
        SEPARATOR as SEPARATOR,
        Interactions as Interactions,
        ItemTable as ItemTable,
    )
    from jaxrec.data.item_tokens import (
        add_id_tokens as add_id_tokens,
        begin_with as begin_with,
        id_tokenizer as id_tokenizer,
        id_tokens as id_tokens,
    )
    from jaxrec.data.json_rows import (
        read_json_rows as read_json_rows,
        record_line as record_line,
    )
    from jaxrec.data.lexicon import (
        Lexicon as Lexicon,
        count_phrases as count_phrases,
        filter_lexicon as filter_lexicon,
        normalize_word as normalize_word,
        phrase_pmi as phrase_pmi,
    )
    from jaxrec.data.loading import DATASETS as DATASETS, Known as Known, load as load, read as read
    from jaxrec.data.marked import (
        MarkedText as MarkedText,
        TokenTexts as TokenTexts,
        encode_joined as encode_joined,
        encode_marked as encode_marked,
    )
    from jaxrec.data.mixing import (
        Mix as Mix,
        mixed_batches as mixed_batches,
        mixing_rates as mixing_rates,
    )
    from jaxrec.data.movies import (
        read_double_colon as read_double_colon,
        read_movielens_100k as read_movielens_100k,
        read_movielens_csv as read_movielens_csv,
    )
    from jaxrec.data.numeric import read_numbers as read_numbers
    from jaxrec.data.occupations import (
        Occupation as Occupation,
        read_occupations as read_occupations,
    )
    from jaxrec.data.packing import (
        Packing as Packing,
        pack as pack,
        packed_batches as packed_batches,
    )
    from jaxrec.data.pipeline import (
        Encode as Encode,
        Source as Source,
        Windows as Windows,
        endless as endless,
        epoch_batches as epoch_batches,
        host_rows as host_rows,
        pad_left as pad_left,
        padded_batches as padded_batches,
        training_sequences as training_sequences,
    )
    from jaxrec.data.prefixes import Prefixes as Prefixes
    from jaxrec.data.prompts import (
        Fields as Fields,
        Mixture as Mixture,
        Task as Task,
        Template as Template,
        holes as holes,
    )
    from jaxrec.data.ratings import rating_text as rating_text
    from jaxrec.data.recbole import read_recbole as read_recbole
    from jaxrec.data.repeats import drop_repeats as drop_repeats
    from jaxrec.data.reserved import (
        MODES as MODES,
        ReservedTokens as ReservedTokens,
        add_reserved as add_reserved,
        sentinel_names as sentinel_names,
        train_reserved as train_reserved,
        vocabulary_size as vocabulary_size,
        word_starts as word_starts,
    )
    from jaxrec.data.resumes import (
        Resume as Resume,
        read_resumes as read_resumes,
        word_places as word_places,
    )
    from jaxrec.data.reviews import (
        Reviews as Reviews,
        read_reviews as read_reviews,
        review_text as review_text,
        synthetic_reviews as synthetic_reviews,
    )
    from jaxrec.data.sequences import read_sequences as read_sequences
    from jaxrec.data.splits import (
        TIE_RULE as TIE_RULE,
        RowSplit as RowSplit,
        Split as Split,
        TieShare as TieShare,
        TimeSplit as TimeSplit,
        elapsed as elapsed,
        global_time_split as global_time_split,
        leave_one_out as leave_one_out,
        order_ties as order_ties,
        random_split as random_split,
        tie_share as tie_share,
        time_quantile as time_quantile,
    )
    from jaxrec.data.tables import Columns as Columns, read_table as read_table
    from jaxrec.data.tagged import (
        SKILLSPAN_KINDS as SKILLSPAN_KINDS,
        Illegal as Illegal,
        TaggedText as TaggedText,
        TaggedTexts as TaggedTexts,
        drop_repeated_texts as drop_repeated_texts,
        read_conll as read_conll,
        read_skillspan as read_skillspan,
    )
    from jaxrec.data.tags import (
        OUTSIDE as OUTSIDE,
        UNKNOWN as UNKNOWN,
        Scheme as Scheme,
        Span as Span,
        TagSet as TagSet,
        repair_tags as repair_tags,
        spans_of_tags as spans_of_tags,
        tags_of_spans as tags_of_spans,
    )
    from jaxrec.data.tfds_store import (
        item_sequences as item_sequences,
        open_data_source as open_data_source,
        prepare as prepare,
        read_prepared as read_prepared,
    )
    from jaxrec.data.times import Times as Times, to_times as to_times
    from jaxrec.data.tokenizers import (
        BPE_TOKENS as BPE_TOKENS,
        has_tokenizer as has_tokenizer,
        load_tokenizer as load_tokenizer,
        save_tokenizer as save_tokenizer,
        train_bpe as train_bpe,
        train_unigram as train_unigram,
    )
    from jaxrec.data.word_tokens import WordRows as WordRows, encode_words as encode_words
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
