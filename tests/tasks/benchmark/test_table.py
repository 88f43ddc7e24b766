from separator.tasks.benchmark.measurement import BenchmarkCase, Measurement
from separator.tasks.benchmark.table import systems_table


def test_ratios_are_to_the_first_system_on_the_same_length():
    timed = (("a", 10, 2.0), ("b", 10, 5.0), ("b", 60, 6.0))
    results = [
        Measurement(BenchmarkCase(name, seconds, 1), elapsed, 100, 0.25, True, working=20.0) for name, seconds, elapsed in timed
    ]
    rows = [line.split(" | ") for line in systems_table(results).splitlines()[2:]]
    assert [row[4] for row in rows] == ["1.00", "2.50", "1.00"]
    assert [row[3] for row in rows] == ["0.2000", "0.5000", "0.1000"]
    assert {tuple(row[5:]) for row in rows} == {("100", "20", "0.250", "yes |")}
