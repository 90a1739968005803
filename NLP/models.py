"""BERT and DistilBERT for two classes, with pretrained or with random weights.

Random weights need no network: the shape is in the table below, and the vocabulary is made of the
words of the sentences. A step on them does the same work as on pretrained ones.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
import transformers

from pactmeter.errors import FileError

VOCABULARY = 30522
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Shape(NamedTuple):
    hidden: int
    layers: int
    heads: int
    between: int
    """Size of the layers between (feed-forward)."""
    hub: str
    revision: str


SHAPES = {
    "prajjwal1/bert-small": Shape(512, 4, 8, 2048, "prajjwal1/bert-small", "main"),
    "prajjwal1/bert-medium": Shape(512, 8, 8, 2048, "prajjwal1/bert-medium", "main"),
    "bert-base-uncased": Shape(
        *(768, 12, 12, 3072, "google-bert/bert-base-uncased"),
        "86b5e0934494bd15c9632b12f734a8a67f723594",
    ),
    "bert-large-uncased": Shape(
        *(1024, 24, 16, 4096, "google-bert/bert-large-uncased"),
        "6da4b6a26a1877e173fca3225479512db81a5e5b",
    ),
    "distilbert-base-uncased": Shape(
        *(768, 6, 12, 3072, "distilbert/distilbert-base-uncased"),
        "12040accade4e8a0f71eabdb258fecc2e7e948be",
    ),
}


def pretrained(name):
    """Return the tokenizer, the model and the revision of a name above, or of a folder."""
    known = SHAPES.get(name)
    options = {"revision": known.revision} if known else {}
    source = known.hub if known else name
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, **options)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            source, num_labels=2, dtype=torch.float32, **options
        )
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise FileError(
            f"there are no weights of {name}: {first}",
            "a network for the first time, a folder of theirs (--weights FOLDER), or"
            " --weights random",
        ) from error
    return tokenizer, model, getattr(model.config, "_commit_hash", None) or "unknown"


def untrained(name, sentences, is_tiny=False):
    """Return a tokenizer of the sentences' words, and the model with random weights."""
    words = sorted({word for sentence in sentences for word in sentence.lower().split()})
    words = [*SPECIAL, *words][:VOCABULARY]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.txt"
        path.write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
        tokenizer = transformers.BertTokenizer(str(path))
    config = configuration(SHAPES[name], "distil" in name, len(words) if is_tiny else None)
    return tokenizer, transformers.AutoModelForSequenceClassification.from_config(config)


def configuration(shape, is_distilled, words=None):
    """Return the configuration of a shape; that of the tests where the number of words is given."""
    hidden, layers, heads, between = shape[:4]
    if words:
        hidden, layers, heads, between = 64, max(2, layers // 6), 2, 128
    if is_distilled:
        return transformers.DistilBertConfig(
            vocab_size=words or VOCABULARY,
            dim=hidden,
            n_layers=layers,
            n_heads=heads,
            hidden_dim=between,
        )
    return transformers.BertConfig(
        vocab_size=words or VOCABULARY,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=between,
    )
