"""--env=slurm changes parameters alone, and the batch script gives each seed a place of its own."""

import os
import subprocess

import pytest
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from project_copy import PROJECT, copy_project

from synthome.evaluation.config import EvaluationConfig

SLURM = PROJECT / "conf" / "slurm"
SCRIPT = SLURM / "train.sbatch"


def parameters(env, **given):
    bootstrap_project(PROJECT)
    with KedroSession.create(PROJECT, env=env, runtime_params=given) as session:
        return session.load_context().config_loader["parameters"]


def flat(value, name=""):
    if not isinstance(value, dict):
        return {name: value}
    found = {}
    for key, item in value.items():
        found |= flat(item, f"{name}.{key}")
    return found


def test_the_environment_changes_where_folds_run_and_nothing_else():
    """The same graph, data and scores: the catalog and every other parameter are those of base."""
    assert {path.suffix for path in SLURM.iterdir()} == {".yml", ".sbatch"}
    assert [path.name for path in SLURM.glob("*.yml")] == ["parameters.yml"]
    base, slurm = flat(parameters("base")), flat(parameters("slurm"))
    assert base.keys() == slurm.keys()
    changed = {name for name in base if base[name] != slurm[name]}
    wanted = ("._cluster.", ".leaderboard.evaluation.cluster.", ".rare_vae.evaluation.cluster.")
    assert {name for name in changed if not name.startswith(wanted)} == set()
    assert {f"{place}kind" for place in wanted} <= changed


@pytest.mark.parametrize("env", ["base", "slurm", "cohort"])
@pytest.mark.parametrize("system", ["leaderboard", "rare_vae"])
def test_what_a_job_asks_for_comes_from_the_command_line(env, system):
    """With every environment, as somebody's own cohort is one too."""
    asked = {
        "workers": 3, "cores": 2, "memory": "5GB", "walltime": "1-00:00:00", "queue": "short",
        "account": 12, "interface": "ib0", "directives": "--qos=low", "tls": False,
    }  # fmt: skip
    given = parameters(env, cluster="slurm", **asked)[system]["evaluation"]
    cluster = EvaluationConfig.model_validate(given).cluster
    assert cluster.kind == "slurm"
    assert cluster.slurm.model_dump() == asked | {"account": "12", "directives": ("--qos=low",)}


def test_an_environment_is_told_to_compute_here():
    """--env=slurm on a laptop, for instance to try the same parameters."""
    given = parameters("slurm", cluster="local")["leaderboard"]["evaluation"]
    assert EvaluationConfig.model_validate(given).cluster.is_local


@pytest.fixture
def submit(tmp_path):
    """Runs the batch script as a job would, with a kedro that writes down how it was called."""
    project, commands = tmp_path / "project", tmp_path / "bin"
    for folder in (project, commands):
        folder.mkdir()
    copy_project(project)
    kedro = commands / "kedro"
    kedro.write_text('#!/usr/bin/env bash\necho "$PWD"\nprintf "%s\\n" "$@"\nexit "${CODE:-0}"\n')
    (commands / "srun").write_text('#!/usr/bin/env bash\n"$@"\n')
    for path in commands.iterdir():
        path.chmod(0o755)

    def run_script(**variables):
        path = f"{commands}{os.pathsep}{os.environ['PATH']}"
        given = {"PATH": path, "KEDRO": str(kedro), "SLURM_CPUS_PER_TASK": "8"} | variables
        done = subprocess.run(
            ["bash", str(SCRIPT)], cwd=project, env=given, capture_output=True, text=True
        )
        return done, done.stdout.splitlines(), project

    return run_script


@pytest.mark.parametrize("path", sorted(SLURM.glob("*.sbatch")), ids=lambda path: path.name)
def test_batch_scripts_are_bash_with_their_directives_on_top(path):
    """SLURM reads directives up to the first command, and leaves out those below without a word."""
    subprocess.run(["bash", "-n", str(path)], check=True)
    lines = path.read_text().splitlines()
    assert lines[0] == "#!/bin/bash"
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    asked = [i for i, line in enumerate(lines) if line.startswith("#SBATCH ")]
    assert asked
    assert max(asked) < first_command


def test_a_job_is_one_run_in_the_project(submit):
    """Without an array, as on a machine of one's own; as many folds at a time as it has cores."""
    done, lines, project = submit(PIPELINE="ldvae", ENV="cells", PARAMS="h5ad=/a b.h5ad,n_jobs=2")
    assert done.returncode == 0, done.stderr
    assert lines == [
        str(project), "run", "--pipeline=ldvae", "--env=cells",
        "--params=n_jobs=8,h5ad=/a b.h5ad,n_jobs=2",  # of two values, Kedro takes the last
    ]  # fmt: skip


def test_each_seed_of_an_array_has_a_project_of_its_own(submit):
    """In one folder, seeds that run at the same time would read each other's models."""
    for seed in ("3", "4", "3"):  # and a job that is queued again finds its own
        done, lines, project = submit(PIPELINE="rare_vae", SLURM_ARRAY_TASK_ID=seed)
        assert done.returncode == 0, done.stderr
        folder = project / "data" / "slurm" / f"rare_vae-{seed}"
        assert lines == [
            str(folder), "run", "--pipeline=rare_vae", f"--params=n_jobs=8,seed={seed}"
        ]  # fmt: skip
        assert bootstrap_project(folder).project_name == "synthome"
        assert (folder / "conf" / "base" / "parameters" / "rare_vae.yml").is_file()
        assert not (folder / "conf" / "conf").exists()
    bootstrap_project(PROJECT)


def test_each_gpu_of_the_machine_is_a_rank(submit):
    """And one alone is no rank, so that systems which train on one need not know of them."""
    for n, expected in (("1", ""), ("4", ",ranks=4")):
        done, lines, _ = submit(PIPELINE="cycle_ae", SLURM_GPUS_ON_NODE=n)
        assert done.returncode == 0, done.stderr
        assert lines[-1] == f"--params=n_jobs=8{expected}"


def test_a_job_that_fails_has_failed_for_slurm_too(submit):
    """`sacct` and dependent jobs look at the exit code."""
    assert submit(PIPELINE="rare_vae", CODE="3")[0].returncode == 3
    done, *_ = submit()
    assert done.returncode != 0
    assert "Say which pipeline" in done.stderr
    assert not done.stdout
