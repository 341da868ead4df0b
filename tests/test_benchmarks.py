"""The benchmark scripts run: on tiny shapes here, so that a machine with a GPU has nothing to mend first."""

import runpy
from pathlib import Path

import pytest

GPU = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "gpu.py"))


@pytest.mark.parametrize("trained", ["lora", "full"])
@pytest.mark.parametrize("how", ["shared", "unshared"])
def test_the_gpu_benchmark_updates(trained: str, how: str) -> None:
    found = GPU["update"]("tiny", 70, 4, 1, trained, how)
    assert found["tokens_per_second"] == pytest.approx(8 * 4 / found["seconds"])


def test_the_gpu_benchmark_samples_and_reports() -> None:
    assert GPU["matmul"]()["teraflops"] > 0
    entry = {"model": "tiny", "context": 70, "sampling": GPU["sampling"]("tiny", 70, 4, 1)}
    one = {"seconds": 1.0, "tokens_per_second": 32.0, "teraflops": 0.5, "memory_gib": 2.0}
    entry |= {"lora shared": one, "lora unshared": {**one, "seconds": 6.0}, "full shared": one, "full unshared": None}
    table = GPU["report"]([entry], 1.0)
    columns = [list(column.cells) for column in table.columns]
    assert [row[:7] for row in zip(*columns, strict=True)] == [
        ("tiny", "70", "lora", "1.00", "6.00", "6.0", "50%"),
        ("tiny", "70", "full", "1.00", "no memory", "", "50%"),
    ]
