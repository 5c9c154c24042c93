"""MediRound: the paper's figure.

Image encoder → prompt embedding of earlier masks → language model → `[SEG]` → SAM's mask decoder →
judgment & correction. The caller passes the parts; nothing here depends on the name of a preset. Knows no
cache, file or viewer.

References
----------
MediRound, arXiv 2511.12110 (ECCV 2026), figure 2; released code Edisonhimself/MediRound at 770a5c7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_mediround.errors import SettingsError
from napari_mediround.model.click_maps import PromptMaps
from napari_mediround.model.context import CoarseMask, Context, resize
from napari_mediround.model.crop import Crop, find_crop
from napari_mediround.model.features import Decoded, DecoderFeatures, ImageFeatures
from napari_mediround.model.finder import Finder
from napari_mediround.model.heads import Corrector, Judge, build_mlp
from napari_mediround.model.language import LanguageModel
from napari_mediround.model.prompt import PromptTemplate, Slot
from napari_mediround.model.prototypes import Prototypes
from napari_mediround.model.sam import CERTAIN, decode_masks, fit_to_square, fitted_shape, logits_to_plane
from napari_mediround.model.vision import ClipVision, PooledVision, normalise_box, square_scale

FOUND_GAIN, FOUND_MORE = 2.0, 1.0
"""What makes a mask prompt of the finder's logits: trained to be sure of little, they are too low for one."""
FOUND_LEAST = 0.0
"""Highest logit of the finder on a plane below which the plane does not show a structure. Of subjects kept
from training 96 of 100 structures that a plane shows are above, four of five of other body parts below."""

_SAM_MEAN, _SAM_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class CorrectionSettings:
    """When the corrector's mask replaces the first one.

    Parameters
    ----------
    threshold : float
        Judged IoU at or below which a mask is corrected (0.6 as published).
    keep_better : bool
        Judge the corrected mask too and keep the better one. False, as published, takes the corrector's mask
        in any case.
    enabled : bool
        False switches correction off; masks are still judged.
    """

    threshold: float = 0.6
    keep_better: bool = True
    enabled: bool = True


