"""Names that somebody mistyped, and what a message suggests; wrong guesses are worse than none."""

import pytest

from jaxrec.core import nearest

OPTIONS = (
    *("--max-items", "--data.from-file", "--data.user-column", "--data.item-column"),
    *("--ids.levels", "--ids.code-sizes", "--ids.code-width", "--ids.seed", "--ids.rqvae.warmup"),
    *("--model.width", "--model.depth", "--model.num-heads", "--model.out-bias"),
    *("--train.steps", "--train.batch-size", "--train.lr", "--train.warmup-steps", "--train.seed"),
    *("--train.beta2", "--train.weight-decay", "--decode.batch-size", "--eval.ks"),
    *("--neumf.layers", "--run-dir", "--dry-run", "--quick"),
)
COMMANDS = ("train", "eval", "compare", "recommend", "report", "import-hf", "export", "ids", "data")
CONFIGS = ("quickstart", "tiger/beauty", "tiger/ml100k", "p5/beauty", "runs/a")
FIELDS = ("title", "genres", "learning-rate", "lr", "mlp", "9", "10", "gru4rec", "gru4rec_text")


@pytest.mark.parametrize(
    ("options", "name", "expected"),
    [
        # Typing errors, few for the length.
        (OPTIONS, "--train.lrr", ["--train.lr"]),
        (OPTIONS, "--train.stepz", ["--train.steps"]),
        (OPTIONS, "--modle.width", ["--model.width"]),
        (OPTIONS, "--model.depht", ["--model.depth"]),
        (OPTIONS, "--train.weigth-decay", ["--train.weight-decay"]),
        (OPTIONS, "--evel.ks", ["--eval.ks"]),
        (COMMANDS, "tarin", ["train"]),
        (COMMANDS, "exprot", ["export"]),
        (CONFIGS, "quickstrat", ["quickstart"]),
        (CONFIGS, "tiger/buty", ["tiger/beauty"]),
        (CONFIGS, "runs/aa", ["runs/a"]),
        (FIELDS, "titel", ["title"]),
        # Other signs, and parts that are left out.
        (OPTIONS, "--maxitems", ["--max-items"]),
        (OPTIONS, "--train.batch_size", ["--train.batch-size"]),
        (OPTIONS, "--lr", ["--train.lr"]),
        (OPTIONS, "--batchsize", ["--train.batch-size", "--decode.batch-size"]),
        (OPTIONS, "--seed", ["--ids.seed", "--train.seed"]),
        (OPTIONS, "--widht", ["--model.width"]),
        # Abbreviations, and beginnings and ends.
        (OPTIONS, "--train.bs", ["--train.batch-size"]),
        (OPTIONS, "--rd", ["--run-dir"]),
        (OPTIONS, "--dry", ["--dry-run"]),
        (OPTIONS, "--run", ["--run-dir"]),
        (OPTIONS, "--from", ["--data.from-file"]),
        (OPTIONS, "--train.warmup", ["--train.warmup-steps"]),
        (OPTIONS, "--model.heads", ["--model.num-heads"]),
        (OPTIONS, "--ids.code", ["--ids.code-sizes", "--ids.code-width"]),
        (FIELDS, "gru", ["gru4rec", "gru4rec_text"]),
        (COMMANDS, "rec", ["recommend"]),
        (COMMANDS, "import", ["import-hf"]),
        (COMMANDS, "evaluate", ["eval"]),
        # The same setting elsewhere.
        (OPTIONS, "--train.width", ["--model.width"]),
        # Other words: nothing near.
        (OPTIONS, "--epochs", []),
        (OPTIONS, "--train.epochs", []),
        (OPTIONS, "--verbose", []),
        (OPTIONS, "--device", []),
        (OPTIONS, "--out", []),
        (OPTIONS, "--train.zz", []),
        (OPTIONS, "--train", []),
        (OPTIONS, "--q", []),
        (OPTIONS, "--foo.bar", []),
        (COMMANDS, "test", []),
        (COMMANDS, "predict", []),
        (COMMANDS, "deploy", []),
        (CONFIGS, "other/b", []),
        (FIELDS, "xyzzy", []),
        (FIELDS, "99999", []),
        (FIELDS, "t", []),
        (FIELDS, "l", []),
        (("runs/first-try",), "elsewhere/first-try", []),
        ((), "anything", []),
    ],
)
def test_near_names_are_suggested_and_no_others(options, name, expected):
    said = nearest(name, iter(options))
    shown = [repr(one) for one in expected]
    assert said == (f", did you mean {' or '.join(shown)}?" if shown else "")


def test_at_most_three_names_are_suggested():
    options = [f"--part{number}.dropout" for number in range(5)]
    first = "'--part0.dropout', '--part1.dropout' or '--part2.dropout'"
    assert nearest("--dropout", options) == f", did you mean {first}?"
    # So many beginnings in common are no hint.
    assert nearest("dat", ["data", "date", "dates", "datum"]) == ", did you mean 'data'?"
    assert nearest("code", [f"code-{number}00" for number in range(5)]) == ""
