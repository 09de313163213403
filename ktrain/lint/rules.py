"""The rules, each a function from a job to findings. Pure."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from ktrain.spec import TrainingJob
from ktrain.spec.trainer import Trainer
from ktrain.units import Span

Level = Literal["error", "warning"]
Found = Iterator[tuple[str, str]]  # path in the job file, sentence

_RESERVED: Final = frozenset(
    {
        "RANK",
        "LOCAL_RANK",
        "WORLD_SIZE",
        "LOCAL_WORLD_SIZE",
        "GROUP_RANK",
        "MASTER_ADDR",
        "MASTER_PORT",
        "OMP_NUM_THREADS",
    }
)
_SECRET_NAME: Final = re.compile(
    r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY|CREDENTIALS?)($|_)", re.IGNORECASE
)
_SECRET_LENGTH: Final = 24
_SECRET_BITS: Final = 4.0  # per character: English has 2 to 3.5, random base64 up to 6


@dataclass(frozen=True, slots=True)
class Rule:
    """A code, how bad it is, what it is about, and why it hurts."""

    code: str
    level: Level
    title: str
    why: str
    check: Callable[[TrainingJob], Found]


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that speaks, and where."""

    code: str
    level: Level
    path: str
    message: str


def lint(job: TrainingJob) -> list[Finding]:
    """All findings, errors first."""
    found = [Finding(rule.code, rule.level, path, text) for rule in RULES for path, text in rule.check(job)]
    return sorted(found, key=lambda it: (it.level != "error", it.code))


def _reserved(job: TrainingJob) -> Found:
    for name in (*job.spec.env, *job.spec.secret_env):
        if name in _RESERVED or name.startswith(("KTRAIN_", "TORCHELASTIC_", "PET_")):
            yield f"spec.env.{name}", f"{name} is set by the launcher for every rank; remove it"


def _inline_secret(job: TrainingJob) -> Found:
    for name, value in job.spec.env.items():
        if value and (_SECRET_NAME.search(name) or _looks_random(value)):
            yield f"spec.env.{name}", f"{name} looks like a secret; put it into a Secret and name it in spec.secretEnv"


def _looks_random(value: str) -> bool:
    if len(value) < _SECRET_LENGTH or not re.fullmatch(r"[A-Za-z0-9+/=_\-]+", value):
        return False
    if not all(re.search(kind, value) for kind in ("[a-z]", "[A-Z]", "[0-9]")):
        return False
    shares = [value.count(character) / len(value) for character in set(value)]
    return -sum(share * math.log2(share) for share in shares) >= _SECRET_BITS


def _image(job: TrainingJob) -> Found:
    image = job.spec.image
    if image is None or "@sha256:" in image:
        return
    tag = image.rsplit("/", 1)[-1].partition(":")[2]
    if tag in {"", "latest"}:
        yield "spec.image", f"{image} may be another image at the next restart; name a version, or better a digest"


def _memory(job: TrainingJob) -> Found:
    if job.spec.image and "memory" not in job.spec.resources:
        yield "spec.resources", "no memory is asked for; the pods are the first to be killed when a node runs short"


def _local_storage(job: TrainingJob) -> Found:
    if job.spec.image and job.spec.max_nodes > 1 and not job.spec.storage.url.startswith("s3://"):
        yield (
            "spec.storage.url",
            f"{job.spec.storage.url} is a folder, and {job.spec.max_nodes} pods must share it; use s3://, or a shared volume",
        )


def _grace(job: TrainingJob) -> Found:
    if job.spec.preemption.grace < timedelta(seconds=10):
        yield (
            "spec.preemption.grace",
            "less than 10 s from the signal to the kill: the last checkpoint may not be written",
        )


def _gpus(job: TrainingJob) -> Found:
    gpus = [int(amount) for name, amount in job.spec.resources.items() if name.endswith("/gpu") and amount.isdigit()]
    if gpus and job.spec.procs_per_node not in {None, max(gpus)}:
        yield (
            "spec.procsPerNode",
            f"{job.spec.procs_per_node} ranks a node, but {max(gpus)} GPUs: some idle, or some ranks have none",
        )


def _spot(job: TrainingJob) -> Found:
    if job.spec.scheduling.spot and not job.spec.scheduling.tolerations and not job.spec.scheduling.node_selector:
        yield (
            "spec.scheduling",
            "spot is true, but nothing lets the pods onto preemptible nodes; add a toleration or a nodeSelector",
        )


