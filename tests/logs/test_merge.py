"""The order of lines, and what is folded."""

from ktrain.logs.merge import Line, folded, merge, only, parse


def pod(node: int, *lines: str) -> list[Line]:
    return [parse(line, node) for line in lines]


FIRST = pod(0, "2026-01-01T00:00:01.1Z [rank 0] step 1", "2026-01-01T00:00:03.0Z time=x event=exit")
SECOND = pod(1, "2026-01-01T00:00:01.0Z [rank 1] step 1", "2026-01-01T00:00:02.0Z [rank 1] ValueError: no")


def test_lines_come_in_the_order_of_their_times() -> None:
    assert [line.shown() for line in merge([FIRST, SECOND])] == [
        "[rank 1] step 1", "[rank 0] step 1", "[rank 1] ValueError: no", "[node 0] time=x event=exit",
    ]  # fmt: skip


def test_a_pods_own_order_is_kept_at_equal_times() -> None:
    lines = pod(0, *(f"2026-01-01T00:00:01Z [rank 0] {number}" for number in (3, 1, 2)))
    assert [line.text for line in merge([lines])] == ["[rank 0] 3", "[rank 0] 1", "[rank 0] 2"]


def test_one_rank_alone() -> None:
    assert [line.text for line in only(merge([FIRST, SECOND]), 1)] == ["[rank 1] step 1", "[rank 1] ValueError: no"]


def test_echoes_of_a_failure_are_counted() -> None:
    lines = [
        Line("1", 0, "[rank 0] ValueError: no"),
        *(Line("2", 1, f"[rank {it}] lost another rank: gloo") for it in (1, 2, 3)),
    ]
    assert list(folded(lines)) == ["[rank 0] ValueError: no", "… 3 ranks lost another one and stopped"]
    assert list(folded([*lines[1:2], Line("3", 0, "[rank 0] on")])) == [
        "… 1 rank lost another one and stopped",
        "[rank 0] on",
    ]
