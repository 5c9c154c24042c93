"""The language side of a dialogue: what is read, what is kept of it, what is answered.

The key-value cache and the features of references stay from question to question; the sequence is the same
as without them. Knows no device policy and no mask decoder.
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

SURE = 0.6
"""Probability of an answer with one mask from which on the language model is believed."""
KNOWN = 0.2
"""Least probability of all known structures together: below, what is meant is none of them."""
EVIDENCE = 0.3
"""What a logit of a structure's first look counts beside the logarithm of its name's probability."""
WEIGHED = 12
"""Most names that are read to the end, of those whose first token and first look are likeliest."""

Raw = dict[tuple[str, str], Tensor]
Describe = Callable[[str, Mask], tuple[Tensor, Tensor]]


class DialogueReader:
    """Reads dialogues to a model's language model.

    Parameters
    ----------
    model : MediRound
        Its language model, template and projections are used.
    answer_limit, chat_limit : int
        Most tokens of an answer with masks, of a chat answer.

    Attributes
    ----------
    drafting : bool
        Whether answers are foreseen; they are the same either way.
    unsure : bool
        Whether it was not sure which structure the last question described.
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
        """Return the sequence of the whole dialogue up to the new answer; slots' raw features go into `raw`.

        Parameters
        ----------
        text : str
            The new question.
        conversation : Conversation
            The rounds before it.
        references : tuple of Reference
            What it points at.
        image : str
            Key of the image asked about; its features are in `raw` already.
        raw : dict
            Grows by the features of every reference.
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
            names = [target.structure for target in earlier.targets]
            pieces += template.answer(encode, compose_answer(names, list(earlier.answer.absent)))
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
        slots = []
        for reference in references:
            source = conversation.rounds[reference.round - 1]
            target = conversation.target(reference)
            key = f"{source.answer.image}/{hash(target.mask)}"
            if key not in self._references:
                self._references[key] = describe(source.answer.image, target.mask)
            raw["crop", key], raw["box", key] = self._references[key]
            several = f".{reference.target}" if len(source.targets) > 1 else ""
            slots.append(ReferenceSlot(f"[{reference.round}{several}] {target.structure}", key))
        spelled = self._anatomy.spell_out(text)
        return self.model.template.question(self.model.language.encode, number, spelled, slots)

    def answer(
        self,
        pieces: list[int | Slot],
        raw: Raw,
        cancelled: Callable[[], bool] | None = None,
        text: str = "",
        pointed_at: Sequence[str] = (),
        surely: str = "",
        seen: Callable[[], Mapping[str, float]] = dict,
    ) -> tuple[str, Tensor]:
        """Generate an answer; return its text and the SEG vectors (N, C), float32.

        `text` is the new question and `pointed_at` the structures of its references: what they foresee of the
        answer is read with the question (`model.drafts`), when `drafting` is on. `surely` is what lies where
        the question asks (`model.landmarks`): it is read as if the model had said it, and so is the right
        side where it gave a mask's own and the other was asked for (`model.sides`). `seen` tells how clearly
        structures are seen (`model.landmarks`): where the model is unsure what is meant, that counts too.
        """
        language = self.model.language
        seg = language.new_ids[SEG]
        names, absent, held, self.unsure = [], [], [surely], False
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
        """Return what is seen best of the kind that a name says ("lesion"), "" where nothing of it is."""
        meant = self._anatomy.meant_by(name)
        looks = seen() if meant else {}
        best = {
            one: max(looks.get(part, 0.0) for part in (one, *self._anatomy[one].children)) for one in meant
        }
        clear = max(sorted(best), key=best.get, default="")
        return clear if clear and best[clear] > 0 else ""

    def _say(self, pieces: list[int | Slot], raw: Raw, ids: list[int]) -> Tensor:
        """Return the states (T, D) that would say T tokens; they are read as if they had been said."""
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
        """Return the structure that an answer means: another than its name where it is unsure of that.

        A description that it never read leaves it with several names, or with one that does not exist. Of
        those that it may say, what is seen here is likelier to be meant.
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
        """Return the states (N, T, D) that would say each of N answers of at most T tokens; none is read."""
        question = self._embed_new(pieces, raw)
        keys = copy.deepcopy(self._keys)
        keys.batch_repeat_interleave(len(answers))
        longest = max(map(len, answers))
        padded = [[*answer[:-1], *[answer[-1]] * (longest - len(answer))] for answer in answers]
        words = self.model.language.embed(torch.tensor(padded, device=self.model.device))
        embeddings = torch.cat([question.expand(len(answers), -1, -1), words], 1)
        return self.model.language.hidden(embeddings, keys)[:, -longest:]

    def _scores(self, states: Tensor) -> Tensor:
        """Return the logarithms (…, V) of the probabilities of next tokens, float32."""
        return self.model.language.logits(states).float().log_softmax(-1)

    def _repeats(self, name: str, text: str) -> bool:
        """Whether an answer only says words of the question: what was named is not to be guessed."""
        told, said = (set(re.findall(r"\w+", t.casefold())) for t in (self._anatomy.spell_out(text), name))
        return said <= told

    def _embed_new(self, pieces: list[int | Slot], raw: Raw) -> Tensor:
        """Take the key-value cache back to where a sequence goes another way; embed the rest of it."""
        # The last piece is always read again: its hidden state says what comes next.
        kept = min(common_prefix(self._read, pieces), len(pieces) - 1)
        if self._keys is None or kept == 0:
            kept, self._read, self._keys = 0, [], _new_cache()
        if kept < len(self._read):
            self._keys.crop(kept - len(self._read))  # negative: how many to remove
        self._read = pieces[:kept]
        return self.model.embed_pieces(pieces[kept:], raw)

    def chat(self, text: str, conversation: Conversation, cancelled: Callable[[], bool] | None = None) -> str:
        """Let the frozen base model answer, as if there were neither image nor adapter."""
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
        answer, _ = language.generate(embeddings, _new_cache(), self.chat_limit, cancelled, base=True)
        return language.tokenizer.decode(answer, skip_special_tokens=True).strip()


def _chance(scores: Tensor, ids: Sequence[int]) -> float:
    """Return the logarithm of the probability of T tokens, from scores of at least T places (≥ T, V)."""
    return float(scores[range(len(ids)), ids].sum())


def _new_cache():
    from transformers import DynamicCache

    return DynamicCache()
