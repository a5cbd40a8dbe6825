"""An explanation on a screen.

Knows: how it is laid out and coloured. Refuses to know: what it means (``words``) and how it came about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from guard.core.verdict import Decision, Direction, Verdict
from guard.explain import strip, words
from guard.explain.story import Explanation, Mark, Occasion, Part, Step, Story, Turn

FLOWS_SHOWN = 40  # in a summary; those of which something was refused or held come first
NEAR = 6  # parts before and after the one with the frame that was asked about
PARTS_SHOWN = 60  # of one connection: from its beginning, and to its end
STRIP_WIDTH = 84
_LOUD = frozenset({Mark.CONDEMNED, Mark.VIRTUAL_RESET, Mark.VOICE})
_ARROWS = {Direction.UPSTREAM: "▲", Direction.DOWNSTREAM: "▼"}
_VERDICT_STYLES = {Verdict.ACCEPT: "green", Verdict.HOLD: "yellow", Verdict.REFUSE: "bold red"}
_LEGEND = (
    "▲ from the Echo · ▼ from the cloud · ✂ cut · W wake word · M (un)muted · syn = heartbeat\n"
    "heights: bytes, logarithmic · green accepted, yellow held, red refused (in monitor: only reported)"
)


def print_summary(explanation: Explanation, stories: Sequence[Story], console: Console) -> None:
    """Print one line for each connection, the telling ones first, and a strip of all of them."""
    _print_strip(explanation, stories, console)
    table = Table(
        title=f"Connections of {explanation.device}, mode {explanation.mode}, policy {explanation.policy}"
    )
    table.add_column("from s", justify="right")
    table.add_column("connection", overflow="fold", ratio=3)
    table.add_column("up", justify="right")
    table.add_column("down", justify="right")
    table.add_column("decisive", justify="right")
    table.add_column("answer", overflow="fold", ratio=2)
    table.add_column("why", overflow="fold", ratio=3)
    chosen = sorted(sorted(stories, key=_get_weight)[:FLOWS_SHOWN], key=lambda story: story.began)
    for story in chosen:
        step = story.get_decisive()
        answer = strip.get_final(step) if step is not None else None
        table.add_row(
            f"{story.began:.3f}",
            story.name,
            words.format_bytes(story.bytes_up),
            words.format_bytes(story.bytes_down),
            f"#{step.first_frame}" if step is not None else "",
            words.tell_answer(answer) if answer is not None else "no payload",
            words.tell_reason(answer) if answer is not None else "",
            style=_VERDICT_STYLES[answer.verdict] if answer is not None and _get_weight(story)[0] < 2 else "",
        )
    console.print(table)
    if len(stories) > len(chosen):
        console.print(
            f"{len(stories) - len(chosen)} more connections, all accepted or smaller: --json has each.",
            style="dim",
        )
    if chosen:
        step = chosen[0].get_decisive()
        hint = f"--frame {step.first_frame} tells of one packet, " if step is not None else ""
        console.print(f"{hint}--flow '{chosen[0].name}' of one connection.", style="dim")
    console.print(_LEGEND, style="dim")


def print_flow(
    explanation: Explanation, story: Story, console: Console, *, around: int | None = None
) -> None:
    """Print one connection as a timeline; ``around`` a frame: only what came just before and after it."""
    console.print(Rule(Text(story.name, style="bold")))
    console.print(words.tell_story(story), style="dim")
    _print_strip(explanation, [story], console)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("s", justify="right")
    table.add_column("")
    table.add_column("frames", justify="right", style="dim")
    table.add_column("what", overflow="fold", ratio=4)
    table.add_column("answer, and why", overflow="fold", ratio=5)
    occasions = [one for one in explanation.occasions if story.began <= one.at <= story.ended]
    rows = sorted([*occasions, *story.parts], key=_get_time)
    shown = _choose(rows, around)
    for number, row in enumerate(rows):
        if number in shown:
            for cells, style in _make_rows(row):
                table.add_row(*cells, style=style + (" reverse" if _holds(row, around) else ""))
        elif number - 1 in shown or not number:
            hidden = next((next_ for next_ in sorted(shown) if next_ > number), len(rows)) - number
            table.add_row("", "⋮", "", f"{words.count(hidden, 'step')} not shown", "", style="dim")
    console.print(table)
    console.print(
        f"{words.count(story.acks, 'packet')} of the Echo without payload simply passed and are not listed.",
        style="dim",
    )
    console.print(_LEGEND, style="dim")


def _choose(rows: Sequence[Part | Occasion], around: int | None) -> set[int]:
    """Return which rows to show: around a frame, else from the beginning and to the end."""
    if around is not None:
        place = next((number for number, row in enumerate(rows) if _holds(row, around)), 0)
        return set(range(max(0, place - NEAR), min(len(rows), place + NEAR + 1)))
    if len(rows) <= 2 * PARTS_SHOWN:
        return set(range(len(rows)))
    return {*range(PARTS_SHOWN), *range(len(rows) - PARTS_SHOWN, len(rows))}


def _holds(row: Part | Occasion, frame: int | None) -> bool:
    return isinstance(row, Step) and frame is not None and row.first_frame <= frame <= row.last_frame


def print_look(explanation: Explanation, console: Console) -> None:
    """Print why one packet got its verdict."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 1, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    look = explanation.look
    for question, answer in words.tell_look(explanation):
        text = Text(answer)
        if look is not None and question == "Verdict?":
            text.stylize(_VERDICT_STYLES[look.decision.verdict])
        if look is not None and look.final is not None and question == "And then?":
            text.stylize(_VERDICT_STYLES[look.final.verdict])
        table.add_row(question, text)
    console.print(table)


