from __future__ import annotations

from eval.baselines.external_worker import _PickClock


def test_picks_not_made_are_derived_from_the_time_of_those_made() -> None:
    class Sampler:
        coreset_size = 0

        def __init__(self, embedding: list[int], sampling_ratio: float) -> None:
            self.coreset_size = 999

        def get_new_idx(self) -> int:
            return 7

    clock = _PickClock(Sampler, 0.5, 3)
    with clock.installed():
        sampler = Sampler([0] * 40, 0.1)
        assert sampler.coreset_size == 3
        assert [sampler.get_new_idx() for _ in range(3)] == [7, 7, 7]
    clock._times = [10.0, 11.0, 12.0]
    assert clock.count == 20
    assert clock.seconds_of_the_rest == 17.0
    assert Sampler([0] * 40, 0.1).coreset_size == 999
