"""Optimizers, rules for parameters, clipping, averages and the loss's scale: each against the library that it stands for."""

import math
from collections.abc import Callable
from typing import Any

import lion_pytorch
import pytest
import schedulefree
import torch
from pydantic import ValidationError
from timm.utils.agc import adaptive_clip_grad
from torch import nn

from ktrain.errors import BuildError, NonFiniteError, SpecError
from ktrain.spec import Trainer
from ktrain.spec.optim import Clip, Optim
from ktrain.spec.optim import Ema as EmaSpec
from ktrain_trainer import groups, loss_scale, optim
from ktrain_trainer.average import Ema, for_evaluation
from ktrain_trainer.clip import clip
from ktrain_trainer.freeze import Freezer
from ktrain_trainer.muon import hidden
from ktrain_trainer.parallel.single import Single
from ktrain_trainer.progress import Progress
from tests.trainer.mlp import Case, train


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 2))


def steps(model: nn.Module, *optimizers: torch.optim.Optimizer, count: int = 5) -> None:
    for number in range(count):
        model.zero_grad()
        model(torch.randn(4, 6, generator=torch.Generator().manual_seed(number))).square().sum().backward()
        for it in optimizers:
            it.step()


def spec(**keys: Any) -> Optim:
    return Optim.model_validate({"lr": 0.01, "noDecay": "none", **keys})


def trainer(**keys: Any) -> Trainer:
    here = {"use": "tests:given"}
    base = {"duration": "10ep", "model": here, "data": {"train": here, "val": here}, "batch": {"global": 8, "micro": 8}}
    return Trainer.model_validate({**base, "optim": {"lr": 0.1}, **keys})


LIBRARIES: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adam": lambda params: torch.optim.Adam(params, lr=0.01, weight_decay=0.1),
    "lion": lambda params: lion_pytorch.Lion(params, lr=0.01, weight_decay=0.1),
    "schedulefree_adamw": lambda params: schedulefree.AdamWScheduleFree(params, lr=0.01, weight_decay=0.1),
    "schedulefree_sgd": lambda params: schedulefree.SGDScheduleFree(params, lr=0.01, weight_decay=0.1),
}


@pytest.mark.parametrize("name", LIBRARIES)
def test_an_optimizer_is_its_librarys(name: str) -> None:
    ours, theirs = net(), net()
    pair = (optim.make(spec(name=name, args={"weight_decay": 0.1}), ours), LIBRARIES[name](theirs.parameters()))
    for model, mover in zip((ours, theirs), pair, strict=True):
        if hasattr(mover, "train"):
            mover.train()
        steps(model, mover)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-7)


def test_muon_moves_hidden_matrices_and_adamw_the_rest() -> None:
    ours, theirs = net(), net()
    mover = optim.make(spec(name="muon", args={"momentum": 0.9, "adamw": {"weight_decay": 0.2}}), ours)
    inside: Any = [theirs[0].weight, theirs[2].weight]
    rest: Any = [theirs[0].bias, theirs[2].bias, *theirs[4].parameters()]
    steps(ours, mover)
    steps(
        theirs,
        torch.optim.Muon(inside, lr=0.01, momentum=0.9, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=0.01, weight_decay=0.2, fused=True),
    )
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other)
    assert hidden(nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 3), nn.Linear(3, 4))) == {"1.weight"}


def test_rates_that_are_set_reach_both_parts_of_muon() -> None:
    mover = optim.make(spec(name="muon"), model := net())
    before = [param.detach().clone() for param in model.parameters()]
    for group in mover.param_groups:
        group["lr"] = 0.0
    steps(model, mover, count=1)
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))


