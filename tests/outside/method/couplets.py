"""A method of somebody else: widen, then revise the best. It knows public names of Critic Loop alone."""

import critic_loop as cl


@cl.search
def widen(tree: cl.Tree, *, width: int = 4, mends: int = 1) -> cl.Move | cl.Wait | cl.Stop:
    """Ask for `width` drafts at once, then `mends` times for a revision of the best of all."""
    if len(tree.roots) < width:
        return cl.Move()
    if tree.open:
        return cl.Wait()
    if len(tree) >= width + mends:
        return cl.Stop("widened", f"{width} drafts and {mends} revisions made")
    best = max(tree.attempts, key=lambda i: cl.value_of(tree, i))
    return cl.Move(parents=(best,))


@cl.verifier
def rhymes(view: cl.View[str]) -> cl.Feedback:
    """Pass two lines whose last two letters agree; tell by how much others miss it."""
    lines = [line.strip(" .,;!") for line in str(view.answer).splitlines()]
    if len(lines) != 2:
        return cl.Feedback.failed("a couplet has two lines", score=0.0)
    same = 0 if lines[0][-1:] != lines[1][-1:] else 1 if lines[0][-2:] != lines[1][-2:] else 2
    verdict = cl.Verdict.PASS if same == 2 else cl.Verdict.FAIL
    return cl.Feedback(verdict=verdict, score=same / 2, text=f"{same} of the last 2 letters agree")


@cl.critic(sees=("answer",))
async def short(view: cl.View[str]) -> cl.Feedback | bool:
    """Accept what is short; of anything else, ask the model behind the slot what it would leave out."""
    if len(str(view.answer)) < 40:
        return True
    return cl.Feedback.failed(await view.ask(f"What may go from this?\n{view.answer}"))
