"""Solutions and tests by two actors, both possibly wrong: agreement decides (the recipe `code-t`).

    python examples/05_tests_that_may_be_wrong.py [--endpoint SPEC]

No code by a model is executed: a solution is a formula, a test is one of its values, and the verifier below
evaluates formulas with the four basic operations only.
"""

import argparse
import ast
import asyncio
import operator
import re
from fractions import Fraction

import critic_loop as cl
from critic_loop.select import matrix_of
from critic_loop.testing import ScriptedModel

TASK = """Give a formula in n for the sum of the first n squares, 1 + 4 + 9 + ..., with + - * / and brackets.
End with a line such as "Formula: n * (n - 1)". A test is a line such as "n = 7: 140"."""
FORMULAS = ["n * (n + 1) / 2", "n * (n + 1) * (2 * n + 1) / 6", "n * n * n / 3", "(2*n*n*n + 3*n*n + n) / 6"]
TESTS = ["n = 1: 1\nn = 2: 5", "n = 1: 1\nn = 3: 6", "n = 3: 14\nn = 4: 30", "n = 10: 385"]
OPERATIONS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def value(formula: str, n: int) -> Fraction | None:
    """Return the value of a formula; None if it is not a valid formula, or divides by zero."""

    def of(node: ast.expr) -> Fraction:
        match node:
            case ast.Constant(value=int(number)):
                return Fraction(number)
            case ast.Name(id="n"):
                return Fraction(n)
            case ast.BinOp(left, operation, right) if type(operation) in OPERATIONS:
                return OPERATIONS[type(operation)](of(left), of(right))
            case _:
                raise ValueError

    try:
        return of(ast.parse(formula[:200].strip(), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


@cl.verifier(pairs=True)
def works_out(view: cl.View[str]) -> cl.Feedback:
    """Return which of the other actor's tests a formula passes; an invalid formula passes none."""
    formula = re.findall(r"Formula:(.*)", view.answer or "")
    lines = re.findall(r"n = (\d{1,6}): (-?\d{1,18})\b", str(view.also_shown[0].answer))
    if not lines:
        return cl.Feedback.abstain("no valid test found")
    values = {n: value(formula[-1], int(n)) if formula else None for n, _ in lines}
    return cl.Feedback(data={"tests": {f"n = {n}: {wanted}": values[n] == int(wanted) for n, wanted in lines}})


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", help="a model spec, as in openai:NAME")
    endpoint = parser.parse_args().endpoint
    solver = endpoint or ScriptedModel([f"Formula: {f}" for f in FORMULAS], cycle=True, spec="solver")
    tester = endpoint or ScriptedModel(TESTS, cycle=True, spec="tester")

    loop = cl.Loop("code-t", actor=solver, slots={"tester": tester}, verifiers=[works_out], lanes=1)
    async with loop:
        result = await loop.run(TASK)

    solutions = tuple(a.id for a in result.tree if a.kind == "answer")
    matrix = matrix_of(result.tree, solutions)
    print("passed", *(name for _, name in matrix.tests[:5]), "...", sep=" | ")
    for solution, row in zip(matrix.solutions, matrix.passes, strict=True):
        kept = "*" if solution == result.attempt_id else " "
        print(f"{kept} {sum(row):2} of {len(row)}: {(result.tree[solution].answer or '').splitlines()[-1]}")
    print(f"\nanswer: {result.answer}\ndecided by: {result.decided_by}; {result.spend.calls} calls")


if __name__ == "__main__":
    asyncio.run(main())
