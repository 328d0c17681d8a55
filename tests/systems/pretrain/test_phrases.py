"""Where the phrases of masked language modeling come from, and that batches hide them whole."""

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data import ReservedTokens, train_reserved, word_starts
from jaxrec.data.recruitment import WorldOptions, recruitment_world
from jaxrec.systems.pretrain import ObjectiveConfig, PretrainConfig, PretrainDataConfig, flavour
from jaxrec.systems.pretrain.corpus import Encoded, load_corpus
from jaxrec.systems.pretrain.objective import Learning

MASKED = ObjectiveConfig(name="mlm_nsp", whole_words=True, phrases=True, following=0.9)
WORLD = WorldOptions(jobs=100, people=20)


def _config(**more):
    shape = flavour("encoder", width=16, depth=1, num_heads=2, max_length=64)
    settings = {"objective": MASKED, "backbone": "encoder", "model": shape, "length": 64}
    return PretrainConfig(**settings | more)


def test_a_corpus_without_phrases_is_refused_and_so_are_phrases_that_nothing_reads():
    with pytest.raises(ConfigError, match=r"needs --data\.phrases, a file of phrases"):
        _config()
    data = PretrainDataConfig(name="x", phrases="skills.txt")
    with pytest.raises(ConfigError, match=r"is read with --objective\.phrases True only"):
        _config(data=data, objective=ObjectiveConfig(name="mlm_nsp"))


def test_phrases_are_the_lines_of_a_file(tmp_path):
    text, named = tmp_path / "docs.txt", tmp_path / "phrases.txt"
    text.write_text("\n".join(f"line {number} of a film" for number in range(60)))
    data = PretrainDataConfig(name="x", paths=(str(text),), phrases=str(named))
    named.write_text("\n \n")
    with pytest.raises(DataError, match="has no phrases"):
        load_corpus(data)
    named.write_text("a film\n\nten films \na film\n")
    assert load_corpus(data).phrases == ("a film", "ten films")


def test_the_phrases_of_a_world_are_its_skills_and_reach_the_masking():
    data = PretrainDataConfig(name="recruitment-world", world=WORLD)
    corpus = load_corpus(data)
    assert corpus.phrases == tuple(recruitment_world(WORLD).structure.catalogue.skills)
    tokenizer = train_reserved(corpus.train, 600)
    learning = Learning.of(_config(data=data), tokenizer, corpus.phrases)
    masking = learning.masking
    assert masking.reserved.mask == ReservedTokens.of(tokenizer).mask
    skill = "blood sampling"
    assert skill in corpus.phrases
    tokens = np.array(tokenizer.encode(f" {skill}", add_special_tokens=False), np.int32)
    assert masking.phrases.join(tokens, word_starts(tokenizer)[tokens]).sum() == 1
    documents = [np.tile(tokens, 4), np.tile(tokens, 4)]
    assert learning.pairs(Encoded(documents, learning.reserved.eos), 0).following == 0.9
    # Opening a run needs no corpus.
    assert Learning.of(_config(data=data), tokenizer).masking.phrases is None
