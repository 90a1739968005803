"""Fine-tune BERT or DistilBERT on SST-2, measured by PACT.

python NLP/train.py -model bert-base-uncased --profile smoke
"""

import itertools
import sys
import tempfile
from pathlib import Path

from pactmeter import PACT
from pactmeter.errors import ConfigError
from pactmeter.study import script
from pactmeter.study.fetch import fetch

EPOCHS = {
    "prajjwal1/bert-small": 100,
    "prajjwal1/bert-medium": 65,
    "bert-base-uncased": 50,
    "bert-large-uncased": 25,
    "distilbert-base-uncased": 75,
}
"""Of the original study."""
USUAL = {
    "prajjwal1/bert-small": 98,
    "prajjwal1/bert-medium": 48,
    "bert-base-uncased": 18,
    "bert-large-uncased": 4,
    "distilbert-base-uncased": 33,
}
"""Steps of `smoke` in 60 s on two idle cores, at the usual batch."""
USUAL_BATCH = 16
PROFILES = {
    "tiny": {
        "made_up": 400,
        "epochs": 3,
        "weights": "random",
        "lr": 2e-3,
        "threads": 1,
        "measure_period": 0.1,
        "device": "cpu",
    },
    "smoke": {"made_up": 1000, "epochs": 1000, "weights": "random", "seconds": 45, "warm_up": 2},
    "paper": {"epochs": None},
}


def options():
    parser = script.options("Fine-tune BERT or DistilBERT on SST-2, measured by PACT.")
    script.add_training(parser)
    add = parser.add_argument
    add("-model", "--model", choices=EPOCHS, default="bert-base-uncased", help="(base)")
    add("-train", metavar="TSV", help="sentences to train on, instead of a fold of SST-2")
    add("-dev", metavar="TSV", help="named by the original, and as there not used")
    add("-res", metavar="FOLDER", type=Path, help="keep the model here when done")
    add("-max_sequence_len", type=script.positive, default=64, metavar="N", help="(64)")
    add(
        *("-epoch", "--epochs"),
        dest="epochs",
        type=script.positive,
        default=10,
        metavar="N",
        help="(10; of the paper: 100, 65, 50, 25 or 75)",
    )
    add(
        *("-train_batch_size", "--batch-size"),
        dest="batch_size",
        type=script.positive,
        default=USUAL_BATCH,
        metavar="N",
        help="(16)",
    )
    add(
        "-valid_batch_size", type=script.positive, default=16, metavar="N", help="not used, as -dev"
    )
    add("-lr", type=float, default=2e-5, help="learning rate (2e-5)")
    add("-n_warmup_steps", type=int, default=0, metavar="N", help="while that rises (0)")
    add("--fold", type=int, default=1, metavar="N", help="which of the 5 folds (1)")
    add("--weights", default="pretrained", help="pretrained, random, or a folder (pretrained)")
    add("--data", metavar="FOLDER", default=script.cache_folder(), help="where SST-2 is kept")
    add("--made-up", type=int, default=0, metavar="N", help="N made-up sentences, not SST-2")
    add("--download", action="store_true", help="download SST-2 (0.8 MB) and stop")
    return parser


def main(args):
    device = script.prepare(args)
    script.need("transformers")
    import models
    import sst2
    import torch
    import transformers

    if args.download:
        fetch(sst2.ARCHIVE, Path(args.data))
        return
    rows = sentences(args, sst2)
    marks = marks_of(args)
    told = {}
    if args.weights == "random":
        texts = [text for _, text, _ in rows]
        tokenizer, model = models.untrained(args.model, texts, is_tiny=args.profile == "tiny")
    else:
        name = args.model if args.weights == "pretrained" else args.weights
        tokenizer, model, told["revision"] = models.pretrained(name)
    model.to(device).train()

    labels = sorted({label for _, _, label in rows})

    def encoded(row):  # every time it is needed, as the original
        tokens = tokenizer(
            row[1], max_length=args.max_sequence_len, padding="max_length", truncation=True
        )
        names = ("input_ids", "attention_mask")
        item = {name: torch.tensor(tokens[name]) for name in names}
        return item | {"labels": torch.tensor(labels.index(row[2]))}

    batches = torch.utils.data.DataLoader(
        rows, args.batch_size, collate_fn=lambda some: _stack(torch, map(encoded, some))
    )
    epochs = args.epochs or EPOCHS[args.model]
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, eps=1e-6, weight_decay=0.0)
    schedule = transformers.get_linear_schedule_with_warmup(
        optimizer, args.n_warmup_steps, len(batches) * epochs
    )

    def step(batch):
        loss = model(**{name: tensor.to(device) for name, tensor in batch.items()}).loss
        value = loss.item()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        return value

    for batch in itertools.islice(batches, args.warm_up):
        step(batch)
    work = script.Work(steps=args.steps, seconds_s=args.seconds)

    @PACT(
        measure_period=args.measure_period,
        perf_measure_period=args.perf_period,
        events_groups=args.events,
        tracker_file_name=args.tracker_file,
        PSU=args.psu,
        marks=marks,
    )
    def train():
        work.begin()
        for epoch in range(1, epochs + 1):
            for batch in batches:
                work.add(step(batch), len(batch["labels"]))
                if work.is_done:
                    return
            work.tell(f"epoch {epoch}/{epochs}")

    script.chosen(train, args)()
    if args.res:
        model.save_pretrained(args.res)
    if args.profile == "smoke" and args.batch_size == USUAL_BATCH:
        work.compare(USUAL[args.model])
    work.report(
        model=args.model,
        profile=args.profile or "none",
        **marks,
        **told,
        fold=args.fold,
        device=str(device),
        parameters=model.num_parameters(),
        final_sha256=script.fingerprint(model.state_dict()),
    )


def sentences(args, sst2):
    """Return the rows to train on."""
    if args.train:
        if args.made_up:
            raise ConfigError("-train names a file, and --made-up asks for none", "one of them")
        return sst2.read_tsv(args.train)
    if args.made_up:
        with tempfile.TemporaryDirectory() as folder:
            rows = sst2.read_tsv(sst2.make(Path(folder) / "made_up.tsv", args.made_up))
    else:
        rows = sst2.read_trees(fetch(sst2.ARCHIVE, Path(args.data)))
    return sst2.fold(rows, args.fold)[0]


def marks_of(args):
    """Return what a reader must know; what is the user's own may hold anything."""
    data = "own" if args.train else "real"
    weights = args.weights if args.weights in {"pretrained", "random"} else "own"
    return {"data": "made up" if args.made_up else data, "weights": weights}


def _stack(torch, items):
    return torch.utils.data.default_collate(list(items))


if __name__ == "__main__":
    sys.exit(script.run(main, options(), PROFILES))
