"""The language model's part of a dialogue: it reads the rounds and the question and generates the answer.

The key-value cache and the features of references are kept from question to question. They change the time
an answer takes, not the answer. Knows no device policy and no mask decoder.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Conversation, Reference
from napari_mediround.inference.drafts import Drafts
from napari_mediround.inference.laterality import hold_to_side
from napari_mediround.model.mediround import MediRound
from napari_mediround.model.prompt import (
    SEG,
    ReferenceSlot,
    Slot,
    common_prefix,
    compose_answer,
    parse_answer,
)

_BRACKETS = re.compile(r"\[[\d.\s]+\]")

NOTHING_FOUND = "I found no {}: it is not visible, or I missed it. If you see it, fix it with a click."
READ_AS = "I took this to mean the {}, but I am not certain. If you meant something else, please name it."
"""Notes beside an answer."""
SURE = 0.6
"""An answer with one mask and at least this probability is taken as the language model gave it."""
KNOWN = 0.2
"""If all known structures together are less likely than this, the name is treated as unknown."""
EVIDENCE = 0.3
"""Weight of a coarse mask's highest logit, added to the logarithm of its name's probability."""
WEIGHED = 12
"""Number of names scored to the end: those with the likeliest first token and coarse mask."""

Raw = dict[tuple[str, str], Tensor]
Describe = Callable[[str, Mask], tuple[Tensor, Tensor]]


class DialogueReader:
    """Reads a dialogue with the model's language model and generates answers.

    Parameters
    ----------
    model : MediRound
        Its language model, template and projections are used.
    answer_limit, chat_limit : int
        Largest number of tokens of an answer with masks, and of a chat answer.

    Attributes
    ----------
    drafting : bool
        Whether answers are drafted. Drafts save time and do not change an answer.
    unsure : bool
        Whether the model was uncertain which structure the last question described.
    """

    def __init__(
        self,
        model: MediRound,
        answer_limit: int,
        chat_limit: int,
    ) -> None:
        self.model = model
        self.answer_limit, self.chat_limit = answer_limit, chat_limit
        self.drafting, self.unsure = True, False
        self._anatomy = load_anatomy()
        self._drafts = Drafts(model.language.encode, model.template, self._anatomy)
        self.forget()

    def forget(self) -> None:
        """Drop the key-value cache and the features of references."""
        self._read: list[int | Slot] = []
        self._keys = None
        self._references: dict[str, tuple[Tensor, Tensor]] = {}

    def compose(
        self,
        text: str,
        conversation: Conversation,
        references: tuple[Reference, ...],
        image: str,
        raw: Raw,
        describe: Describe,
    ) -> list[int | Slot]:
        """Return the sequence of the dialogue up to the new answer; add the features of its slots to `raw`.

        Parameters
        ----------
        text : str
            The new question.
        conversation : Conversation
            The rounds before it.
        references : tuple of Reference
            What the question points at.
        image : str
            Key of the current image, whose features are in `raw` already.
        raw : dict
            Features by key; the features of every reference are added.
        describe : callable
            (image key, mask) to the mask's raw crop feature (F,) and box (4,); called once for each mask.
        """
        encode, template = self.model.language.encode, self.model.template
        pieces = template.opening(encode, image)
        for earlier in conversation.rounds:
            if earlier.carried:  # not words, and there may be dozens
                continue
            pieces += self._question(
                earlier.index, earlier.text, earlier.references, conversation, raw, describe
            )
            absent = earlier.answer.absent
            names = [t.structure for t in earlier.targets if t.mask.area or t.structure not in absent]
            absent = [name for name in absent if name not in names]
            pieces += template.answer(encode, compose_answer(names, absent))
        return pieces + self._question(len(conversation) + 1, text, references, conversation, raw, describe)

    def _question(
        self,
        number: int,
        text: str,
        references: tuple[Reference, ...],
        conversation: Conversation,
        raw: Raw,
        describe: Describe,
    ) -> list[int | Slot]:
        slots, places = [], {}
        for reference in references:
            source = conversation.rounds[reference.round - 1]
            target = conversation.target(reference)
            key = f"{source.answer.image}/{hash(target.mask)}"
            if key not in self._references:
                self._references[key] = describe(source.answer.image, target.mask)
            raw["crop", key], raw["box", key] = self._references[key]
            several = f".{reference.target}" if len(source.targets) > 1 else ""
            place = places[reference.phrase] = f"[{reference.round}{several}]"
            slots.append(ReferenceSlot(f"{place} {target.structure}", key))
        # People count masks, the model was taught to count rounds.
        text = _BRACKETS.sub(lambda match: places.get(match[0], match[0]), text)
        spelled = self._anatomy.spell_out(text)
        return self.model.template.question(self.model.language.encode, number, spelled, slots)

    def answer(
        self,
        pieces: list[int | Slot],
        raw: Raw,
        cancelled: Callable[[], bool] | None = None,
        text: str = "",
        pointed_at: Sequence[str] = (),
        surely: str | Sequence[str] = (),
        seen: Callable[[], Mapping[str, float]] = dict,
    ) -> tuple[str, Tensor]:
        """Generate an answer; return its text and the SEG vectors (N, C), float32.

        `text` is the new question, `pointed_at` the structures of its references; with `drafting` they give
        drafts (`inference.drafts`). `surely` is the structure at the place that the question asks for
        (`inference.places`), or those that it names; the model reads it as its own answer. If the answer
        repeats a mask's side although the question asks for the other one, the name is replaced
        (`inference.laterality`). `seen` returns how clearly each structure appears on the plane; this decides
        if the model is uncertain.
        """
        language = self.model.language
        seg = language.new_ids[SEG]
        surely = [surely] if isinstance(surely, str) and surely else list(surely)
        names, absent, held, self.unsure = [], [], surely, False
        if not surely:
            embeddings = self._embed_new(pieces, raw)
            draft = self._drafts.about(text, pointed_at) if self.drafting else None
            ids, states = language.generate(embeddings, self._keys, self.answer_limit, cancelled, draft=draft)
            self._read = [*pieces, *ids[:-1]]
            said = language.tokenizer.decode(ids, skip_special_tokens=False)
            said = said.replace(language.tokenizer.eos_token, "")
            names, absent = parse_answer(said)
            held = hold_to_side(names, text, pointed_at, self._anatomy)
            one = len(names) == 1 and held == names and not absent and seg in ids
            if one and self._repeats(names[0], text):
                clear = "" if self._anatomy.find(names[0]) else self._of_kind(names[0], seen)
                held, self.unsure = [clear or names[0]], bool(clear)
            elif one:
                begun = ids[: ids.index(seg) + 1]
                held = [self._weigh(names[0], pieces, raw, begun, states[: len(begun)], seen)]
        if held != names:
            said = compose_answer(held, absent)
            ids = self.model.template.answer(language.encode, said)
            states = self._say(pieces, raw, ids)
        hidden = [state for token, state in zip(ids, states, strict=True) if token == seg]
        if not hidden:
            return said, torch.zeros(0, self.model.channels)
        return said, self.model.project_seg(torch.stack(hidden)).float()

    def _of_kind(self, name: str, seen: Callable[[], Mapping[str, float]]) -> str:
        """Return the most visible structure of the kind in a name ("lesion"), "" if none is visible."""
        meant = self._anatomy.meant_by(name)
        looks = seen() if meant else {}
        best = {
            one: max(looks.get(part, 0.0) for part in (one, *self._anatomy[one].children)) for one in meant
        }
        clear = max(sorted(best), key=best.get, default="")
        return clear if clear and best[clear] > 0 else ""

    def _say(self, pieces: list[int | Slot], raw: Raw, ids: list[int]) -> Tensor:
        """Return the hidden states (T, D) that predict T given tokens, and append these to the sequence."""
        embeddings = torch.cat([self._embed_new(pieces, raw), self.model.embed_pieces(ids[:-1], {})], 1)
        states = self.model.language.hidden(embeddings, self._keys)[0, -len(ids) :]
        self._read = [*pieces, *ids[:-1]]
        return states

    def _weigh(
        self,
        name: str,
        pieces: list[int | Slot],
        raw: Raw,
        ids: list[int],
        states: Sequence[Tensor],
        seen: Callable[[], Mapping[str, float]],
    ) -> str:
        """Return the structure that an answer means; if the model is uncertain, the image may choose another.

        An unknown description leaves the model with several names, or with a name that does not exist. Of the
        likely names, those whose structure is visible on this plane are preferred.
        """
        begun = self._scores(torch.stack(list(states)))
        own = _chance(begun, ids)
        self.unsure = own <= math.log(SURE)
        if not self.unsure:
            return name
        looks, end = seen(), ids[-1]
        whole = {name: self._drafts.say((name,)) for name in looks}
        answers = {name: answer[: answer.index(end) + 1] for name, answer in whole.items()}
        chances = {known: own for known, answer in answers.items() if answer == ids}
        others = (n for n, answer in answers.items() if answer[0] == ids[0] and n not in chances)
        most = {other: float(begun[1, answers[other][1]]) for other in others}

        def worth(known: str) -> float:
            return EVIDENCE * looks[known] + chances.get(known, most.get(known, 0.0))

        # No name is likelier than its first token.
        least = max(map(worth, chances), default=-math.inf)
        read = [other for other in sorted(most, key=worth, reverse=True)[:WEIGHED] if worth(other) > least]
        if read:
            scores = self._scores(self._say_each(pieces, raw, [answers[other] for other in read]))
            chances |= {
                other: _chance(each, answers[other]) for other, each in zip(read, scores, strict=True)
            }
        return max(chances, key=worth) if sum(map(math.exp, chances.values())) > KNOWN else name

    def _say_each(self, pieces: list[int | Slot], raw: Raw, answers: list[list[int]]) -> Tensor:
        """Return the hidden states (N, T, D) that predict N answers of up to T tokens; append nothing."""
        question = self._embed_new(pieces, raw)
        keys = copy.deepcopy(self._keys)
        keys.batch_repeat_interleave(len(answers))
        longest = max(map(len, answers))
        padded = [[*answer[:-1], *[answer[-1]] * (longest - len(answer))] for answer in answers]
        words = self.model.language.embed(torch.tensor(padded, device=self.model.device))
        embeddings = torch.cat([question.expand(len(answers), -1, -1), words], 1)
        return self.model.language.hidden(embeddings, keys)[:, -longest:]

    def _scores(self, states: Tensor) -> Tensor:
        """Return the log-probabilities (…, V) of the next tokens, float32."""
        return self.model.language.logits(states).float().log_softmax(-1)

    def _repeats(self, name: str, text: str) -> bool:
        """Return whether an answer only repeats words of the question: then no structure is guessed."""
        told, said = (set(re.findall(r"\w+", t.casefold())) for t in (self._anatomy.spell_out(text), name))
        return said <= told

    def _embed_new(self, pieces: list[int | Slot], raw: Raw) -> Tensor:
        """Cut the key-value cache where a new sequence differs, and return the embeddings of the rest."""
        # The last piece is always read again: its hidden state says what comes next.
        kept = min(common_prefix(self._read, pieces), len(pieces) - 1)
        if self._keys is None or kept == 0:
            kept, self._read, self._keys = 0, [], self.model.language.new_cache()
        if kept < len(self._read):
            self._keys.crop(kept - len(self._read))  # negative: how many to remove
        self._read = pieces[:kept]
        return self.model.embed_pieces(pieces[kept:], raw)

    def chat(self, text: str, conversation: Conversation, cancelled: Callable[[], bool] | None = None) -> str:
        """Let the frozen base model answer, without image and adapter."""
        language = self.model.language
        messages = []
        for earlier in conversation.rounds:
            if not earlier.targets and not earlier.answer.absent:
                messages += [
                    {"role": "user", "content": earlier.text},
                    {"role": "assistant", "content": earlier.answer.text},
                ]
        ids = language.chat_prompt([*messages, {"role": "user", "content": text}])
        embeddings = language.embed(torch.tensor([ids], device=self.model.device))
        answer, _ = language.generate(embeddings, language.new_cache(), self.chat_limit, cancelled, base=True)
        return language.tokenizer.decode(answer, skip_special_tokens=True).strip()


def _chance(scores: Tensor, ids: Sequence[int]) -> float:
    """Return the logarithm of the probability of T tokens, from scores of at least T places (≥ T, V)."""
    return float(scores[range(len(ids)), ids].sum())
