"""Several tasks, distillation, detection: each against what torch gives by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import ktrain_trainer as ktrain
from ktrain.errors import BuildError, DataError
from ktrain.spec.task import TaskSpec
from ktrain_trainer import task
from ktrain_trainer.notebook import seed_model
from ktrain_trainer.place import Place, claim, nowhere
from ktrain_trainer.tasks.detection import Collate as ImageCollate
from ktrain_trainer.tasks.multi_task import Collate, Mixed
from ktrain_trainer.world import World
from tests.ranks import run_ranks, values
from tests.trainer.mlp import differences
from tests.trainer.tasks_work import TASK, Kinds, Sizes, TwoHeads, mixed, multi, params


def make(spec: dict[str, Any]) -> Any:
    return task.make(TaskSpec.model_validate(spec))


def whole(model: nn.Module) -> dict[str, Tensor]:
    return {name: it.clone() for name, it in model.state_dict().items()}


class TestSeveral:
    def test_with_equally_many_targets_it_is_the_weighted_sum_of_the_means(self) -> None:
        model = TwoHeads().eval()
        batch = Collate()([Mixed({"kind": Kinds(), "size": Sizes()})[at] for at in range(5)])
        out = make(TASK)(model, batch)
        kind = F.cross_entropy(model(batch["kind"][0], "kind"), batch["kind"][1])
        size = F.mse_loss(model(batch["size"][0], "size"), batch["size"][1])
        assert out.loss_sum.item() / float(out.weight) == pytest.approx((0.7 * kind + 0.3 * size).item(), rel=1e-5)

    def test_one_forward_pass_can_give_all_of_them(self) -> None:
        outputs = {"kind": torch.zeros(2, 3), "size": torch.ones(2, 1)}
        with torch.no_grad():
            out = make(TASK)(nn.Identity(), (outputs, {"kind": torch.tensor([0, 1]), "size": torch.zeros(2, 1)}))
        assert set(out.logs) == {"kind_loss", "kind_accuracy", "size_loss"}
        assert out.loss_sum.item() == pytest.approx(0.7 * 2 * float(torch.tensor(3.0).log()) + 0.3 * 2)

    def test_every_batch_holds_each_task_in_its_proportion_and_an_epoch_all_samples(self) -> None:
        source = mixed()
        batch = Collate()([source[0], source[1]])
        assert (len(batch["kind"][0]), len(batch["size"][0])) == (4, 2)
        assert len(source) == 31
        seen = torch.stack([it for at in range(31) for it, _ in source[at]["kind"]])
        assert len({tuple(it.tolist()) for it in seen}) == 50

    def test_a_run_is_resumed_bit_exactly(self, tmp_path: Path) -> None:
        alone = World.alone("cpu")

        def place(name: str) -> Place:
            return claim(str(tmp_path), name, alone, fresh=False, document={})

        straight = multi(place("straight"), alone, 21)
        multi(place("parts"), alone, 9)
        resumed = multi(place("parts"), alone, 21)
        assert resumed.meter.snapshot.restored_step == 9
        assert all(torch.equal(one, other) for one, other in zip(params(resumed), params(straight), strict=True))
        assert resumed.progress.metrics == straight.progress.metrics

    @pytest.mark.slow
    def test_two_ranks_with_shards_train_what_one_rank_trains(self) -> None:
        alone = multi(nowhere(), World.alone("cpu"), 12)
        found, metrics = values(run_ranks("tests.trainer.tasks_work:multi_on_ranks", 2, 12, "fsdp2"))[0]
        assert max(differences(found, params(alone))) < 1e-5
        assert metrics == pytest.approx(alone.progress.metrics, rel=1e-4)


class TestDistillation:
    TEACHER = {"use": "torch.nn:Linear", "args": {"in_features": 4, "out_features": 3}}  # noqa: RUF012

    def distill(self, **args: Any) -> Any:
        return make({"use": "distill", "args": {"teacher": self.TEACHER, **args}})

    def test_it_is_hintons_loss(self) -> None:
        made, student = self.distill(), nn.Linear(4, 3)
        inputs, targets = torch.randn(6, 4), torch.tensor([0, 1, 2, -100, 1, 0])
        out = made(student, (inputs, targets))
        counted = targets != -100
        soft = F.kl_div(
            F.log_softmax(student(inputs)[counted] / 4, -1),
            F.softmax(made.teacher(inputs)[counted] / 4, -1),
            reduction="batchmean",
        )
        expected = 0.7 * 16 * soft + 0.3 * F.cross_entropy(student(inputs), targets)
        assert out.loss_sum.item() / float(out.weight) == pytest.approx(expected.item(), rel=1e-5)

    def test_the_student_becomes_its_teacher_and_the_teacher_stays(self) -> None:
        made, student = self.distill(alpha=1.0, temperature=2.0), nn.Linear(4, 3)
        before = whole(made.teacher)
        data = [(torch.randn(4, generator=torch.Generator().manual_seed(at)), 0) for at in range(32)]
        fitted = ktrain.fit(
            student, data, val=data, loss=made, duration="60step", batch={"global": 16, "micro": 8}, optim={"lr": 0.1}
        )
        assert fitted.metrics["val/soft_loss"] < 1e-3
        assert all(torch.equal(it, before[name]) for name, it in made.teacher.state_dict().items())
        assert not any(it.requires_grad for it in made.teacher.parameters())

    def test_a_teacher_comes_with_a_runs_weights(self, tmp_path: Path) -> None:
        data = [(torch.ones(4), 1)] * 8
        model = nn.Linear(4, 3)
        ktrain.fit(
            model, data, duration="3step", batch={"global": 4, "micro": 4}, optim={"lr": 0.1}, storage=str(tmp_path)
        )
        made = make({"use": "distill", "args": {"teacher": {**self.TEACHER, "initFrom": f"{tmp_path}/default/fit@3"}}})
        assert torch.equal(made.teacher.weight, model.weight)

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ({"args": {"teacher": {"uses": "a:b"}}}, "is no model; write use, args and initFrom"),
            ({"args": {"teacher": {"use": "builtins:dict"}}}, "gave a dict, not a torch.nn.Module"),
            ({"args": {}}, "missing a required argument: 'teacher'"),
            ({"args": {"teacher": TEACHER, "alpha": 7}}, "alpha is 7"),
            ({"args": {"teacher": TEACHER}, "loss": {"use": "mse"}}, "distillation is of classes"),
        ],
        ids=["key", "no module", "no teacher", "alpha", "loss"],
    )
    def test_what_cannot_be_is_told(self, spec: dict[str, Any], message: str) -> None:
        with pytest.raises(BuildError, match=message):
            make({"use": "distill", **spec})

    def test_a_teacher_of_other_classes_is_told(self) -> None:
        with pytest.raises(BuildError, match=r"the teacher gives \(2, 3\), but the student \(2, 5\)"):
            self.distill()(nn.Linear(4, 5), (torch.ones(2, 4), torch.tensor([0, 1])))


class Squares:
    """A bright square in each image, and where it is."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        generator = torch.Generator().manual_seed(index)
        image = 0.1 * torch.rand(3, 64, 64, generator=generator)
        left, top = torch.randint(4, 30, (2,), generator=generator).tolist()
        image[:, top : top + 24, left : left + 24] = 1.0
        box = torch.tensor([[left, top, left + 24, top + 24]], dtype=torch.float32)
        return image, {"boxes": box, "labels": torch.tensor([1])}


