"""The formula of a multi grader: what it can say, and what it refuses."""

import math

import pytest

from workbench.evaluation.graders.formula import FormulaError, formula

SCORES = {"a": 0.5, "b_2": 3.0, "zero": 0.0, "minus": -8.0}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7.0),
        ("(1 + 2) * 3", 9.0),
        ("2 ^ 3 ^ 2", 512.0),
        ("-2 ^ 2", -4.0),
        ("b_2 / a - +a", 5.5),
        ("min(a, b_2, 0.1)", 0.1),
        ("max(a)", 0.5),
        ("abs(minus) + floor(2.7) + ceil(2.1)", 13.0),
        ("sqrt(b_2 ^ 2)", 3.0),
        ("log(exp(a))", 0.5),
        (" a\n\t* 2 ", 1.0),
        ("1e3", 1000.0),
        ("zero ^ 0", 1.0),
        ("minus ^ 3", -512.0),
    ],
)
def test_a_formula_has_the_value_of_school(text, value):
    assert formula(text).value(SCORES) == pytest.approx(value, abs=1e-12)


def test_a_formula_names_its_graders_and_not_its_functions():
    assert formula("min(a, b_2) + 0 * c").names == {"a", "b_2", "c"}
    assert formula("min(min, 1)").names == {"min"}


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("", "cannot be read"),
        ("a +", "cannot be read: invalid syntax"),
        ("a b_2", "cannot be read"),
        ("a ** 2", "write powers with '^'"),
        ("a // 2", "has 'a // 2'"),
        ("a % 2", "has 'a % 2'"),
        ("a if a else 1", "has 'a if a else 1'"),
        ("a < 1", "has 'a < 1'"),
        ("a.real", "has 'a.real'"),
        ("a[0]", "has 'a[0]'"),
        ("'a'", "a formula knows numbers, the graders' names, + - * / ^ and min, max, abs"),
        ("True", "has 'True'"),
        ("1j", "has '1j'"),
        ("[1]", "has '[1]'"),
        ("(b := 1)", "has '(b := 1)'"),
        ("lambda: 1", "has 'lambda: 1'"),
        ("__import__('os').system('true')", "has"),
        ("eval('1')", "has \"eval('1')\""),
        ("pow(2, 3)", "has 'pow(2, 3)'"),
        ("sqrt()", "gives sqrt 0 values"),
        ("sqrt(1, 2)", "gives sqrt 2 values"),
        ("min()", "gives min 0 values"),
        ("min(*a)", "has '*a'"),
        ("max(a, default=1)", "has 'max(a, default=1)'"),
        ("9" * 400, "has a number beyond every number"),
        ("(" * 900 + "1" + ")" * 900, "cannot be read"),
        ("-" * 1990 + "1", "nested too deeply"),
        ("1+" * 1500 + "1", "has 3,001 characters; at most 2,000 are read"),
        ("a\0", "cannot be read"),
    ],
)
def test_what_is_no_formula_is_told(text, finding):
    with pytest.raises(FormulaError) as caught:
        formula(text)
    assert finding in str(caught.value)


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("1 / zero", "divides by zero"),
        ("zero ^ -1", "has no value"),
        ("9 ^ 9 ^ 9 ^ 9", "grows beyond every number"),
        ("exp(1000)", "grows beyond every number"),
        ("1e308 * 10", "gives inf"),
        ("minus ^ 0.5", "has no value"),
        ("sqrt(minus)", "has no value"),
        ("log(zero)", "has no value"),
        ("floor(1e308 * 10)", "grows beyond every number"),
    ],
)
def test_a_formula_without_a_value_is_told(text, finding):
    with pytest.raises(FormulaError) as caught:
        formula(text).value(SCORES)
    assert finding in str(caught.value)


def test_a_nan_among_the_scores_gives_no_value():
    with pytest.raises(FormulaError, match="gives nan"):
        formula("a").value({"a": math.nan})
