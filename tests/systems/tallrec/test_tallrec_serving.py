"""TALLRec runs leave as models of Hugging Face and as adapters of PEFT, with the same logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.cli.main import main
from jaxrec.core import ConfigError
from jaxrec.data.clicks import ClickWindows
from jaxrec.data.dataset import DataConfig
from jaxrec.data.tokenizers import save_tokenizer, train_bpe
from jaxrec.decode import answer_tokens
from jaxrec.models import TransformerConfig
from jaxrec.peft import TuneConfig
from jaxrec.runs.requests import RecommendRequest
from jaxrec.runs.system import Options
from jaxrec.systems.tallrec import run as tallrec
from jaxrec.systems.tallrec.config import ClickEvalConfig, TallrecConfig
from jaxrec.systems.tallrec.questions import encode
from jaxrec.testing.peers import make_peer
from jaxrec.texts import click_prompts, load_click_run
from jaxrec.train import TrainConfig

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
SENTENCE = "User Preference: Film 3. Will the user enjoy the movie? Answer:"


@pytest.fixture(scope="module")
def ratings(tmp_path_factory):
    path = tmp_path_factory.mktemp("rule") / "ratings.csv"
    rng = np.random.default_rng(0)
    rows = ["user,item,stars,when"]
    for user in range(40):
        for place, item in enumerate(rng.permutation(12)[:10].tolist()):
            rows.append(f"u{user},i{item},{5 if item % 2 else 1},{place}")
    path.write_text("\n".join(rows) + "\n")
    return path


def trained(ratings, directory, tune=TallrecConfig.tune):
    config = TallrecConfig(
        data=DataConfig(
            name="rule",
            from_file=str(ratings),
            rating_column="stars",
            time_column="when",
            min_count=0,
        ),
        split="users",
        history=4,
        shots=8,
        train=TrainConfig(steps=2, batch_size=4, lr=0.05, warmup_steps=0, eval_every=2),
        model=TransformerConfig(width=32, depth=1, num_heads=2),
        vocab_size=300,
        tune=tune,
        eval=ClickEvalConfig(baselines=(), resamples=20),
    )
    tallrec.train(config, directory, Options())
    return config


def compare(config, directory, theirs, tokenizer):
    """The model of Hugging Face says of a sentence what the run says; returns our logits."""
    text, variables, _ = tallrec._load(config, directory)
    tokens = np.array([tokenizer(SENTENCE)["input_ids"]])
    ours_tokens = jnp.asarray(tokens, jnp.int32)
    ours = jax.jit(text.model.apply)(variables, ours_tokens, ours_tokens >= 0)
    with torch.no_grad():
        logits = theirs(torch.tensor(tokens)).logits.numpy()
    np.testing.assert_allclose(ours, logits, atol=1e-4)
    return np.array(ours)


@pytest.mark.slow
def test_a_model_from_scratch_is_exported_with_its_tokenizer(ratings, tmp_path, capsys):
    run, out = tmp_path / "run", tmp_path / "hf"
    config = trained(ratings, run)
    assert main(["export", str(run), "--out", str(out)]) == 0
    theirs = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    compare(config, run, theirs, tokenizer)
    # Titles are tokens of their own there too.
    title = load_click_run(config).titles[0]
    assert len(tokenizer(f'"{title}"', add_special_tokens=False)["input_ids"]) == 1
    assert main(["export", str(run), "--to", "peft", "--out", str(tmp_path / "peft")]) == 2
    assert "trained all parameters" in capsys.readouterr().err
    # The page of a run that ranks nothing.
    assert main(["eval", str(run)]) == 0
    assert main(["report", str(run)]) == 0
    assert "TALLRec on rule" in (run / "report.html").read_text()
    assert "within_user_auc" in (run / "README.md").read_text().lower()


def test_a_lora_run_is_exported_merged_and_as_an_adapter(ratings, tmp_path, capsys):
    peft = pytest.importorskip("peft")
    base, run = tmp_path / "base", tmp_path / "run"
    tokenizer = train_bpe(["Will the user enjoy the movie? Yes. No."] * 5, 300)
    model = make_peer("llama", base)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.save_pretrained(base)
    save_tokenizer(tokenizer, base)
    tune = TuneConfig(method="lora", base=str(base), rank=2, targets=("query", "value"))
    config = trained(ratings, run, tune)
    assert main(["export", str(run), "--out", str(tmp_path / "hf")]) == 0
    assert "as llama" in capsys.readouterr().out
    merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf").eval()
    ours = compare(config, run, merged, tokenizer)
    out = ["--to", "peft", "--out", str(tmp_path / "peft"), "--base", str(base)]
    assert main(["export", str(run), *out]) == 0
    tuned = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "peft").eval()
    compare(config, run, tuned, tokenizer)
    with torch.no_grad():
        before = model.eval()(torch.tensor(np.array([tokenizer(SENTENCE)["input_ids"]]))).logits
    assert np.abs(ours - before.numpy()).max() > 1e-3


def test_recommended_is_what_is_most_probably_liked_of_all_items(ratings, tmp_path, capsys):
    config = trained(ratings, tmp_path)
    parts = load_click_run(config)
    data = parts.data
    user = 7
    mine = np.flatnonzero(data.user == user)
    answer = tallrec.recommend(config, tmp_path, RecommendRequest(str(data.user_ids[user]), 12))
    assert {row.item for row in answer.items} == set(range(12)) - set(data.item[mine].tolist())
    scores = [row.score for row in answer.items]
    assert scores == sorted(scores, reverse=True) and scores[-1] > 0 and scores[0] < 1
    # By hand: the question after the user's last four ratings, for the first recommended item.
    last = mine[-config.history :]
    asked = ClickWindows(
        user=np.array([user]),
        history=data.item[last][None],
        liked=data.rating[last][None] > 3,
        target=np.array([answer.items[0].item]),
        label=np.array([True]),
    )
    text, variables, _ = tallrec._load(config, tmp_path)
    (prompt,) = click_prompts(asked, parts.titles)
    rows = encode(config, text, [prompt])
    yes, no = answer_tokens(text.tokenizer, "Yes.", "No.")
    logits = text.model.apply(variables, rows.tokens, rows.tokens >= 0)[0, rows.answer[0] - 1]
    odds = np.exp(np.array(logits)[[yes, no]])
    assert answer.items[0].score == pytest.approx(odds[0] / odds.sum(), abs=1e-5)
    assert len(answer.history) == len(mine)
    seen = RecommendRequest(str(data.user_ids[user]), 12, include_seen=True)
    assert len(tallrec.recommend(config, tmp_path, seen).items) == 12


def test_tuning_that_no_kernel_holds_is_refused():
    tune = TuneConfig(method="adapter", base="somewhere")
    with pytest.raises(ConfigError, match=r"tune\.method adapter .* lora, qlora or full"):
        tallrec.open_tuned(tune, None, None, None)
