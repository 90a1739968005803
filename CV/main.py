"""Train VGG19, ResNet18, DenseNet121 or MobileNet on CIFAR-10, measured by PACT.

python CV/main.py --model resnet --profile smoke
"""

import itertools
import sys
import tempfile
from pathlib import Path

from pactmeter import PACT
from pactmeter.errors import FileError
from pactmeter.study import script
from pactmeter.study.fetch import fetch

EPOCHS = {"vgg": 200, "resnet": 200, "densenet": 50, "mobilenet": 300}
"""Of the original study."""
USUAL = {"vgg": 250, "resnet": 115, "densenet": 56, "mobilenet": 500}
"""Steps of `smoke` in 60 s on two idle cores."""
NARROW = {
    "vgg": (1 / 16, 0.02),
    "resnet": (1 / 8, 0.05),
    "densenet": (1 / 8, 0.1),
    "mobilenet": (1 / 8, 0.1),
}
"""Width and learning rate of the models of `tiny`."""
PROFILES = {
    "tiny": {
        "made_up": 640,
        "epochs": 2,
        "batch_size": 32,
        "workers": 0,
        "threads": 1,
        "measure_period": 0.1,
        "device": "cpu",
    },
    "smoke": {"made_up": 2000, "epochs": 1000, "batch_size": 32, "seconds": 45, "warm_up": 5},
    "paper": {"epochs": None},
}


def options():
    parser = script.options("Train a model on CIFAR-10, measured by PACT.")
    script.add_training(parser)
    add = parser.add_argument
    add("--model", choices=EPOCHS, default="vgg", help="(vgg)")
    add("--epochs", type=script.positive, default=10, help="(10; of the paper: 200, 50 or 300)")
    add("--lr", type=float, help="learning rate (0.1)")
    add("--res", metavar="FOLDER", help="write FOLDER/PACT.csv, instead of --tracker-file")
    add("-r", "--resume", action="store_true", help="go on from the checkpoint")
    add("--checkpoint", metavar="FILE", help="keep the model here when done")
    add("--batch-size", type=script.positive, default=128, metavar="N", help="(128)")
    add("--workers", type=int, default=2, metavar="N", help="processes that load (2)")
    add("--data", metavar="FOLDER", default=script.cache_folder(), help="where CIFAR-10 is kept")
    add("--made-up", type=int, default=0, metavar="N", help="N made-up pictures, not CIFAR-10")
    add("--download", action="store_true", help="download CIFAR-10 (170 MB) and stop")
    return parser


def main(args):
    device = script.prepare(args)
    import cifar
    import models
    import torch

    if args.download:
        fetch(cifar.ARCHIVE, Path(args.data))
        return
    data = cifar.Augmented(*pictures(args, cifar))
    batches = torch.utils.data.DataLoader(
        data, args.batch_size, shuffle=True, num_workers=args.workers
    )

    width, rate = NARROW[args.model] if args.profile == "tiny" else (1.0, 0.1)
    model = getattr(models, args.model)(width).to(device)
    net = spread(model, device, torch)
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=args.lr or rate, momentum=0.9, weight_decay=5e-4
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=200)
    parts = {"net": model, "optimizer": optimizer, "schedule": schedule}
    checkpoint = Path(args.checkpoint or "checkpoint/ckpt.pth")
    if args.resume:
        resume(checkpoint, parts, device)

    def step(images, classes):
        optimizer.zero_grad()
        loss = criterion(net(images.to(device)), classes.to(device))
        loss.backward()
        optimizer.step()
        return loss.item()

    for batch in itertools.islice(batches, args.warm_up):
        step(*batch)
    work = script.Work(steps=args.steps, seconds_s=args.seconds)
    epochs = args.epochs or EPOCHS[args.model]
    marks = {"data": "made up" if args.made_up else "real"}

    @PACT(
        measure_period=args.measure_period,
        perf_measure_period=args.perf_period,
        events_groups=args.events,
        tracker_file_name=Path(args.res) / "PACT.csv" if args.res else args.tracker_file,
        PSU=args.psu,
        marks=marks,
    )
    def train():
        work.begin()
        for epoch in range(1, epochs + 1):
            for images, classes in batches:
                work.add(step(images, classes), len(classes))
                if work.is_done:
                    return
            schedule.step()
            work.tell(f"epoch {epoch}/{epochs}")

    script.chosen(train, args)()
    if args.checkpoint:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        torch.save({name: part.state_dict() for name, part in parts.items()}, checkpoint)
    if args.profile == "smoke":
        work.compare(USUAL[args.model])
    work.report(
        model=args.model,
        profile=args.profile or "none",
        **marks,
        device=str(device),
        parameters=sum(p.numel() for p in model.parameters()),
        final_sha256=script.fingerprint(model.state_dict()),
    )


def pictures(args, cifar):
    """Return the pictures to train on, and their classes."""
    if not args.made_up:
        return cifar.read(fetch(cifar.ARCHIVE, Path(args.data)))
    with tempfile.TemporaryDirectory() as folder:
        return cifar.read(cifar.make(Path(folder) / cifar.ARCHIVE.name, args.made_up))


def spread(model, device, torch):
    """Return the model on all GPUs, as in the original, unless one is named."""
    if device.type != "cuda":
        return model
    torch.backends.cudnn.benchmark = True
    return torch.nn.DataParallel(model) if device.index is None else model


def resume(path, parts, device):
    import torch

    try:
        saved = torch.load(path, map_location=device, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(saved[name])
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise FileError(
            f"cannot resume from {path}: {error}", "train with --checkpoint FILE first"
        ) from error


if __name__ == "__main__":
    sys.exit(script.run(main, options(), PROFILES))