class TestRules:
    def test_the_first_rule_that_gives_a_key_counts(self) -> None:
        rules = [
            {"match": r"^0\.weight", "lrScale": 0.1},
            {"match": "^0", "lrScale": 0.5, "weightDecay": 0.7},
            {"match": "bias", "weightDecay": 0.9},
        ]
        found = groups.terms(spec(rules=rules), [("0.weight", 2), ("0.bias", 1), ("2.bias", 1)], 0.01)
        assert [(it.lr_scale, it.weight_decay) for it in found.values()] == [(0.1, 0.7), (0.5, 0.7), (1.0, 0.9)]

    def test_layers_decay_from_the_last_one_down(self) -> None:
        found = groups.terms(spec(layerDecay=0.5), [("stem.w", 2), ("h.0.w", 2), ("h.1.w", 2), ("head.w", 2)], None)
        assert [it.lr_scale for it in found.values()] == [0.125, 0.25, 0.5, 1.0]

    def test_a_rule_that_matches_nothing_is_told_with_a_name_that_is_near(self) -> None:
        with pytest.raises(
            BuildError, match=r"rules\[0\]\.match: 'embeding' matches no parameter; .* such as embedding"
        ):
            groups.terms(spec(rules=[{"match": "embeding", "lrScale": 2}]), [("embedding", 2)], None)

    def test_a_decay_for_an_optimizer_without_one_is_refused(self) -> None:
        with pytest.raises(BuildError, match="takes no weight_decay"):
            groups.terms(spec(rules=[{"match": "a", "weightDecay": 2}]), [("a", 2)], None)

    def test_frozen_parameters_stay_until_their_moment(self) -> None:
        rules = [{"match": "^0", "frozenUntil": "3step"}, {"match": "^2", "frozenUntil": "2ep"}]
        model = net()
        freezer = Freezer(spec(rules=rules).rules, model, num_samples=100, is_sharded=False)
        seen = []
        for progress in (Progress(), Progress(step=3, samples=199), Progress(step=4, samples=200)):
            freezer.hold(progress)
            model.zero_grad()
            model(torch.ones(1, 6)).sum().backward()
            freezer.drop(progress)
            seen.append([param.grad is not None for param in (model[0].bias, model[2].bias, model[4].bias)])
        assert seen == [[False, False, True], [True, False, True], [True, True, True]]

    def test_a_model_that_is_wholly_frozen_is_refused(self) -> None:
        with pytest.raises(SpecError, match="every parameter is frozen"):
            Freezer(spec(rules=[{"match": ".", "frozenUntil": "1ep"}]).rules, net(), num_samples=9, is_sharded=False)


class TestClipping:
    def grads(self) -> nn.Sequential:
        model = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Linear(4, 5))
        torch.manual_seed(1)
        for param in model.parameters():
            param.grad = torch.randn_like(param)
        return model

    def test_by_value_is_torchs(self) -> None:
        ours, theirs = self.grads(), self.grads()
        clip(Clip(value=0.3), ours.parameters(), Single(ours))
        nn.utils.clip_grad_value_(theirs.parameters(), 0.3)
        assert all(torch.equal(a.grad, b.grad) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))  # type: ignore[arg-type]

    def test_adaptive_is_timms(self) -> None:
        ours, theirs = self.grads(), self.grads()
        theirs.load_state_dict(ours.state_dict())
        clip(Clip(adaptive=0.05), ours.parameters(), Single(ours))
        adaptive_clip_grad(theirs.parameters(), clip_factor=0.05)  # type: ignore[no-untyped-call]
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, other.grad, rtol=1e-6, atol=1e-8)


class TestAverages:
    def test_the_average_is_the_formulas(self) -> None:
        model = net()
        ema = Ema(EmaSpec(decay=0.9), model)
        expected = {name: param.detach().clone() for name, param in model.named_parameters()}
        for _ in range(3):
            steps(model, torch.optim.SGD(model.parameters(), lr=0.1), count=1)
            ema.take_in(list(model.parameters()))
            for name, param in model.named_parameters():
                expected[name] = 0.9 * expected[name] + 0.1 * param.detach()
        for name, value in ema.values.items():
            torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-6)

    @pytest.mark.parametrize("name", ["sgd", "schedulefree_adamw"])
    def test_whatever_happens_in_an_evaluation_the_trained_weights_come_back_bit_for_bit(self, name: str) -> None:
        model: Any = net()
        mover: Any = optim.make(spec(name=name), model)
        if name != "sgd":
            mover.train()
        ema = Ema(EmaSpec(decay=0.9), model) if name == "sgd" else None
        steps(model, mover)
        trained = [param.detach().clone() for param in model.parameters()]

        def break_off() -> None:
            with for_evaluation(list(model.parameters()), mover, ema, Single(model)):
                assert not torch.equal(model[0].weight, trained[0])
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            break_off()
        assert all(torch.equal(one, other) for one, other in zip(trained, model.parameters(), strict=True))
        steps(model, mover, count=1)

    def test_a_run_does_not_depend_on_when_it_is_evaluated(self) -> None:
        extra = {"optim": {"name": "schedulefree_adamw", "lr": 1e-2}, "schedule": {"name": "constant"}}
        often, never = (
            train(None, Case(steps=12, extra={**extra, "eval": keys}), None)
            for keys in ({"every": "1step", "maxSamples": 8}, {"maxSamples": 8})
        )
        assert all(map(torch.equal, often.params, never.params))