def _deterministic(job: TrainingJob) -> Found:
    if (
        job.spec.trainer
        and not job.spec.trainer.deterministic
        and any(name.endswith("/gpu") for name in job.spec.resources)
    ):
        yield (
            "spec.trainer.deterministic",
            "on GPUs a resume is bit-exact with deterministic: true only (it costs speed)",
        )


def _order(job: TrainingJob) -> Found:
    if job.spec.trainer and not job.spec.trainer.data.shuffle:
        yield "spec.trainer.data.shuffle", "training data in the dataset's own order; neighbours are often alike"


def _never_saved(job: TrainingJob) -> Found:
    trainer = job.spec.trainer
    if not trainer or trainer.checkpoint.is_auto:
        return
    if all(_is_longer(span, trainer.duration, trainer) for span in trainer.checkpoint.spans):
        yield (
            "spec.trainer.checkpoint.every",
            f"the run is {trainer.duration} long and is saved at its end only; a failure costs all of it",
        )


def _warm_up(job: TrainingJob) -> Found:
    trainer = job.spec.trainer
    if trainer and _is_longer(trainer.schedule.warmup, trainer.duration, trainer):
        yield (
            "spec.trainer.schedule.warmup",
            f"a warm-up of {trainer.schedule.warmup} in a run of {trainer.duration}: the full rate is never reached",
        )


def _averaged_twice(job: TrainingJob) -> Found:
    trainer = job.spec.trainer
    if trainer and trainer.optim.name.startswith("schedulefree") and trainer.schedule.name != "constant":
        yield (
            "spec.trainer.schedule.name",
            f"{trainer.optim.name} needs no schedule, and {trainer.schedule.name} lowers its rate; write name: constant",
        )


def _one_shard(job: TrainingJob) -> Found:
    if job.spec.trainer and job.spec.trainer.parallel.is_sharded and job.spec.max_ranks == 1:
        yield "spec.trainer.parallel.strategy", f"{job.spec.trainer.parallel.strategy} with one rank shards nothing"


def _uneven(job: TrainingJob) -> Found:
    trainer = job.spec.trainer
    if trainer is None or trainer.batch.micro == "auto":
        return
    micros = trainer.batch.micros
    if micros % job.spec.max_ranks:
        yield (
            "spec.trainer.batch",
            f"{micros} micro-batches do not divide among {job.spec.max_ranks} ranks: some wait in every step",
        )


def _is_longer(span: Span, duration: Span, trainer: Trainer) -> bool:
    if span.unit == duration.unit:
        return span.value >= duration.value and span.value > 0
    sizes = {"step": trainer.batch.global_, "sample": 1}
    if span.unit in sizes and duration.unit in sizes:
        return span.value * sizes[span.unit] >= duration.value * sizes[duration.unit]
    return False  # epochs, tokens and times do not compare without the data


RULES: Final = (
    Rule("KT001", "error", "Reserved environment", "The launcher gives each rank its own; a fixed value breaks the rendezvous.", _reserved),
    Rule("KT002", "error", "Secret in the open", "The job file, the ConfigMap and every checkpoint's manifest would hold it.", _inline_secret),
    Rule("KT003", "warning", "Moving image tag", "A recreated pod may run other code than its peers.", _image),
    Rule("KT004", "warning", "No memory request", "Kubernetes evicts pods without a request first.", _memory),
    Rule("KT005", "warning", "Folder for several pods", "Each pod would keep its own checkpoints, and none would be whole.", _local_storage),
    Rule("KT006", "warning", "Short grace period", "SIGKILL follows; the run goes on from an older commit.", _grace),
    Rule("KT007", "warning", "Ranks and GPUs differ", "One rank drives one GPU.", _gpus),
    Rule("KT008", "warning", "Spot without a way there", "Preemptible nodes are tainted; the pods stay Pending or never use them.", _spot),
    Rule("KT009", "warning", "Kernels may differ", "Fast GPU kernels add in any order, so two runs differ in the last bits.", _deterministic),
    Rule("KT010", "warning", "No shuffling", "Batches of alike samples train worse.", _order),
    Rule("KT011", "warning", "Saved at the end only", "Nothing is kept of a run that fails before its first checkpoint.", _never_saved),
    Rule("KT012", "warning", "Warm-up as long as the run", "The learning rate only rises.", _warm_up),
    Rule("KT013", "warning", "Sharding over one rank", "It costs time and saves no memory.", _one_shard),
    Rule("KT014", "warning", "Uneven micro-batches", "The step is as long as the busiest rank's share.", _uneven),
    Rule("KT015", "warning", "Schedule-free on a schedule", "The optimizer averages what a falling rate would settle.", _averaged_twice),
)  # fmt: skip
