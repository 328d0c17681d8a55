"""Whole models: transformers described by a frozen config, with parameters in plain dicts."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.models.block import (
        Block as Block,
        PerLayer as PerLayer,
        Reach as Reach,
        Shared as Shared,
    )
    from jaxrec.models.causal import CausalLM as CausalLM
    from jaxrec.models.config import TransformerConfig as TransformerConfig
    from jaxrec.models.convert import (
        Dtype as Dtype,
        Pretrained as Pretrained,
        check_free as check_free,
        describe_checkpoint as describe_checkpoint,
        export_model as export_model,
        import_model as import_model,
        tensor_of as tensor_of,
        tensor_rows as tensor_rows,
        writing as writing,
    )
    from jaxrec.models.encoder import Encoder as Encoder, Pooling as Pooling, pool as pool
    from jaxrec.models.encoder_decoder import EncoderDecoder as EncoderDecoder
    from jaxrec.models.families import (
        LOADERS as LOADERS,
        table_of as table_of,
        write_config as write_config,
    )
    from jaxrec.models.heads import (
        Classifier as Classifier,
        MaskedLM as MaskedLM,
        MaskedPairLM as MaskedPairLM,
        ScalarHead as ScalarHead,
    )
    from jaxrec.models.hstu_block import HstuBlock as HstuBlock
    from jaxrec.models.opened import (
        Opened as Opened,
        add_ids as add_ids,
        check_tokenizer as check_tokenizer,
        open_model as open_model,
        tokenizer_beside as tokenizer_beside,
    )
    from jaxrec.models.scales import fold_scales as fold_scales
    from jaxrec.models.sentences import (
        VARIABLE as VARIABLE,
        SentenceEncoder as SentenceEncoder,
        find_sentence_encoder as find_sentence_encoder,
    )
    from jaxrec.models.spec import (
        Kind as Kind,
        ModelSpec as ModelSpec,
        check_finite as check_finite,
        init_function as init_function,
    )
    from jaxrec.models.stack import BLOCKS as BLOCKS, MemoryBlock as MemoryBlock, Stack as Stack
    from jaxrec.models.store import (
        checksum as checksum,
        describe_model as describe_model,
        is_model as is_model,
        is_quantized as is_quantized,
        load_model as load_model,
        save_model as save_model,
    )
    from jaxrec.models.tables import Table as Table
    from jaxrec.models.upper_layers import (
        UpperLayers as UpperLayers,
        cut_encoder as cut_encoder,
        lower_states as lower_states,
    )
    from jaxrec.models.vocabulary import extend_vocabulary as extend_vocabulary, untie as untie
    from jaxrec.models.words import (
        WORDS as WORDS,
        word_kinds as word_kinds,
        word_numbers as word_numbers,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
