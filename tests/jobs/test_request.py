"""The words of a request and of its answer."""

import json

import pytest

from ktrain.request import Answer, Ask, Request, answer_key, encode_answer


@pytest.mark.parametrize("what", list(Ask))
def test_a_request_comes_back_as_it_was_written(what: Ask) -> None:
    request = Request.new(what)
    assert Request.decode(f" {request.encode()}\n") == request
    assert Request.new(what).id != request.id


def test_a_profile_names_whose_steps_are_recorded() -> None:
    request = Request.new(Ask.PROFILE, rank=12)
    assert request.encode().endswith(" 12")
    assert Request.decode(request.encode()) == request


@pytest.mark.parametrize(
    "text",
    ["", "checkpoint", "checkpoint ", "dance 0123456789ab", "stop ../../etc", "stop 01", "stop " + "a" * 33, "stop 12345678 9", "profile 12345678 -1", "profile 12345678 1 2"],
)  # fmt: skip
def test_what_is_no_request_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no|is not a valid"):
        Request.decode(text)


def test_an_answer_comes_back_and_a_newer_one_is_understood() -> None:
    answer = Answer("12345678", "stacks", 1, ok=True, message="fine", step=3, stacks={"0": ["here"]})
    document = json.loads(encode_answer(answer))
    assert Answer.read(document | {"added": "later"}) == answer
    assert answer_key("12345678", 1) == "state/answers/12345678-node1.json"
