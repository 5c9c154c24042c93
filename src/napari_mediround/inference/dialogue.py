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
from napari_mediround.domain.rounds import Conversation, Round
from napari_mediround.inference.drafts import Drafts
from napari_mediround.inference.laterality import hold_to_side
from napari_mediround.inference.question import Located, Prompt, Question, Said
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

SURE = 0.6
"""An answer with one mask and at least this probability is taken as the language model gave it."""
KNOWN = 0.2
"""If all known structures together are less likely than this, the name is treated as unknown."""
EVIDENCE = 0.3
"""Weight of a coarse mask's highest logit, added to the logarithm of its name's probability."""
WEIGHED = 12
"""Number of names scored to the end: those with the likeliest first token and coarse mask."""

Describe = Callable[[str, Mask], tuple[Tensor, Tensor]]
See = Callable[[], Mapping[str, float]]


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
    """

    def __init__(
        self,
        model: MediRound,
        answer_limit: int = 64,
        chat_limit: int = 96,
    ) -> None:
        self.model = model
        self.answer_limit, self.chat_limit = answer_limit, chat_limit
        self.drafting = True
        self._anatomy = load_anatomy()
        self._drafts = Drafts(model.language.encode, model.template, self._anatomy)
        self.forget()

    def forget(self) -> None:
        """Drop the key-value cache and the features of references."""
        self._read: list[int | Slot] = []
        self._keys = None
        self._references: dict[str, tuple[Tensor, Tensor]] = {}

    def compose(self, question: Question, tokens: Tensor, describe: Describe) -> Prompt:
        """Return what the language model reads: the dialogue up to the new answer.

        Parameters
        ----------
        question : Question
        tokens : Tensor
            (T, F) raw features of the plane.
        describe : callable
            (image key, mask) to the mask's raw crop feature (F,) and box (4,); called once for each mask.
        """
        encode, template, conversation = (
            self.model.language.encode,
            self.model.template,
            question.conversation,
        )
        pieces = template.opening(encode, question.image)
        for earlier in conversation.rounds:
            if earlier.carried:  # not words, and there may be dozens
                continue
            pieces += self._turn(earlier.index, earlier, conversation, describe)
            absent = earlier.answer.absent
            names = [t.structure for t in earlier.targets if t.mask.area or t.structure not in absent]
            absent = [name for name in absent if name not in names]
            pieces += template.answer(encode, compose_answer(names, absent))
        pieces += self._turn(len(conversation) + 1, question, conversation, describe)
        raw = {("image", question.image): tokens}
        for slot in pieces:
            if isinstance(slot, Slot) and slot.kind != "image":
                raw[slot.kind, slot.key] = self._references[slot.key][("crop", "box").index(slot.kind)]
        return Prompt(pieces, raw)

    def _turn(
        self, number: int, asked: Question | Round, conversation: Conversation, describe: Describe
    ) -> list[int | Slot]:
        """Return the pieces of one question, and have the features of its references ready."""
        slots, places = [], {}
        for reference in asked.references:
            source = conversation.rounds[reference.round - 1]
            target = conversation.target(reference)
            key = f"{source.answer.image}/{hash(target.mask)}"
            if key not in self._references:
                self._references[key] = describe(source.answer.image, target.mask)
            several = f".{reference.target}" if len(source.targets) > 1 else ""
            place = places[reference.phrase] = f"[{reference.round}{several}]"
            slots.append(ReferenceSlot(f"{place} {target.structure}", key))
        # People count masks, the model was taught to count rounds.
        text = _BRACKETS.sub(lambda match: places.get(match[0], match[0]), asked.text)
        spelled = self._anatomy.spell_out(text)
        return self.model.template.question(self.model.language.encode, number, spelled, slots)

    def answer(
        self, located: Located, prompt: Prompt, see: See, cancelled: Callable[[], bool] | None = None
    ) -> Said:
        """Generate an answer.

        Structures that the question can only mean are read as the model's own answer. If the answer repeats a
        mask's side although the question asks for the other one, the name is replaced
        (`inference.laterality`). If the model is uncertain, what the plane shows decides.

        Parameters
        ----------
        located : Located
        prompt : Prompt
            From `compose`.
        see : callable
            Returns how clearly each structure appears on the plane (`inference.places.see_structures`).
        cancelled : callable, optional
            Asked between tokens.
        """
        if located.names:
            text = compose_answer(located.names)
            ids = self.model.template.answer(self.model.language.encode, text)
            return self._said(text, ids, self._say(prompt, ids))
        text, ids, states = self._generate(located.question, prompt, cancelled)
        names, absent = parse_answer(text)
        held, unsure = self._settle(names, absent, located.question, prompt, (ids, states), see)
        if held != names:
            text = compose_answer(held, absent)
            ids = self.model.template.answer(self.model.language.encode, text)
            states = self._say(prompt, ids)
        return self._said(text, ids, states, unsure)

    def _said(self, text: str, ids: list[int], states: Sequence[Tensor], unsure: bool = False) -> Said:
        """Return an answer's names with the SEG vectors of its `[SEG]` tokens."""
        names, absent = parse_answer(text)
        seg = self.model.language.new_ids[SEG]
        hidden = [state for token, state in zip(ids, states, strict=True) if token == seg]
        if not hidden:
            return Said((), tuple(absent), torch.zeros(0, self.model.channels), unsure)
        vectors = self.model.project_seg(torch.stack(hidden)).float()
        # A model may spell "[SEG]" without saying the token: that name has no vector.
        return Said(tuple(names[: len(vectors)]), tuple(absent), vectors, unsure)

    def _generate(
        self, question: Question, prompt: Prompt, cancelled: Callable[[], bool] | None
    ) -> tuple[str, list[int], list[Tensor]]:
        """Return the model's own answer, its token ids and the hidden state that predicts each of them."""
        language = self.model.language
        embeddings = self._embed_new(prompt)
        draft = self._drafts.about(question.text, question.pointed_at) if self.drafting else None
        ids, states = language.generate(embeddings, self._keys, self.answer_limit, cancelled, draft=draft)
        self._read = [*prompt.pieces, *ids[:-1]]
        text = language.tokenizer.decode(ids, skip_special_tokens=False)
        return text.replace(language.tokenizer.eos_token, ""), ids, states

    def _settle(
        self,
        names: list[str],
        absent: list[str],
        question: Question,
        prompt: Prompt,
        generated: tuple[list[int], list[Tensor]],
        see: See,
    ) -> tuple[list[str], bool]:
        """Return the names that an answer means, and whether the model was uncertain."""
        ids, states = generated
        seg = self.model.language.new_ids[SEG]
        held = hold_to_side(names, question.text, question.pointed_at, self._anatomy)
        if len(names) != 1 or held != names or absent or seg not in ids:
            return held, False
        if self._repeats(names[0], question.text):
            clear = "" if self._anatomy.find(names[0]) else self._of_kind(names[0], see)
            return [clear or names[0]], bool(clear)
        begun = ids[: ids.index(seg) + 1]
        name, unsure = self._weigh(names[0], prompt, begun, states[: len(begun)], see)
        return [name], unsure

    def _of_kind(self, name: str, see: See) -> str:
        """Return the most visible structure of the kind in a name ("lesion"), "" if none is visible."""
        meant = self._anatomy.meant_by(name)
        looks = see() if meant else {}
        best = {
            one: max(looks.get(part, 0.0) for part in (one, *self._anatomy[one].children)) for one in meant
        }
        clear = max(sorted(best), key=best.get, default="")
        return clear if clear and best[clear] > 0 else ""

    def _say(self, prompt: Prompt, ids: list[int]) -> Tensor:
        """Return the hidden states (T, D) that predict T given tokens, and append these to the sequence."""
        embeddings = torch.cat([self._embed_new(prompt), self.model.embed_pieces(ids[:-1], {})], 1)
        states = self.model.language.hidden(embeddings, self._keys)[0, -len(ids) :]
        self._read = [*prompt.pieces, *ids[:-1]]
        return states

    def _weigh(
        self, name: str, prompt: Prompt, ids: list[int], states: Sequence[Tensor], see: See
    ) -> tuple[str, bool]:
        """Return the structure that an answer means, and whether the model was uncertain.

        An unknown description leaves the model with several names, or with a name that does not exist. Of the
        likely names, those whose structure is visible on this plane are preferred. `ids` are the tokens of
        the answer up to `[SEG]`, `states` predict them.
        """
        begun = self._scores(torch.stack(list(states)))
        own = _chance(begun, ids)
        if own > math.log(SURE):
            return name, False
        looks, end = see(), ids[-1]
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
            scores = self._scores(self._say_each(prompt, [answers[other] for other in read]))
            chances |= {
                other: _chance(each, answers[other]) for other, each in zip(read, scores, strict=True)
            }
        known = sum(map(math.exp, chances.values())) > KNOWN
        return max(chances, key=worth) if known else name, True

    def _say_each(self, prompt: Prompt, answers: list[list[int]]) -> Tensor:
        """Return the hidden states (N, T, D) that predict N answers of up to T tokens; append nothing."""
        question = self._embed_new(prompt)
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

    def _embed_new(self, prompt: Prompt) -> Tensor:
        """Cut the key-value cache where a new sequence differs, and return the embeddings of the rest."""
        pieces = prompt.pieces
        # The last piece is always read again: its hidden state says what comes next.
        kept = min(common_prefix(self._read, pieces), len(pieces) - 1)
        if self._keys is None or kept == 0:
            kept, self._read, self._keys = 0, [], self.model.language.new_cache()
        if kept < len(self._read):
            self._keys.crop(kept - len(self._read))  # negative: how many to remove
        self._read = pieces[:kept]
        return self.model.embed_pieces(pieces[kept:], prompt.raw)

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
