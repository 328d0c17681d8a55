"""Readers of models, tokenizers, adapters, item IDs and runs for the list of `fuzz_readers.py`.

Each entry is a name, a function that returns small good folders (relative path -> contents), and
the function that reads such a folder.
"""

import json
import struct
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Folder = Mapping[str, bytes]


def _contents(write: Callable[[Path], object]) -> Folder:
    """Return the files that a function writes into a new directory."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "files"
        write(place)
        files = sorted(path for path in place.rglob("*") if path.is_file())
        return {str(path.relative_to(place)): path.read_bytes() for path in files}


def _model(**settings: Any) -> Any:
    from jaxrec.models import ModelSpec, Pretrained, TransformerConfig
    from jaxrec.testing import random_params

    spec = ModelSpec("causal", TransformerConfig(vocab_size=19, width=8, depth=2, **settings))
    tokens = {"bos_token_id": 1, "eos_token_id": [2, 3]}
    return Pretrained(spec=spec, params=random_params(spec.build()), tokens=tokens)


def _hugging_face_samples() -> Sequence[Folder]:
    from jaxrec.models import export_model

    plain = {"gated": False, "norm": "layer", "norm_eps": 1e-5, "activation": "gelu_tanh"}
    biases = {"qkv_bias": True, "out_bias": True, "mlp_bias": True, "positions": "learned"}
    gpt2 = _model(max_length=16, **plain, **biases)
    return [
        _contents(lambda place: export_model(_model(), place)),
        _contents(lambda place: export_model(_model(), place, shard_bytes=1000)),
        _contents(lambda place: export_model(gpt2, place, family="gpt2")),
    ]


def _read_model(folder: Path) -> object:
    from jaxrec.models import open_model

    return open_model(folder)


def _own_samples() -> Sequence[Folder]:
    from jaxrec.models import save_model

    return [_contents(lambda place: save_model(_model(), place))]


def _llama2c_samples() -> Sequence[Folder]:
    rng = np.random.default_rng(0)
    floats = 19 * 8 + 8 + 4 * 64 + 8 + 3 * 128 + 8 + 8 * 4
    header = struct.pack("<7i", 8, 16, 1, 2, 2, 19, 8)
    return [{"model.bin": header + rng.random(floats, np.float32).astype("<f4").tobytes()}]


def _read_only_file(folder: Path) -> object:
    (path,) = folder.iterdir()
    return _read_model(path)


def _gguf_samples() -> Sequence[Folder]:
    import gguf

    rng = np.random.default_rng(0)
    sizes = {"attn_norm": (8,), "ffn_norm": (8,), "ffn_gate": (16, 8), "ffn_up": (16, 8)}
    sizes |= {f"attn_{part}": (8, 8) for part in ("q", "k", "v", "output")}
    tensors = {f"blk.0.{name}.weight": size for name, size in sizes.items()}
    tensors |= {"blk.0.ffn_down.weight": (8, 16), "output_norm.weight": (8,)}

    def write(place: Path) -> None:
        place.mkdir()
        writer = gguf.GGUFWriter(place / "model.gguf", "llama")
        writer.add_block_count(1)
        writer.add_context_length(16)
        writer.add_embedding_length(8)
        writer.add_feed_forward_length(16)
        writer.add_head_count(2)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_tokenizer_model("llama")
        writer.add_token_list(["<unk>", "<s>", "</s>", "a", "b", "ab"])
        writer.add_token_scores([0.0, 0.0, 0.0, -1.0, -2.0, -3.0])
        writer.add_token_types([2, 3, 3, 1, 1, 1])
        writer.add_bos_token_id(1)
        for name, size in (tensors | {"token_embd.weight": (6, 8)}).items():
            writer.add_tensor(name, rng.random(size, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    return [_contents(write)]


def _tokenizer_samples() -> Sequence[Folder]:
    from jaxrec.data import id_tokenizer, save_tokenizer, train_bpe

    return [
        _contents(lambda place: save_tokenizer(train_bpe(["one word two"], 270), place)),
        _contents(lambda place: save_tokenizer(id_tokenizer((4, 2)), place)),
    ]


def _read_tokenizer(folder: Path) -> object:
    from jaxrec.data import load_tokenizer

    return load_tokenizer(folder)


def _code_samples() -> Sequence[Folder]:
    from jaxrec.ids import ItemCodes

    rows = np.array([[0, 1], [1, 0], [2, 2]])
    codes = ItemCodes(codes=rows, sizes=(3, 3), scheme="mine", codebooks={"a": np.ones((3, 2))})
    return [_contents(codes.save)]


def _read_codes(folder: Path) -> object:
    from jaxrec.ids import ItemCodes, ItemIndex

    return ItemIndex.build(ItemCodes.load(folder))


def _adapter_model() -> Any:
    from jaxrec.models import ModelSpec, Pretrained
    from jaxrec.testing import random_params, tiny_model

    spec = ModelSpec("causal", tiny_model())
    return Pretrained(spec=spec, params=random_params(spec.build()), family="llama")


def _adapter_samples() -> Sequence[Folder]:
    from jaxrec.peft import save_peft

    prompt = {"tuned": {"embedding": {"prompt": np.ones((3, 16), np.float32)}}}
    return [_contents(lambda place: save_peft(_adapter_model(), prompt, place))]


def _read_adapter(folder: Path) -> object:
    from jaxrec.peft import load_peft

    return load_peft(_adapter_model(), folder)


def _run_samples() -> Sequence[Folder]:
    config = {"system": "sasrec", "data": {"name": "ml-100k"}, "train": {"steps": 5}}
    env = {"data": {"fingerprint": "ab"}, "files": {}, "packages": {"jax": "1"}, "devices": ["cpu"]}
    train = {"best_step": 5, "steps": 5, "seconds": 1.5, "valid": {"ndcg@10": 0.1}}
    report = {"rows": {"model": {"metrics": {}}}, "comparisons": [], "protocol": {}}
    files = {"config": config, "env": env, "train": train, "eval": report}
    folder = {f"{name}.json": json.dumps(content).encode() for name, content in files.items()}
    rows = [{"step": 1, "loss": 2.5}, {"step": 2, "valid/ndcg@10": 0.1}]
    return [folder | {"metrics.jsonl": "\n".join(map(json.dumps, rows)).encode()}]


def _read_run(folder: Path) -> object:
    from jaxrec.eval import SystemFacts
    from jaxrec.runs import load_run, read_parts, read_training, run_identity

    config = load_run(folder)
    identity, trained = run_identity(folder), read_training(folder)
    return identity, trained, read_parts(config, folder, SystemFacts())


ENTRIES: tuple[tuple[str, Callable[[], Sequence[Folder]], Callable[[Path], object]], ...] = (
    ("hugging-face", _hugging_face_samples, _read_model),
    ("own-model", _own_samples, _read_model),
    ("llama2c", _llama2c_samples, _read_only_file),
    ("gguf", _gguf_samples, _read_only_file),
    ("tokenizer", _tokenizer_samples, _read_tokenizer),
    ("item-codes", _code_samples, _read_codes),
    ("adapter", _adapter_samples, _read_adapter),
    ("run", _run_samples, _read_run),
)