def _get_time(row: Part | Occasion) -> float:
    return row.began if isinstance(row, Step) else row.at


def _get_weight(story: Story) -> tuple[int, float]:
    """Return what to show first: refused, held, then the others by size."""
    step = story.get_decisive()
    if step is None:
        return 3, 0.0
    if step.refused:
        return 0, story.began
    return (1 if step.decision.verdict is Verdict.HOLD else 2), -float(story.bytes_up)


def _make_rows(row: Part | Occasion) -> Iterator[tuple[list[str], str]]:
    """Yield the cells of each line that a part of the story takes, with its style."""
    if isinstance(row, Occasion):
        yield [f"{row.at:.3f}", strip.LETTERS[row.kind], "", row.what, ""], "cyan"
    elif isinstance(row, Turn):
        frame = "" if row.frame is None else f"#{row.frame}"
        style = "bold red" if row.mark in _LOUD else "dim"
        yield [f"{row.at:.3f}", strip.CUTS.get(row.mark, "•"), frame, words.tell_turn(row), ""], style
    else:
        frames = f"#{row.first_frame}" + (f"-{row.last_frame}" if row.packets > 1 else "")
        answer, style = _answer(row.decision), _VERDICT_STYLES[row.decision.verdict]
        if row.direction is Direction.DOWNSTREAM:
            answer, style = "", "blue"
        yield [f"{row.began:.3f}", _ARROWS[row.direction], frames, words.tell_step(row), answer], style
        for final, told in words.tell_outcomes(row):
            yield ["", "", "", f"  └ {told}", _answer(final)], _VERDICT_STYLES[final.verdict]


def _answer(decision: Decision) -> str:
    return f"{words.tell_answer(decision)} ({words.tell_reason(decision)})"


def _print_strip(explanation: Explanation, stories: Sequence[Story], console: Console) -> None:
    span = strip.find_span(stories)
    steps = [step for story in stories for step in story.steps()]
    for label, cells in (
        ("room", strip.draw_room(explanation.occasions, stories, span=span, width=STRIP_WIDTH)),
        ("▲ up", strip.draw_steps(steps, Direction.UPSTREAM, span=span, width=STRIP_WIDTH)),
        ("▼ down", strip.draw_steps(steps, Direction.DOWNSTREAM, span=span, width=STRIP_WIDTH)),
    ):
        line = Text(f"{label:>7} │", style="dim")
        for cell in cells:
            line.append(cell.text, style=cell.colour)
        console.print(line)
    scale = f"{span[0]:.1f} s"
    end = f"{span[1]:.1f} s"
    console.print(f"        └{scale}{'─' * (STRIP_WIDTH - len(scale) - len(end))}{end}", style="dim")