class MediRound(nn.Module):
    """The model: the figure of the paper.

    One question calls `encode_image` (once for each plane), `see`, `describe_reference` (for each reference),
    `embed_pieces`, the language model, `project_seg` and `segment`, which calls `decode`, the judge and, for
    a doubtful mask, the corrector; then `masks_on_plane`.

    Parameters
    ----------
    image_encoder : nn.Module
        (B, 3, size, size) → (B, C, h, w).
    vision : PooledVision or ClipVision
        Gives raw features for the language model.
    language : LanguageModel
        The language model with its LoRA adapter.
    prompt_encoder, mask_decoder : nn.Module
        Of `segment_anything.modeling`.
    judge, corrector : Judge, Corrector
        The heads of judgment & correction.
    template : PromptTemplate
        Gives the words around turns.
    size : int
        Side of the square model input, pixels.
    channels : int
        Channels C of embedding and SEG vectors.
    normalise : {"minmax", "sam"}
        Scale each image to 0…1 (LiteMedSAM, MedSAM), or by SAM's means and deviations.
    correction : CorrectionSettings
        When the corrector runs.
    projector_norm : bool
        Whether features are layer-normed before projection; LLaVA's projector has no norm.
    context : Context, optional
        Adds the whole plane and fine detail to the embedding.
    glance : CoarseMask, optional
        Turns SEG vectors into coarse masks; with `context` only.
    maps : PromptMaps, optional
        Changes masks by clicks and boxes; with `context` only.
    """

    def __init__(
        self,
        image_encoder: nn.Module,
        vision: PooledVision | ClipVision,
        language: LanguageModel,
        prompt_encoder: nn.Module,
        mask_decoder: nn.Module,
        judge: Judge,
        corrector: Corrector,
        template: PromptTemplate,
        size: int,
        channels: int,
        normalise: str = "minmax",
        correction: CorrectionSettings | None = None,
        projector_norm: bool = True,
        context: Context | None = None,
        glance: CoarseMask | None = None,
        maps: PromptMaps | None = None,
    ) -> None:
        super().__init__()
        if normalise not in ("minmax", "sam"):
            raise SettingsError(f"normalise is 'minmax' or 'sam', not {normalise!r}")
        self.image_encoder, self.vision = image_encoder, vision
        norm = nn.LayerNorm(vision.width) if projector_norm else nn.Identity()
        self.image_projector = nn.Sequential(
            norm,
            nn.Linear(vision.width, language.width),
            nn.GELU(),
            nn.Linear(language.width, language.width),
        )
        self.box_encoder = nn.Linear(4, language.width)
        self.language = language
        self.seg_projection = build_mlp(language.width, language.width, channels)
        self.context, self.glance, self.maps = context, glance, maps
        self.prompt_encoder, self.mask_decoder = prompt_encoder, mask_decoder
        self.landmarks: Prototypes | None = None  # come with trained weights
        self.finder: Finder | None = None  # comes with trained weights
        self.judge, self.corrector = judge, corrector
        self.template, self.size, self.channels, self.normalise = template, size, channels, normalise
        self.correction = correction or CorrectionSettings()

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.box_encoder.weight.device

    # Image encoder

    def encode_image(self, image: NDArray[np.uint8], frame: Crop | None = None) -> ImageFeatures:
        """Encode a plane.

        Parameters
        ----------
        image : ndarray
            uint8 (H, W, 3).
        frame : Crop, optional
            The crop; by default the body (`find_crop`).
        """
        weight = next(self.image_encoder.parameters())
        frame = frame or find_crop(image)
        part = frame.cut(image)
        embedding = self.image_encoder(self.fit_pixels(part).to(weight.dtype))
        tokens = self.vision.describe_image(self._pixels(part) / 255, embedding)
        return ImageFeatures(embedding, tokens, image, frame)

    def fit_pixels(self, image: NDArray[np.uint8]) -> Tensor:
        """Return a plane, uint8 (H, W, 3), fitted and normalised for the encoder: (1, 3, size, size)."""
        return self._normalise(self._pixels(image))

    def see(self, features: ImageFeatures) -> DecoderFeatures:
        """Return an encoded plane as the mask decoder sees it."""
        if features.seen is not None:
            return features.seen
        pixels = self.fit_pixels(features.part)
        seen = self.look(features.embedding, pixels)
        return seen if self.finder is None else replace(seen, found=self.finder.look(pixels))

    def look(self, embedding: Tensor, pixels: Tensor) -> DecoderFeatures:
        """Return the decoder features of planes.

        Parameters
        ----------
        embedding : Tensor
            (B, C, h, w) of the segmentation encoder, on any grid.
        pixels : Tensor
            (B, 3, size, size), the pixels that the embedding encodes.
        """
        return DecoderFeatures(embedding) if self.context is None else self.context(embedding, pixels)

    def _pixels(self, image: NDArray[np.uint8]) -> Tensor:
        return torch.tensor(image, device=self.device).permute(2, 0, 1)[None].float()

    def _normalise(self, pixels: Tensor) -> Tensor:
        if self.normalise == "sam":
            mean, std = (pixels.new_tensor(v)[:, None, None] for v in (_SAM_MEAN, _SAM_STD))
            return fit_to_square((pixels - mean) / std, self.size)
        square = fit_to_square(pixels, self.size)
        height, width = fitted_shape(pixels.shape[-2:], self.size)
        inside = square[..., :height, :width]
        low, high = inside.amin(), inside.amax()
        square = torch.zeros_like(square)
        square[..., :height, :width] = (inside - low) / (high - low).clamp_min(1e-6)
        return square

    # Prompt embedding

    def describe_reference(self, features: ImageFeatures, mask: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
        """Return the raw crop feature (F,) and the normalised box (4,) of an earlier mask.

        Parameters
        ----------
        features : ImageFeatures
            Features of the image that the mask lies on.
        mask : ndarray
            bool (H, W).
        """
        on_device = torch.tensor(features.frame.cut(mask), device=self.device)
        pixels = self._pixels(features.part) / 255
        return self.vision.describe_region(pixels, features.embedding, on_device), normalise_box(on_device)

    def embed_pieces(self, pieces: Sequence[int | Slot], raw: Mapping[tuple[str, str], Tensor]) -> Tensor:
        """Return input embeddings (1, T, D) of a sequence.

        Parameters
        ----------
        pieces : sequence
            Token ids and slots (`model.prompt`).
        raw : mapping
            (kind, key) of each slot to its raw features: (T, F) for "image", (F,) for "crop", (4,) for "box".
        """
        ids = [piece if isinstance(piece, int) else 0 for piece in pieces]
        embeddings = self.language.embed(torch.tensor([ids], device=self.device)).clone()
        projected: dict[tuple[str, str], Tensor] = {}
        for place, piece in enumerate(pieces):
            if isinstance(piece, int):
                continue
            name = (piece.kind, piece.key)
            if name not in projected:
                project = self.box_encoder if piece.kind == "box" else self.image_projector
                vectors = project(raw[name].to(self.device, self.box_encoder.weight.dtype))
                projected[name] = vectors.reshape(-1, vectors.shape[-1])
            embeddings[0, place] = projected[name][piece.index].to(embeddings.dtype)
        return embeddings

    # [SEG] → mask decoder

    def project_seg(self, hidden: Tensor) -> Tensor:
        """Map hidden states that predict `[SEG]`, (N, D), to SEG vectors (N, C)."""
        return self.seg_projection(hidden.to(self.box_encoder.weight.dtype))

    def decode(
        self,
        seen: DecoderFeatures,
        vectors: Tensor | None = None,
        points: tuple[Tensor, Tensor] | None = None,
        boxes: Tensor | None = None,
        previous: Tensor | None = None,
    ) -> Decoded:
        """Decode N masks from SEG vectors, clicks, boxes and earlier masks, any of them together.

        Parameters
        ----------
        seen : DecoderFeatures
            Decoder features of 1 or N planes (`look`), the embedding (C, h, w) on any grid.
        vectors : Tensor, optional
            (N, C).
        points : tuple of Tensor, optional
            (N, P, 2) x, y in pixels of the model square, and (N, P) with 1 positive, 0 negative, -1 unused.
        boxes : Tensor, optional
            (N, 4) x0, y0, x1, y1 in pixels of the model square.
        previous : Tensor, optional
            (N, 1, 4h, 4w) logits of earlier masks; without them the coarse masks of SEG vectors, if any.
        """
        grid = seen.embedding.shape[-2:]
        full, stays, drawn = (4 * grid[0], 4 * grid[1]), None, None
        if previous is not None and self.glance is not None:
            stays = self.glance.keep(previous)
        elif vectors is not None and self.glance is not None:
            previous = stays = resize(self.glance(seen, vectors), full)
        if self.maps is not None and (points is not None or boxes is not None):
            drawn = resize(self.maps(seen, points, boxes, previous, self.size), full)
        sparse, dense = self.prompt_encoder(points=points, boxes=boxes, masks=previous)
        count = sparse.shape[0] if vectors is None else vectors.shape[0]
        if vectors is not None:
            sparse = torch.cat([vectors[:, None], sparse.expand(count, -1, -1).to(vectors.dtype)], 1)
        if previous is None:  # the prompt encoder's own no-mask embedding knows one grid only
            dense = self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(1, -1, *grid)
        logits, iou, token = decode_masks(
            self.mask_decoder,
            seen.embedding.to(sparse.dtype),
            self.prompt_encoder.pe_layer(grid)[None],
            sparse,
            dense.expand(count, -1, -1, -1),
        )
        if self.glance is not None:
            logits = logits + resize(self.glance.sharpen(seen, token), full)
        for more in (drawn, stays):
            logits = logits if more is None else logits + more
        return Decoded(logits[:, 0], iou, token, iou[:0], torch.zeros(len(logits), dtype=torch.bool))

    # Judgment & correction

    def judge_masks(self, vectors: Tensor, embedding: Tensor, decoded: Decoded) -> Tensor:
        """Return the IoU (N,) that the judge predicts, 0…1."""
        score = self.judge(vectors, embedding, decoded.logits, decoded.token, decoded.iou)
        return score.float().sigmoid()

    def judged(self, vectors: Tensor, features: ImageFeatures, decoded: Decoded) -> Decoded:
        """Return masks with their judged quality."""
        return replace(decoded, quality=self.judge_masks(vectors, features.embedding, decoded))

    def segment(self, features: ImageFeatures, vectors: Tensor, names: Sequence[str] = ()) -> Decoded:
        """Decode SEG vectors, judge the masks, correct the doubtful ones.

        Parameters
        ----------
        features : ImageFeatures
            Features of the image.
        vectors : Tensor
            (N, C) SEG vectors.
        names : sequence of str, optional
            N preferred names: what the finder knows is decoded from what it found, too, and the mask that
            is judged better is kept.
        """
        settings, seen, names = self.correction, self.see(features), names or [""] * len(vectors)
        first = self.judged(vectors, features, self.decode(seen, vectors))
        first = self._found(first, seen, features, vectors, names)
        absent = first.logits.flatten(1).amax(1) == -CERTAIN  # the finder said so: it stays so
        doubtful = ((first.quality <= settings.threshold) & ~absent).tolist()
        rows = [row for row, bad in enumerate(doubtful) if bad and not self.is_new(names[row])]
        if not settings.enabled or not rows:
            return first
        rows = torch.tensor(rows, device=vectors.device)
        mended = self.corrector(vectors[rows])
        other = self.judged(mended, features, self.decode(seen, mended))
        kept = other.quality > (first.quality[rows] if settings.keep_better else -1)
        return first.take_better(rows, other, kept, corrected=True)

    def _found(
        self,
        first: Decoded,
        seen: DecoderFeatures,
        features: ImageFeatures,
        vectors: Tensor,
        names: Sequence[str],
    ) -> Decoded:
        """Replace masks by those decoded from the finder's logits if these are judged better.

        They are decoded without the SEG vector, which leads astray on images unlike those that it learned,
        and the finder's own logits stay in them. What never had a vector is always the finder's. Where the
        finder sees nothing of a structure that it knows, the mask is empty.
        """
        known = [row for row, name in enumerate(names) if self.finder is not None and name in self.finder]
        if not known:
            return first
        rows = torch.tensor(known, device=vectors.device)
        new = torch.tensor([self.is_new(names[row]) for row in known], device=vectors.device)
        found = self.finder.find(seen.found, [names[row] for row in known])[:, None]
        side = 4 * seen.embedding.shape[-1]
        found = resize(found, (side, side))
        other = self.decode(seen, previous=FOUND_GAIN * found + FOUND_MORE)
        other = replace(other, logits=other.logits + found[:, 0])
        other = self.judged(vectors[rows] * ~new[:, None], features, other)
        there = found.flatten(1).amax(1) >= FOUND_LEAST
        better = first.take_better(rows, other, there & (new | (other.quality > first.quality[rows])))
        nothing = replace(better, logits=torch.full_like(better.logits, -CERTAIN))
        return better.take_better(rows, nothing.take(rows), ~there)

    def is_new(self, name: str) -> bool:
        """Whether the finder alone knows a structure, so that its SEG vector means nothing."""
        known = self.landmarks.names if self.landmarks is not None else ()
        return self.finder is not None and name in self.finder and name not in known

    def masks_on_plane(self, logits: Tensor, frame: Crop) -> NDArray[np.bool_]:
        """Return mask logits (N, 4h, 4w) as masks of the plane, bool (N, H, W)."""
        part = logits_to_plane(logits[:, None].float(), frame.inner, self.size)[:, 0]
        return frame.place((part > 0).cpu().numpy())

    def plane_to_square(self, xy: NDArray, frame: Crop) -> Tensor:
        """Bring plane coordinates (…, 2) x, y in pixels to the model square; the one such conversion."""
        inside = (np.asarray(xy, np.float32) - frame.offset_xy) * frame.scale_xy
        scaled = inside * square_scale(frame.inner, self.size)
        return torch.tensor(scaled, dtype=torch.float32, device=self.device)
