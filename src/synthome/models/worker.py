"""A model that several processes train side by side: each is this module, started by torchrun.

The training part and the settings lie in a folder, where rank 0 leaves weights and history. Kedro
and MLflow stay in the process that asked for it.
"""

import logging
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from anndata import AnnData, read_h5ad

from synthome.errors import InputError
from synthome.models.registry import GeneratorSettings
from synthome.state_file import State, read_state, write_state

TRAIN, SETTINGS = "train.h5ad", "settings.json"
WEIGHTS, HISTORY = "weights.safetensors", "history.parquet"
REFUSED, FAILED = "refused.txt", "failed.txt"


def train_in_ranks(
    train: AnnData, settings: GeneratorSettings, checkpoint: Path
) -> tuple[State, pd.DataFrame]:
    """Fit the chosen generator to ``train`` in ``settings.ranks`` processes of this machine.

    Returns
    -------
    The state of the fitted generator, and its history.

    Raises
    ------
    InputError
        With the message of a rank that refused its input.
    RuntimeError
        If a rank fails otherwise.
    """
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=checkpoint.parent, prefix=".ranks-") as name:
        folder = Path(name)
        train.write_h5ad(folder / TRAIN, convert_strings_to_categoricals=False)
        (folder / SETTINGS).write_text(settings.model_dump_json(), encoding="utf-8")
        done = subprocess.run(
            [
                sys.executable, "-m", "torch.distributed.run", "--standalone",
                f"--nproc-per-node={settings.ranks}", "-m", __name__, name, str(checkpoint),
            ],
            stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        if (folder / REFUSED).exists():
            raise InputError((folder / REFUSED).read_text(encoding="utf-8"))
        if done.returncode:
            told = folder / FAILED
            why = told.read_text(encoding="utf-8") if told.exists() else done.stderr[-1000:]
            raise RuntimeError(f"Training in {settings.ranks} ranks failed: {why}")
        return read_state(folder / WEIGHTS), pd.read_parquet(folder / HISTORY)


def main(folder: Path, checkpoint: Path) -> None:
    """Be one rank."""
    from synthome.training import ranks

    text = (folder / SETTINGS).read_text(encoding="utf-8")
    settings = GeneratorSettings.model_validate_json(text)
    with ranks.joined():
        first = ranks.rank() == 0
        level = logging.INFO if first else logging.ERROR  # one speaks for all
        logging.basicConfig(level=level, format="%(message)s", stream=sys.stdout)
        try:
            generator = settings.build()
            generator.fit(read_h5ad(folder / TRAIN), checkpoint=checkpoint)
        except Exception as error:
            refused = isinstance(error, InputError)
            text = str(error) if refused else f"{type(error).__name__}: {error}"
            (folder / (REFUSED if refused else FAILED)).write_text(text, encoding="utf-8")
            raise
        if first:
            write_state(folder / WEIGHTS, generator.state())
            generator.history.to_parquet(folder / HISTORY)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
