import pytest

from apd.report import formats

CASES = [
    (formats.percent, 0.9314, "93.1 %"),
    (formats.percent, 16.0, "1,600.0 %"),
    (formats.percent, None, formats.MISSING),
    (formats.hundredths, 0.9314, "93.1"),
    (formats.hundredths, None, formats.MISSING),
    (formats.decimal, 12.345, "12.3"),
    (formats.decimal, None, formats.MISSING),
    (formats.small_percent, 0.00034, "0.034 %"),
    (formats.small_percent, 0.0999, "10 %"),
    (formats.small_percent, 0.25, "25.0 %"),
    (formats.small_percent, 0.0, "0 %"),
    (formats.small_percent, None, formats.MISSING),
    (formats.change, 0.012, "+1.2"),
    (formats.change, -0.012, f"{formats.MINUS}1.2"),
    (formats.change, -0.0004, "0.0"),
    (formats.change, None, formats.MISSING),
    (formats.points, 0.0034, "0.34"),
    (formats.points, -0.0034, f"{formats.MINUS}0.34"),
    (formats.points, -1e-9, "0.00"),
    (formats.points, None, formats.MISSING),
    (formats.size, 999, "999 B"),
    (formats.size, 12_345, "12.3 kB"),
    (formats.size, 12_345_678, "12.3 MB"),
    (formats.size, 2_500_000_000, "2.5 GB"),
    (formats.duration, 9.94, "9.9 s"),
    (formats.duration, 9.96, "10 s"),
    (formats.duration, 59.6, "1 min 00 s"),
    (formats.duration, 75.2, "1 min 15 s"),
    (formats.duration, 7_260, "2 h 01 min"),
    (formats.duration, None, formats.MISSING),
    (formats.count, 2_986_500, "2,986,500"),
    (formats.magnitude, 0.00912, "0.0091"),
    (formats.magnitude, 0, "0"),
    (formats.magnitude, None, formats.MISSING),
    (formats.moment, "2026-11-21T07:24:59.123Z", "2026-11-21 07:24 UTC"),
    (formats.moment, "2026-11-21T07:24:00+01:00", "2026-11-21 06:24 UTC"),
]


@pytest.mark.parametrize(("form", "value", "expected"), CASES)
def test_numbers_as_text(form, value, expected):
    assert form(value) == expected


@pytest.mark.parametrize(
    ("name", "width", "expected"), [("shoes", 5, "shoes"), ("abcdefgh", 5, "ab…gh"), ("abc", 2, "…c")]
)
def test_shortened_names_keep_both_ends(name, width, expected):
    assert formats.shortened(name, width) == expected
    assert len(expected) <= width