class TestLossScale:
    FP16 = trainer(precision="fp16")

    def test_it_halves_at_an_overflow_and_doubles_after_many_good_steps(self) -> None:
        progress = Progress()
        assert loss_scale.of(self.FP16, progress) == 65536
        assert loss_scale.has_overflowed(self.FP16, progress)
        for _ in range(loss_scale.GROWS_AFTER):
            assert loss_scale.of(self.FP16, progress) == 32768
            loss_scale.was_good(self.FP16, progress)
        assert (loss_scale.of(self.FP16, progress), progress.good_steps, progress.skipped) == (65536, 0, 1)

    def test_at_one_it_is_no_overflow(self) -> None:
        assert not loss_scale.has_overflowed(self.FP16, Progress(loss_scale=1.0))
        assert not loss_scale.has_overflowed(trainer(), Progress())

    def test_a_run_in_fp16_finds_its_scale_and_ends_near_the_one_in_fp32(self) -> None:
        base = {"schedule": {"name": "constant"}, "eval": {"maxSamples": 8}, "optim": {"lr": 1e-3}}
        full = train(None, Case(steps=12, extra=base), None)
        half = train(None, Case(steps=12, extra={**base, "precision": "fp16"}), None)
        differences = [(a - b).abs().max().item() for a, b in zip(full.params, half.params, strict=True)]
        assert 0 < max(differences) < 2e-2

    def test_a_loss_that_is_no_number_still_ends_the_run(self) -> None:
        extra = {"precision": "fp16", "optim": {"lr": 1e30, "name": "sgd"}, "schedule": {"name": "constant"}}
        with pytest.raises(NonFiniteError):
            train(None, Case(steps=60, extra={**extra, "eval": {"maxSamples": 8}}), None)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"name": "adamw2"}, "adamw.*schedulefree_sgd"),
        ({"name": "sgd", "use": "a:b"}, "optim.name is sgd and optim.use is a:b"),
        ({"clip": {}}, "clip has nothing in it; give one of norm, value, adaptive"),
        ({"clip": {"norm": 1, "value": 2}}, "clip has norm and value"),
        ({"rules": [{"match": "("}], }, "is no regular expression"),
        ({"rules": [{"match": "a"}]}, "the rule for a changes nothing"),
        ({"rules": [{"match": "a", "lrScale": 0}]}, "greater than 0"),
        ({"noDecay": ["["]}, "is no regular expression"),
        ({"layerDecay": 1.0}, "less than 1"),
        ({"lrScale": {"rule": "cubic", "baseBatch": 8}}, "linear.*sqrt"),
        ({"ema": {"decay": 1.0}}, "less than 1"),
        ({"ema": {"decay": 0.9, "every": "0step"}}, "more than nothing"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        spec(**keys)


def test_an_evaluation_of_an_average_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"there is no optim\.ema"):
        trainer(eval={"weights": "ema"})


def test_what_is_no_optimizer_is_refused() -> None:
    with pytest.raises(BuildError, match="gave a dict, not a torch Optimizer"):
        optim.make(spec(use="tests.trainer.test_optim:no_optimizer"), net())
    with pytest.raises(BuildError, match=r"args\.adamw"):
        optim.make(spec(name="muon", args={"adamw": 3}), net())
    with pytest.raises(BuildError, match=r"lion says:"):
        optim.make(spec(name="lion", args={"betas": [2.0, 0.9]}), net())


def no_optimizer(params: Any, lr: float) -> dict[str, Any]:
    return {}


def test_the_rate_follows_the_batch() -> None:
    assert spec(lrScale={"baseBatch": 64}).rate(256) == pytest.approx(0.04)
    assert spec(lrScale={"rule": "sqrt", "baseBatch": 64}).rate(256) == pytest.approx(0.02)
    assert spec().rate(256) == 0.01
    assert math.isclose(optim.make(spec(layerDecay=0.5), net()).param_groups[0]["lr"], 0.0025)
