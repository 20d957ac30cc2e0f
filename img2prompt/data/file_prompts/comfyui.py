"""Finds the prompts of a ComfyUI graph: from the sampler back along the links to the texts.

It replaces the reader of `sd-parsers` 0.6 (parsers/_comfyui.py), which ignores output slots and so
mixes both prompts behind a node that passes on both. Graphs are untrusted: the links followed, the
texts kept and their lengths are bounded.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from img2prompt.data.file_prompts import comfyui_nodes as nodes
from img2prompt.data.file_prompts.comfyui_nodes import Inputs, is_link
from img2prompt.data.file_prompts.records import MAX_PROMPT, FilePrompt, beside, distinct, record
from img2prompt.data.text import fold

MAX_NODES = 2_000
MAX_SAMPLERS = 20
MAX_INPUTS, MAX_KIND = 300, 200  # of a node: inputs, and characters of its class name
MAX_LINKS = 10_000  # followed in all
MAX_DEPTH = 100
MAX_PARTS = 40  # texts of one side
POSITIVE, NEGATIVE = "positive", "negative"


@dataclass(frozen=True)
class _Told:
    """Texts, and whether they are complete: False where a link could not be followed to its end."""

    texts: tuple[str, ...] = ()
    whole: bool = True


def read_graph(graph: str, workflow: str = "") -> FilePrompt | None:
    """The prompt of a graph, which may be empty; None where it uses none (it enlarges a picture).

    Args:
        graph: ComfyUI's "prompt", JSON: node number → `class_type` and `inputs`.
        workflow: ComfyUI's "workflow", JSON with the names of output slots; "" for none.

    Raises:
        ValueError: the graph holds a prompt, but in nodes that are not known here.
    """
    table = json.loads(graph.rstrip("\0 \n"))
    if not isinstance(table, dict):
        raise ValueError("this is no graph")
    found = {
        str(number): node
        for number, node in table.items()
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict)
    }
    if len(found) > MAX_NODES or any(len(node["inputs"]) > MAX_INPUTS for node in found.values()):
        raise ValueError("too many nodes, or inputs of one")
    return _Graph(found, _slot_names(workflow)).read()


class _Graph:
    def __init__(
        self, found: dict[str, dict[str, Any]], slot_names: dict[tuple[str, int], str]
    ) -> None:
        self.kinds = {n: str(node.get("class_type", ""))[:MAX_KIND] for n, node in found.items()}
        self.inputs: dict[str, Inputs] = {number: node["inputs"] for number, node in found.items()}
        self.slot_names = slot_names
        self.used: dict[
            str, set[int]
        ] = {}  # node → its output slots that conditions are linked from
        for inputs in self.inputs.values():
            for key, value in inputs.items():
                if is_link(value) and nodes.LEADS_ON.search(key):
                    self.used.setdefault(str(value[0]), set()).add(value[1])
        self.left = MAX_LINKS
        self.known: dict[tuple[str, str, int, str], _Told] = {}

    def read(self) -> FilePrompt | None:
        samplers = self.samplers()
        if samplers:
            sides = {
                role: _all(self.bundle_of(number, role, 0) for number in samplers)
                for role in (POSITIVE, NEGATIVE)
            }
        else:
            samplers = [n for n, inputs in self.inputs.items() if nodes.makes_of_text(inputs)]
            samplers = samplers[:MAX_SAMPLERS]
            sides = {
                POSITIVE: _all(self.text(self.inputs[n]["prompt"], POSITIVE) for n in samplers),
                NEGATIVE: _all(
                    self.text(self.inputs[n].get("negative_prompt", ""), NEGATIVE) for n in samplers
                ),
            }
        plus = _apart(sides[POSITIVE].texts, sides[NEGATIVE].texts)
        prompt = beside(plus)
        if not prompt and not (samplers and sides[POSITIVE].whole):
            if any(map(self.holds_text, self.inputs)):
                raise ValueError("a prompt in nodes that are not known here")
            return None
        settings = self.settings(samplers[0])
        negative = beside(_apart(sides[NEGATIVE].texts, plus))
        return record("ComfyUI", prompt, negative, settings)

    def samplers(self) -> list[str]:
        """The sampler nodes in the order in which they run: base before refiner.

        Only those that lead to a node that saves, where there is one.
        """
        all_samplers = [n for n, inputs in self.inputs.items() if nodes.is_sampler(inputs)]
        taken = {
            str(value[0])
            for inputs in self.inputs.values()
            for value in inputs.values()
            if is_link(value)
        }
        ends = [number for number in self.inputs if number not in taken]
        saving = [number for number in ends if nodes.SAVES.search(self.kinds[number])]
        for starts in (saving, ends):
            order = [n for n in self.upstream(starts) if n in set(all_samplers)]
            if order:
                return order[:MAX_SAMPLERS]
        return all_samplers[:MAX_SAMPLERS]

    def upstream(self, starts: Iterable[str]) -> list[str]:
        """Every node that leads to one of `starts`, each after its own inputs."""
        order: list[str] = []
        seen: set[str] = set()
        for start in starts:
            waiting = [(start, False)]
            while waiting:
                number, done = waiting.pop()
                if done:
                    order.append(number)
                    continue
                if number in seen or number not in self.inputs:
                    continue
                seen.add(number)
                waiting.append((number, True))
                linked = [str(v[0]) for v in self.inputs[number].values() if is_link(v)]
                waiting += [(n, False) for n in reversed(linked)]
        return order

    def condition(self, value: Any, role: str, depth: int = 0) -> _Told:
        """The texts of an input that takes conditions, of the side that its slot carries."""
        if not is_link(value):
            return _Told((value,)) if isinstance(value, str) else _Told()
        return self.once("condition", value, role, depth)

    def _condition(self, number: str, slot: int, role: str, depth: int) -> _Told:
        kind, inputs = self.kinds[number], self.inputs[number]
        if nodes.ZEROED.search(kind):
            return _Told()
        chosen = self.chosen(kind, inputs)
        if chosen is not None:
            branches = (self.condition(inputs[key], role, depth) for key in chosen)
            return next((told for told in branches if told.texts), _Told(whole=False))
        pair = [self.sides(inputs, each) for each in (POSITIVE, NEGATIVE)]
        if all(pair):
            keys = pair[0] if self.side(number, slot, role) == POSITIVE else pair[1]
            return _all(self.condition(inputs[key], role, depth) for key in keys)
        own = self.encoded(kind, inputs, role, depth)
        if own is not None:  # GLIGEN adds a text to the conditions of its input
            before = [k for k, v in inputs.items() if is_link(v) and "conditioning" in k.lower()]
            told = _all([*(self.condition(inputs[k], role, depth) for k in before), own])
            return _Told(_longest(told.texts), told.whole) if before else own
        bundle = _first(inputs, nodes.BUNDLES)
        if bundle and is_link(inputs[bundle]):
            return self.bundle(inputs[bundle], self.side(number, slot, role), depth)
        links = [key for key, value in inputs.items() if is_link(value)]
        on = [key for key in links if nodes.LEADS_ON.search(key)]
        on = on or [key for key in links if not nodes.ASIDE.match(key)]
        told = _all(self.condition(inputs[key], role, depth) for key in on)
        return told if on else _Told(whole=False)

    def sides(self, inputs: Inputs, role: str) -> list[str]:
        """The inputs that carry one side; [] where none does, or none that can be followed."""
        key = _first(inputs, nodes.POSITIVE if role == POSITIVE else nodes.NEGATIVE)
        typed = [key] if key and isinstance(inputs[key], str) else []
        return nodes.sided(inputs, role) or typed

    def encoded(self, kind: str, inputs: Inputs, role: str, depth: int) -> _Told | None:
        """The text of a text encoder; None for any other node."""
        halves = [key for key in nodes.HALVES if key in inputs and "populated_text" not in inputs]
        if halves and inputs.get("with_SDXL") is not False:
            told = _all(self.text(inputs[key], role, depth) for key in halves)
            if told.texts or "text" not in inputs:
                return _Told(_longest(told.texts), told.whole)
        key = next(
            (k for k in nodes.TEXTS if isinstance(inputs.get(k), str) or is_link(inputs.get(k))),
            None,
        )
        if key is None or (is_link(inputs[key]) and not nodes.HOLDS_TEXT.search(kind)):
            return None
        return self.node_text(kind, inputs, 0, role, depth)

    def bundle(self, value: Any, role: str, depth: int = 0) -> _Told:
        """One side of a link that holds both prompts: a guider, a pipe, a context."""
        return self.once("bundle", value, role, depth) if is_link(value) else _Told()

    def bundle_of(self, number: str, role: str, depth: int) -> _Told:
        """One side of the conditions of a sampler, a guider or a pipe."""
        inputs = self.inputs[number]
        own = [key for key in nodes.CONDITIONS[role] if key in inputs]
        own += [key for key in nodes.sided(inputs, role) if key not in own]
        if is_link(inputs.get("cond1")) and self.turned(inputs.get("cond2")):
            own = [k for k in own if k != "cond2"] + ["cond2"] * (role == NEGATIVE)
        if any(is_link(inputs[key]) or isinstance(inputs[key], str) for key in own):
            return _all(self.condition(inputs[key], role, depth) for key in own)
        bundle = next((key for key in nodes.BUNDLES if is_link(inputs.get(key))), None)
        if bundle:
            return self.bundle(inputs[bundle], role, depth)
        if any(key in inputs for side in nodes.CONDITIONS.values() for key in side) or any(
            nodes.sided(inputs, side) for side in nodes.CONDITIONS
        ):
            return _Told()  # a guider with one side only
        links = [k for k, v in inputs.items() if is_link(v) and not nodes.ASIDE.match(k)]
        told = _all(self.bundle(inputs[key], role, depth) for key in links)
        return told if links else _Told(whole=False)

    def turned(self, value: Any) -> bool:
        """Whether a link takes the negative one of two prompts that a node passes on, as the second
        condition of an editing model's DualCFGGuider does.
        """
        inputs = self.inputs.get(str(value[0]), {}) if is_link(value) else {}
        pair = all(self.sides(inputs, each) for each in (POSITIVE, NEGATIVE))
        return pair and self.side(str(value[0]), value[1], POSITIVE) == NEGATIVE

    def text(self, value: Any, role: str, depth: int = 0) -> _Told:
        """The text of an input, typed or linked; several only where a part is not known."""
        if isinstance(value, str):
            return _Told((value[:MAX_PROMPT],))
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _Told((str(value)[:20],))
        return self.once("text", value, role, depth) if is_link(value) else _Told(whole=False)

    def node_text(self, kind: str, inputs: Inputs, slot: int, role: str, depth: int) -> _Told:
        told = _Told(whole=False)
        chosen = self.chosen(kind, inputs)
        if chosen is not None:
            branches = (self.text(inputs[key], role, depth) for key in chosen)
            told = next((each for each in branches if each.texts), told)
        elif nodes.WRITTEN_LATER.search(kind):
            pass
        elif joined := nodes.parts(kind, inputs):
            each = [self.text(inputs[key], role, depth) for key in joined]
            words = [words for part in each for words in part.texts if words]
            if str(inputs.get("clean_whitespace")).lower() == "true":
                words = [stripped for one in words if (stripped := one.strip())]
            whole = all(part.whole for part in each)
            told = _Told((nodes.delimiter(inputs).join(words)[:MAX_PROMPT],), whole)
        else:
            plus, minus = _first(inputs, nodes.POSITIVE), _first(inputs, nodes.NEGATIVE)
            key = next((k for k in nodes.TEXTS if k in inputs and inputs[k] is not None), None)
            if plus and minus:
                key = minus if slot == 1 else plus
            elif slot and f"text_{'abcdefgh'[min(slot, 7)]}" in inputs:  # four texts in one node
                key = f"text_{'abcdefgh'[min(slot, 7)]}"
            keys = [key] if key else [k for k, v in inputs.items() if is_link(v)]
            found = [self.text(inputs[k], role, depth) for k in keys if not nodes.ASIDE.match(k)]
            told = next((each for each in found if each.texts), told)
            if isinstance(inputs.get("find"), str) and isinstance(inputs.get("replace"), str):
                told = _Told(tuple(_replaced(t, inputs) for t in told.texts), told.whole)
        cached = inputs.get(nodes.CACHED)
        if isinstance(cached, str) and cached and not (told.texts and told.whole):
            return _Told((cached[:MAX_PROMPT],))
        return told

    def once(self, what: str, link: list[Any], role: str, depth: int) -> _Told:
        """Follow one link, with a cache by node and slot; a cycle ends where it began."""
        number, slot = str(link[0]), link[1]
        key = (what, number, slot, role)
        if key in self.known:
            return self.known[key]
        self.left -= 1
        if self.left < 0:
            raise ValueError("too many links")
        if number not in self.inputs or depth > MAX_DEPTH:
            return _Told(whole=False)
        self.known[key] = _Told(whole=False)
        if what == "condition":
            told = self._condition(number, slot, role, depth + 1)
        elif what == "bundle":
            told = self.bundle_of(number, role, depth + 1)
        else:
            told = self.node_text(self.kinds[number], self.inputs[number], slot, role, depth + 1)
        self.known[key] = told
        return told

    def side(self, number: str, slot: int, role: str) -> str:
        """Which prompt an output slot carries, for a node that passes on both."""
        named = self.slot_names.get((number, slot), "").lower()
        for side, signs in ((POSITIVE, ("pos", "+")), (NEGATIVE, ("neg", "-"))):
            if any(sign in named for sign in signs):
                return side
        kind, used = self.kinds[number], sorted(self.used.get(number, ()))
        usual = (used[0], used[1]) if len(used) == 2 else (0, 1)
        plus, minus = next((s for pattern, s in nodes.SLOTS if pattern.search(kind)), usual)
        return {plus: POSITIVE, minus: NEGATIVE}.get(slot, role)

    def chosen(self, kind: str, inputs: Inputs) -> list[str] | None:
        name = nodes.chooser(inputs)
        return nodes.branches(kind, inputs, self.scalar(inputs[name]) if name else None)

    def scalar(self, value: Any) -> Any:
        """A number or truth value, typed or from linked nodes that hold one."""
        for _ in range(10):
            if not is_link(value):
                break
            inputs = self.inputs.get(str(value[0]), {})
            value = next(
                (inputs[k] for k in (*nodes.NUMBERS, "boolean", "bool") if k in inputs), None
            )
        return value

    def nearest(self, value: Any, keys: tuple[str, ...]) -> Any:
        """The nearest value along the links that is under one of the keys, or linked there."""
        waiting: list[Any] = [value]
        seen: set[str] = set()
        for link in waiting:
            if not is_link(link) or str(link[0]) in seen or len(seen) > MAX_NODES:
                continue
            seen.add(str(link[0]))
            inputs = self.inputs.get(str(link[0]), {})
            for key in keys:
                told = self.scalar(inputs.get(key)) if key != "model" else inputs.get(key)
                if isinstance(told, str | int):
                    return told
            waiting += [v for v in inputs.values() if is_link(v)]
        return None

    def settings(self, number: str) -> dict[str, Any]:
        inputs = self.inputs[number]
        seed = next((inputs[k] for k in ("seed", "noise_seed") if k in inputs), None)
        model = next((inputs[k] for k in ("model", *nodes.BUNDLES) if k in inputs), None)
        sampler = self.scalar(inputs.get("sampler_name"))
        link = inputs.get("sampler")
        if sampler is None and is_link(link):
            kind = self.kinds.get(str(link[0]))
            sampler = self.nearest(link, ("sampler_name",)) or kind
        steps = inputs.get("steps")
        return {
            "model": self.nearest(model, nodes.CHECKPOINTS) if is_link(model) else model,
            "sampler": sampler,
            "seed": self.nearest(inputs.get("noise"), ("noise_seed",))
            if seed is None
            else self.scalar(seed),
            "steps": self.nearest(inputs.get("sigmas"), ("steps",))
            if steps is None
            else self.scalar(steps),
        }

    def holds_text(self, number: str) -> bool:
        """Whether a node holds a text, or gets one while the graph runs."""
        kind, inputs = self.kinds[number], self.inputs[number]
        texts = [value for value in inputs.values() if isinstance(value, str)]
        if any(len(value[:MAX_PROMPT].split()) > 2 for value in texts):
            return True  # names of files and settings have fewer words
        told = any(inputs.get(key) in texts for key in (*nodes.HALVES, *nodes.TEXTS))
        written = bool(nodes.WRITTEN_LATER.search(kind))
        return written or (told and bool(nodes.HOLDS_TEXT.search(kind)))


def _all(told: Iterable[_Told]) -> _Told:
    texts: list[str] = []
    whole = True
    for each in told:
        texts += each.texts
        whole = whole and each.whole
    return _Told(tuple(distinct(texts)[:MAX_PARTS]), whole)


def _apart(texts: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    """Without texts that the other side has, too (linked to both); all of them if none is left."""
    said = {fold(other) for other in others}
    return tuple(text for text in texts if fold(text) not in said) or texts


def _longest(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Without those that are a part of another one: key words beside the whole sentence."""
    return tuple(
        text for text in texts if not any(text in other for other in texts if other is not text)
    )


def _replaced(text: str, inputs: Inputs) -> str:
    return text.replace(inputs["find"], inputs["replace"][:MAX_PROMPT], 1_000)[:MAX_PROMPT]


def _first(inputs: Inputs, keys: Iterable[str]) -> str | None:
    return next((key for key in keys if key in inputs), None)


def _slot_names(workflow: str) -> dict[tuple[str, int], str]:
    """(node, slot) → the output's name in the workflow; {} where it cannot be read."""
    try:
        drawn = json.loads(workflow)["nodes"]
        return {
            (str(node["id"]), slot): str(output.get("name", ""))
            for node in drawn
            for slot, output in enumerate(node.get("outputs") or ())
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
