"""What is known of a training before it is measured."""

from torchatlas.run.measure import count_processes


def test_processes() -> None:
    for devices, number in ((2, 2), ("3", 3), ([0, 1], 2), ("0,1,", 2), ("auto", 1), (-1, 1)):
        assert count_processes({"devices": devices, "accelerator": "cpu"}) == number
