"""nnU-Net, run with the Python of the peers' own environment.

``python -m tests.benchmarks.segment.peers JOB.json``; imports nothing of this project but the
meter. Plans, prepares, trains 3d_fullres on all cases that it is given, with its own planner,
augmentation, loss and optimiser; only the number of steps is set, in epochs short enough for its
learning rate to fall in small steps. Segments case after case in one process.

Isensee et al. 2021, doi:10.1038/s41592-020-01008-z.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import random
from pathlib import Path
from typing import Any

from tests.benchmarks import meter

DATASET, NUMBER = "Dataset001_Bench", 1
CONFIGURATION = "3d_fullres"
#: Most steps of an epoch.
EPOCH = 25
PLACES = {"nnUNet_raw": "raw", "nnUNet_preprocessed": "prepared", "nnUNet_results": "results"}


def main() -> None:
    """Run the job."""
    job = meter.job()
    work = Path(job["work"])
    for variable, name in PLACES.items():
        (work / name).mkdir(parents=True, exist_ok=True)
        os.environ[variable] = str(work / name)
    # 0 would be single-threaded, and breaks the planning
    processes = max(1, int(job["cores"]) // 2)
    os.environ.update(nnUNet_n_proc_DA=str(processes), nnUNet_def_n_proc=str(processes))
    import torch

    torch.set_num_threads(int(job["cores"]))
    for seed in (random.seed, torch.manual_seed):
        seed(int(job["seed"]))
    facts, seconds = meter.timed(lambda: {"train": train, "segment": segment}[job["task"]](job))
    folder = Path(job["out"])
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    meter.account(folder, seconds, f"nnU-Net {importlib.metadata.version('nnunetv2')}")


def train(job: dict[str, Any]) -> dict[str, float]:
    """Plan and train; seconds of both."""
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api

    processes = max(1, int(job["cores"]) // 2)
    lay_out(Path(job["data"]), Path(job["work"]), job["labels"])

    def prepare() -> None:
        api.extract_fingerprints([NUMBER], num_processes=processes)
        api.plan_experiments([NUMBER])
        api.preprocess([NUMBER], configurations=[CONFIGURATION], num_processes=[processes])

    _, planning = meter.timed(prepare)
    made = trainer(job, int(job["steps"]))
    _, training = meter.timed(made.run_training)
    return {"plan_s": planning, "train_s": training, "batch": made.batch_size}


def lay_out(data: Path, work: Path, labels: list[int]) -> None:
    """The folder of cases as a dataset in nnU-Net's form."""
    raw = work / "raw" / DATASET
    for name in ("imagesTr", "labelsTr"):
        (raw / name).mkdir(parents=True, exist_ok=True)
    count = 0
    for path in sorted((data / "images").glob("*.nii.gz")):
        case = path.name.removesuffix(".nii.gz")
        link(path, raw / "imagesTr" / f"{case}_0000.nii.gz")
        link(data / "labels" / path.name, raw / "labelsTr" / path.name)
        count += 1
    told = {"background": 0, **{f"label{label}": label for label in labels}}
    content = {
        "channel_names": {"0": "MRI"},
        "labels": told,
        "numTraining": count,
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(content), encoding="utf-8")


def link(source: Path, target: Path) -> None:
    """A link, made anew."""
    target.unlink(missing_ok=True)
    target.symlink_to(source.resolve())


def trainer(job: dict[str, Any], steps: int) -> Any:
    """nnU-Net's trainer for so many steps, on all cases."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    folder = Path(job["work"]) / "prepared" / DATASET
    plans = json.loads((folder / "nnUNetPlans.json").read_text(encoding="utf-8"))
    dataset = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    plans["continue_training"] = False
    made = nnUNetTrainer(plans, CONFIGURATION, "all", dataset, torch.device("cpu"))
    epoch = max(size for size in range(1, EPOCH + 1) if steps % size == 0)
    made.num_iterations_per_epoch, made.num_epochs = epoch, steps // epoch
    # what it validates on is what it trains on here, and decides nothing
    made.num_val_iterations_per_epoch = 1
    made.save_every = made.num_epochs + 1
    return made


def segment(job: dict[str, Any]) -> dict[str, float]:
    """Labels of each image; seconds of each case."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    trained = trainer(job, 1)
    trained.initialize()
    trained.load_checkpoint(str(Path(trained.output_folder) / "checkpoint_final.pth"))
    trained.set_deep_supervision_enabled(False)
    device = torch.device("cpu")
    predictor = nnUNetPredictor(
        use_mirroring=bool(job["mirroring"]), device=device, perform_everything_on_device=False,
        allow_tqdm=False,
    )  # fmt: skip
    predictor.manual_initialization(
        trained.network, trained.plans_manager, trained.configuration_manager, None,
        trained.dataset_json, type(trained).__name__, trained.inference_allowed_mirroring_axes,
    )  # fmt: skip
    # it loads the weights of each fold; here they are in the network
    predictor.list_of_parameters = [trained.network.state_dict()]
    found = {}
    for path in job["images"]:
        name = Path(path).name.removesuffix(".nii.gz")
        target = str(Path(job["out"]) / name)
        _, found[name] = meter.timed(
            lambda path=path, target=target: predictor.predict_from_files_sequential(
                [[path]], [target]
            )
        )
    return found


if __name__ == "__main__":
    main()