def detector() -> nn.Module:
    """torchvision's Faster R-CNN on a backbone of two layers."""
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.rpn import AnchorGenerator

    seed_model(0)
    backbone: Any = nn.Sequential(
        nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU()
    )
    backbone.out_channels = 16
    anchors = AnchorGenerator(((24,),), ((1.0,),))
    made: nn.Module = FasterRCNN(
        backbone, 2, min_size=64, max_size=64, rpn_anchor_generator=anchors, box_detections_per_img=5,
        rpn_pre_nms_top_n_train=50, rpn_post_nms_top_n_train=20, rpn_pre_nms_top_n_test=50, rpn_post_nms_top_n_test=20,
    )  # fmt: skip
    return made


class TestDetection:
    def test_a_torchvision_detector_is_trained_evaluated_and_resumed_bit_exactly(self, tmp_path: Path) -> None:
        def fit(model: nn.Module, name: str, duration: str) -> ktrain.Fitted:
            return ktrain.fit(
                model, Squares(), val=Squares(), collate=ImageCollate(), loss=make({"use": "detection"}), duration=duration,
                batch={"global": 4, "micro": 2}, optim={"lr": 2e-3}, eval={"every": "12step", "metrics": {"map": {}}, "predictions": True},
                storage=str(tmp_path), name=name,
            )  # fmt: skip

        whole_run, parts = detector(), detector()
        fitted = fit(whole_run, "whole", "24step")
        fit(parts, "parts", "12step")
        fit(parts := detector(), "parts", "24step")
        assert all(
            torch.equal(one, other) for one, other in zip(whole_run.parameters(), parts.parameters(), strict=True)
        )
        losses = [value for _, value in fitted.curve("val/loss")]
        assert losses[-1] < losses[0]
        assert {"val/map", "val/map_50", "val/loss_box_reg", "val/loss_objectness"} <= set(fitted.metrics)
        index = next(tmp_path.rglob("predictions/val/step-0000000024/index.json"))
        assert sum(json.loads(index.read_text())["files"].values()) == 12

    def test_evaluation_leaves_batch_statistics_as_they_are(self) -> None:
        model = detector().eval()
        before = whole(model)
        with torch.no_grad():
            out = make({"use": "detection"})(model, ImageCollate()([Squares()[0], Squares()[1]]))
        assert float(out.weight) == 2
        assert not model.training
        assert all(torch.equal(it, before[name]) for name, it in model.state_dict().items())

    def test_factors_weigh_the_models_losses(self) -> None:
        class Fixed(nn.Module):
            def forward(self, images: Any, targets: Any) -> Any:
                return {"a": torch.tensor(1.0), "b": torch.tensor(10.0)}

        out = make({"use": "detection", "args": {"weights": {"b": 0.5}}})(Fixed(), ([1, 2], [{}, {}]))
        assert out.loss_sum.item() == 12


