"""Load every GPU with products of matrices, as gpu-burn does, where there is no gpu-burn.

    python stress/burn.py 200 [--dtype tf32] [--device cpu]

The same product is computed again and again and compared with the first one: a GPU whose results
differ is FAULTY. What is printed has gpu-burn's form, so that one reader reads both.
"""

import argparse
import sys
import time

try:
    import torch
except ImportError:
    sys.exit(
        "neither gpu-burn nor torch is here\n"
        "  fix: pip install torch, or build https://github.com/wilicc/gpu-burn and name --gpu-burn"
    )

SIZE = {"cuda": 8192, "cpu": 1024}
TYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
BETWEEN = 8
"""Products between two comparisons."""


class Burner:
    """One device at work."""

    def __init__(self, device, size, dtype):
        random = torch.Generator().manual_seed(10)
        shape = (size, size)
        self.a, self.b = (torch.rand(shape, generator=random).to(device, dtype) for _ in "ab")
        self.first = self.a @ self.b
        self.next = torch.empty_like(self.first)
        self.products = self.errors = 0

    def start(self):
        """Ask for some products; a GPU works on while we go on to the next."""
        for _ in range(BETWEEN):
            torch.matmul(self.a, self.b, out=self.next)

    def finish(self):
        """Wait for them and compare the last."""
        self.errors += int((self.next != self.first).sum())
        self.products += BETWEEN


def devices(kind):
    """Return the devices to load."""
    if kind == "cpu":
        return ["cpu"]
    if not torch.cuda.is_available():
        sys.exit(
            f"no GPU here that torch {torch.__version__} can use\n"
            "  fix: a build of torch for this GPU, its driver, or --device cpu to try without one"
        )
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


def main():
    """Burn, then tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seconds", type=float)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--dtype", choices=TYPES, default="fp32")
    parser.add_argument("--size", type=int, help="rows of a matrix (8192; 1024 on a CPU)")
    parser.add_argument("--check", action="store_true", help="only say what there is")
    args = parser.parse_args()
    names = devices(args.device)
    if args.check:
        print(f"torch {torch.__version__}")
        return
    torch.backends.cuda.matmul.allow_tf32 = args.dtype == "tf32"
    size = args.size or SIZE[args.device]
    begin = told = time.monotonic()
    burners = [Burner(name, size, TYPES[args.dtype]) for name in names]
    gflop = 2 * size**3 / 1e9
    print(f"{gflop:.6f} Gflop a product", flush=True)
    while (now := time.monotonic()) < begin + args.seconds:
        for burner in burners:
            burner.start()
        for burner in burners:
            burner.finish()
        if now > told + args.seconds / 10:
            told = now
            progress(burners, gflop, now - begin, args.seconds)
    progress(burners, gflop, time.monotonic() - begin, args.seconds)
    print(f"\nTested {len(burners)} GPUs:")
    for number, burner in enumerate(burners):
        print(f"\tGPU {number}: {'FAULTY' if burner.errors else 'OK'}")


def progress(burners, gflop, took_s, seconds):
    """Print a line of gpu-burn's form."""
    done = " - ".join(f"{b.products} ({b.products * gflop / took_s:.0f} Gflop/s)" for b in burners)
    errors = " - ".join(str(burner.errors) for burner in burners)
    percent = min(100.0, took_s / seconds * 100)
    print(f"{percent:.1f}%  proc'd: {done}   errors: {errors}   temps: --", flush=True)


if __name__ == "__main__":
    main()
