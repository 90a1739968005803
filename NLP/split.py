"""Write the folds of cross-validation as the original study's split.py: fold-1/train.tsv and so on.

python NLP/split.py -dataset_path sst2_small_dataset.tsv -cross_validation_path sst2_cvp
"""

import argparse
import sys
from pathlib import Path

import sst2

from pactmeter.errors import PactError
from pactmeter.study import script
from pactmeter.study.fetch import fetch


def main():
    parser = argparse.ArgumentParser(description="Cut a data set into folds.")
    add = parser.add_argument
    add("-dataset_path", metavar="TSV", help="id, text, label; its first line is a header (SST-2)")
    add("-cross_validation_path", metavar="FOLDER", type=Path, required=True)
    add("-k_fold", type=int, default=sst2.FOLDS, metavar="K", help="(5)")
    args = parser.parse_args()
    try:
        if args.dataset_path:
            rows = sst2.read_tsv(args.dataset_path)
        else:
            rows = sst2.read_trees(fetch(sst2.ARCHIVE, script.cache_folder()))
        for number in range(1, args.k_fold + 1):
            train, test = sst2.fold(rows, number, args.k_fold)
            folder = args.cross_validation_path / f"fold-{number}"
            sst2.write_tsv(folder / "train.tsv", train)
            sst2.write_tsv(folder / "test.tsv", test)
            print(f"{folder}: {len(train)} to train on, {len(test)} to test on")
    except PactError as error:
        sys.exit(f"split.py: {error}")


if __name__ == "__main__":
    main()
