"""SLURM without SLURM: three commands that run jobs on this machine, and a small SLURMCluster.

``SLURMCluster`` stands in for the class of dask-jobqueue where that is not installed: it takes the
same keywords, gives scripts with the same directives to ``sbatch``, and is as silent as the real
one when a job cannot be submitted.
"""

import subprocess
import sys
from pathlib import Path

from distributed import Scheduler, Security
from distributed.deploy.spec import ProcessInterface, SpecCluster

# Files in $QUEUE: N.sh is the script of job N, and N.pid is there while the job waits or runs. A
# file of these names changes what happens: `full` refuses jobs, `broken` ends them at once, `held`
# keeps them waiting.
COMMANDS = {
    "sbatch": """
        if [ "$1" = --test-only ]; then
            grep -q "SBATCH -A nobody" "$2" || exit 0
            echo "sbatch: error: Batch job submission failed: Invalid account" >&2
            exit 1
        fi
        [ ! -e "$QUEUE/full" ] || exit 1
        id=$(( $(ls "$QUEUE" | grep -c 'sh$') + 1 ))
        job="$QUEUE/$id"
        cp "$1" "$job.sh"
        [ ! -e "$QUEUE/broken" ] || echo "exit 1" > "$job.sh"
        command="bash $job.sh"
        [ ! -e "$QUEUE/held" ] || command="sleep 60"
        setsid sh -c "$command; rm -f $job.pid" > "$job.log" 2>&1 < /dev/null &
        echo $! > "$job.pid"
        echo "Submitted batch job $id"
    """,
    "squeue": """
        for option in "$@"; do
            case "$option" in --jobs=*) ids=$(echo "${option#--jobs=}" | tr , ' ');; esac
        done
        for id in $ids; do
            if [ -e "$QUEUE/$id.pid" ]; then echo RUNNING; found=1; fi
        done
        if [ -z "$found" ]; then
            echo "slurm_load_jobs error: Invalid job id specified" >&2
            exit 1
        fi
    """,
    "scancel": """
        pid=$(cat "$QUEUE/$1.pid" 2> /dev/null) || exit 1
        kill -TERM -- "-$pid"
        rm -f "$QUEUE/$1.pid"
    """,
}


def install_commands(folder: Path) -> None:
    """Write the three commands into ``folder``."""
    for name, lines in COMMANDS.items():
        path = folder / name
        path.write_text(f"#!/usr/bin/env bash\n{lines}\n")
        path.chmod(0o755)


class SLURMJob(ProcessInterface):
    """One job, which becomes ``processes`` Dask workers."""

    def __init__(
        self,
        scheduler,
        name,
        *,
        cores,
        memory,
        processes,
        walltime,
        queue,
        account,
        interface,
        job_extra_directives,
        job_name,
        log_directory,
        certificates,
    ):
        super().__init__()
        self.job_id = None
        self.log_directory = log_directory
        log = f"{log_directory}/{job_name}-%J"
        asked = [f"-J {job_name}", f"-e {log}.err", f"-o {log}.out"]
        asked += [f"-p {queue}"] if queue else []
        asked += [f"-A {account}"] if account else []
        asked += ["-n 1", f"--cpus-per-task={cores}", f"--mem={memory}", f"-t {walltime}"]
        asked += job_extra_directives
        command = [sys.executable, "-m distributed.cli.dask_worker", scheduler]
        command += [f"--nthreads {cores // processes}", f"--nworkers {processes}"]
        command += [f"--name {name}", "--nanny", "--death-timeout 60"]
        command += [f"--interface {interface}"] if interface else []
        command += [f"--{key.replace('_', '-')} {path}" for key, path in certificates.items()]
        header = "\n".join(f"#SBATCH {line}" for line in asked)
        self.script = f"#!/usr/bin/env bash\n\n{header}\n\n{' '.join(command)}\n"

    async def start(self):
        path = Path(self.log_directory, f"{id(self)}.sh")
        path.write_text(self.script)
        done = subprocess.run(["sbatch", str(path)], capture_output=True, text=True, check=True)
        path.unlink()
        self.job_id = done.stdout.split()[-1]
        await super().start()

    async def close(self):
        if self.job_id:
            subprocess.run(["scancel", self.job_id], check=False)


class SLURMCluster(SpecCluster):
    """A scheduler in this process, and jobs that it gives to ``sbatch``."""

    def __init__(
        self, *, security, shared_temp_directory, scheduler_options, log_directory, **of_job
    ):
        certificates = {}
        if security:
            security = Security.temporary()
            for key, text in security.get_tls_config_for_role("worker").items():
                if text and "\n" in text:
                    path = Path(shared_temp_directory, f"{key}.pem")
                    path.touch(mode=0o600)
                    path.write_text(text)
                    certificates[f"tls_{key}"] = path
        options = {"protocol": "tls://" if security else None, "security": security}
        options |= {"interface": of_job["interface"]} | scheduler_options
        self.of_job = {"log_directory": log_directory, "certificates": certificates} | of_job
        super().__init__(
            scheduler={"cls": Scheduler, "options": options},
            worker={"cls": SLURMJob, "options": self.of_job},
            security=security,
            silence_logs="error",
        )

    def job_script(self):
        return SLURMJob(self.scheduler.address, "name", **self.of_job).script

    def scale(self, n=None, jobs=0):
        return super().scale(jobs if n is None else n)