@pytest.mark.parametrize(
    ("spec", "batch", "message"),
    [
        ({"use": "detection"}, torch.ones(2), "set data.collate.use to ktrain_trainer.tasks.detection:Collate"),
        (
            {"use": "detection"},
            ([1], [2]),
            "gave a Tensor while training; the detection task wants a mapping of losses",
        ),
        (TASK, {"kind": (1, 2)}, "the tasks are kind, size, but the batch has kind"),
        (TASK, torch.ones(2), "wants batches {task: "),
    ],
    ids=["batch", "losses", "a task is missing", "no mapping"],
)
def test_a_batch_that_does_not_fit_is_told(spec: dict[str, Any], batch: Any, message: str) -> None:
    class One(nn.Module):
        def forward(self, *_: Any) -> Tensor:
            return torch.ones(1)

    with pytest.raises(BuildError, match=message):
        make(spec)(One(), batch)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"tasks": {}}, "there are no tasks"),
        ({"tasks": {"a": {"weight": 0}}}, r"tasks\.a\.weight: weight is 0; it must be a number above 0"),
        ({"tasks": {"a": {"wieght": 1}}}, "a task has loss and weight, and no 'wieght'"),
        ({"tasks": {"a": {"loss": {"use": "mes"}}}}, "there is no loss 'mes'"),
        ({"task": {}}, "takes no 'task'; did you mean 'tasks'"),
    ],
    ids=["none", "weight", "key", "loss", "argument"],
)
def test_wrong_tasks_are_told_before_the_first_step(args: dict[str, Any], message: str) -> None:
    with pytest.raises(BuildError, match=message):
        make({"use": "multi_task", "args": args})


def test_a_mix_of_nothing_is_told() -> None:
    with pytest.raises(DataError, match=r"sources\.a is empty"):
        Mixed({"a": []})
    with pytest.raises(DataError, match=r"take\.b is 2; it must be 1 or more of one of a"):
        Mixed({"a": [1]}, {"b": 2})
