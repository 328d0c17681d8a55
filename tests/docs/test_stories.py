"""Commands of pages run in their order, as a new user types them, on a small log of ratings."""

import csv
import datetime
import json

import pytest
import snippets as reader

from jaxrec.cli.main import main

# What makes a training of any page small.
SMALL = [
    "--max-items 8 --data.min-count 0 --ids.levels 2 --ids.size 8 --ids.dim 8",
    "--ids.text-encoder tfidf --model.width 16 --model.depth 1 --model.num-heads 2",
    "--train.steps 4 --train.batch-size 16 --train.warmup-steps 2 --train.eval-every 2",
    "--decode.beams 12 --decode.batch-size 16 --eval.resamples 100 --eval.no-text-encoders",
]
SMALL = " ".join(SMALL).split()
TITLES = ["Heat (1995)", "Alien (1979)", *(f"Film, part {n}" for n in range(2, 60))]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A directory with a log of ratings and the texts of its items."""
    start = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    with open(tmp_path / "ratings.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user_id", "item_id", "title", "date", "timestamp", "price"])
        for user in range(60, 100):
            for n in range(12):
                item = (user + n * (1 + 2 * (user % 2))) % len(TITLES)
                when = start + datetime.timedelta(days=n, minutes=user)
                what = (f"B00{120 + item}", TITLES[item])
                rows.writerow([user, *what, when.date(), int(when.timestamp()), 3])
    with open(tmp_path / "items.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["item_id", "title", "category"])
        rows.writerows((f"B00{120 + n}", title, "drama") for n, title in enumerate(TITLES))
    (tmp_path / "users.csv").write_text("user\n63\n70\n")
    (tmp_path / "sold-out.txt").write_text("B00125\nFilm, part 7\n")
    (tmp_path / "configs").symlink_to(reader.ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(page, *firsts):
    """The commands of a page in its order, by the first words of each."""
    commands = [words[1:] for words in reader.commands((reader.ROOT / page).read_text())]
    found = [words for words in commands if any(" ".join(words).startswith(f) for f in firsts)]
    assert len(found) >= len(firsts), (page, firsts)
    return found


def run(words, capsys, *more):
    code = main([*words, *more])
    output = capsys.readouterr()
    assert code == 0, output.err
    return output.out


def recommended(text):
    """The titles among the lines of a list."""
    return [title for line in text.splitlines() for title in TITLES if title in line]


def test_three_commands_of_the_readme_lead_to_recommendations(home, capsys):
    text = (reader.ROOT / "README.md").read_text()
    (block,) = [body for body in reader.blocks(text, "bash") if "pip install" in body]
    assert len(reader.commands(f"```bash\n{block}```")) == 2 and block.startswith(
        "pip install -e ."
    )
    train, recommend = shown("README.md", "train quickstart", "recommend runs/mine")
    run(train, capsys, *SMALL)
    titles = recommended(run(recommend, capsys))
    assert len(set(titles)) >= 10


@pytest.mark.slow
def test_the_page_on_own_data(home, capsys):
    firsts = ("data check ratings.csv --data.", "train quickstart --run-dir", "recommend runs/mine")
    check, train, recommend, by_title = shown("docs/start/own_data.md", *firsts)
    assert json.loads(run(check, capsys).splitlines()[-1])["accepted"]
    run(train, capsys, *SMALL)
    assert len(set(recommended(run(recommend, capsys)))) >= 10
    assert "title" in by_title
    run(by_title, capsys, *SMALL, "--dry-run")


@pytest.mark.slow
def test_the_pages_on_the_quickstart_and_on_batches(home, capsys):
    firsts = ("doctor", "train quickstart", "eval runs", "recommend runs/quick", "report")
    doctor, train, evaluate, recommend, report = shown("docs/start/quickstart.md", *firsts)[:5]
    assert train == ["train", "quickstart"] and "--user" in recommend
    run(doctor, capsys)
    data = "--data.from-file ratings.csv --data.name mine --data.user-column user_id"
    data += " --data.item-column item_id --data.time-column timestamp --data.item-table items.csv"
    data += " --data.item-id-column item_id --sasrec.train.steps 4 --sasrec.train.eval-every 2"
    run(train, capsys, "--run-dir", "runs/quickstart", *data.split(), *SMALL)
    table = run(evaluate, capsys)
    assert "popularity" in table and "sasrec" in table
    assert len(set(recommended(run(recommend, capsys)))) >= 10
    run(report, capsys)
    assert (home / "runs" / "quickstart" / "report.html").is_file()
    several = shown("docs/guides/batch.md", "recommend runs/quickstart --users")
    found = [json.loads(run(words, capsys).splitlines()[-1]) for words in several]
    assert [one["users"] for one in found] == [40, 2]
    import pyarrow.parquet as parquet

    items = set(parquet.read_table("lists-b")["item"].to_pylist())
    assert items and not items & {"B00125", "B00127"}
