"""TinyViT as LiteMedSAM ships it: the image encoder of the `lite` preset.

Parameter names and arithmetic follow MobileSAM's TinyViT in LiteMedSAM's variant (patch embedding without
stride, so that 256 px give a 64×64 embedding), so `lite_medsam.pth` loads as it is. Knows nothing of
prompts or masks.

References
----------
Wu et al., TinyViT, ECCV 2022; Zhang et al., MobileSAM, arXiv 2306.14289; LiteMedSAM (bowang-lab/MedSAM).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNorm(nn.Sequential):
    """Convolution without bias, then batch norm (names `c` and `bn` as upstream)."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.add_module("c", conv)
        self.add_module("bn", nn.BatchNorm2d(outputs))

    @torch.no_grad()
    def fold(self) -> nn.Conv2d:
        """Return one convolution that computes the same in evaluation mode."""
        conv, norm = self.c, self.bn
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        folded = nn.Conv2d(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            conv.stride,
            conv.padding,
            groups=conv.groups,
        )
        folded.weight.copy_(conv.weight * gain[:, None, None, None])
        folded.bias.copy_(norm.bias - norm.running_mean * gain)
        return folded.to(conv.weight)


class PatchEmbed(nn.Module):
    """Two 1×1 convolutions at full resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(ConvNorm(3, channels // 2), nn.GELU(), ConvNorm(channels // 2, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 3, h, w) to (B, C, h, w)."""
        return self.seq(x)


class MBConv(nn.Module):
    """Inverted residual with a 3×3 depthwise convolution."""

    STRIP = 16

    def __init__(self, channels: int, expand: int = 4) -> None:
        super().__init__()
        hidden = channels * expand
        self.conv1 = ConvNorm(channels, hidden)
        self.conv2 = ConvNorm(hidden, hidden, 3, groups=hidden)
        self.conv3 = ConvNorm(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to the same shape."""
        h = x.shape[2]
        if self.training or x.device.type != "cpu" or h <= self.STRIP:
            return self._strip(x, 0, h)
        # At 256×256 the fourfold hidden tensor is 67 MB: by strips it stays in the cache, 1.7× faster.
        strips = [self._strip(x, row, min(row + self.STRIP, h)) for row in range(0, h, self.STRIP)]
        return torch.cat(strips, 2)

    def _strip(self, x: Tensor, top: int, bottom: int) -> Tensor:
        """Compute rows top…bottom; the 3×3 convolution sees one row more on either side."""
        low, high = max(top - 1, 0), min(bottom + 1, x.shape[2])
        inner = F.gelu(self.conv2(F.gelu(self.conv1(x[:, :, low:high]))))[:, :, top - low : bottom - low]
        return F.gelu(x[:, :, top:bottom] + self.conv3(inner))


class PatchMerging(nn.Module):
    """Change the number of channels and, where `stride` is 2, halve the grid."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(inputs, outputs)
        self.conv2 = ConvNorm(outputs, outputs, 3, stride, groups=outputs)
        self.conv3 = ConvNorm(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, C', h / stride, w / stride)."""
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))


class WindowAttention(nn.Module):
    """Self-attention inside windows, with a learned bias for each relative offset."""

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        row, column = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
        row, column = row.flatten(), column.flatten()
        offset = (row[:, None] - row).abs() * window + (column[:, None] - column).abs()
        self.register_buffer("offset", offset, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (windows, tokens, C) to the same shape."""
        count, tokens, channels = x.shape
        # Upstream keeps q, k and v of a head together, so the split comes after the heads.
        qkv = self.qkv(self.norm(x)).view(count, tokens, self.heads, 3, -1)
        q, k, v = qkv.permute(3, 0, 2, 1, 4)
        bias = self.attention_biases[None, :, self.offset].to(
            q.dtype
        )  # four axes: the fused CPU kernel's wish
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(x.transpose(1, 2).reshape(count, tokens, channels))


class Mlp(nn.Module):
    """Layer norm, then two linear layers."""

    def __init__(self, channels: int, ratio: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, channels * ratio)
        self.fc2 = nn.Linear(channels * ratio, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, C) to the same shape."""
        return self.fc2(F.gelu(self.fc1(self.norm(x))))


class TinyViTBlock(nn.Module):
    """Window attention, a local convolution, an MLP."""

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = WindowAttention(channels, heads, window)
        self.local_conv = ConvNorm(channels, channels, 3, groups=channels)
        self.mlp = Mlp(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, h, w, C) to the same shape."""
        x = x + self._attend(x)
        x = self.local_conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.mlp(x)

    def _attend(self, x: Tensor) -> Tensor:
        batch, h, w, channels = x.shape
        size = self.window
        x = F.pad(x, (0, 0, 0, -w % size, 0, -h % size))
        rows, columns = x.shape[1] // size, x.shape[2] // size
        x = x.view(batch, rows, size, columns, size, channels).transpose(2, 3)
        x = self.attn(x.reshape(-1, size * size, channels))
        x = x.view(batch, rows, columns, size, size, channels).transpose(2, 3)
        return x.reshape(batch, rows * size, columns * size, channels)[:, :h, :w]


class Stage(nn.Module):
    """Blocks of one resolution, then the merging into the next."""

    def __init__(self, blocks: list[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, C', h', w')."""
        if isinstance(self.blocks[0], TinyViTBlock):
            x = x.permute(0, 2, 3, 1)
            for block in self.blocks:
                x = block(x)
            x = x.permute(0, 3, 1, 2)
        else:
            for block in self.blocks:
                x = block(x)
        return x if self.downsample is None else self.downsample(x)


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of (B, C, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each pixel."""
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, 1e-6)
        return x.permute(0, 3, 1, 2)


class TinyViT(nn.Module):
    """LiteMedSAM's image encoder.

    Parameters
    ----------
    channels : sequence of int
        Width of each stage; the first is convolutional, the others attend.
    depths, heads, windows : sequence of int
        Blocks, attention heads and window side (tokens) of each stage.
    outputs : int
        Channels of the embedding.

    Notes
    -----
    The grid is halved twice (before stages 2 and 3), so the embedding has a quarter of the input's side.
    """

    def __init__(
        self,
        channels=(64, 128, 160, 320),
        depths=(2, 2, 6, 2),
        heads=(2, 4, 5, 10),
        windows=(7, 7, 14, 7),
        outputs: int = 256,
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(channels[0])
        self.layers = nn.ModuleList()
        for i, width in enumerate(channels):
            blocks = [
                MBConv(width) if i == 0 else TinyViTBlock(width, heads[i], windows[i])
                for _ in range(depths[i])
            ]
            last = i == len(channels) - 1
            merging = None if last else PatchMerging(width, channels[i + 1], 2 if i < 2 else 1)
            self.layers.append(Stage(blocks, merging))
        self.neck = nn.Sequential(
            nn.Conv2d(channels[-1], outputs, 1, bias=False),
            LayerNorm2d(outputs),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            LayerNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Encode an image.

        Parameters
        ----------
        x : Tensor
            float (B, 3, h, w), 0…1; h and w multiples of 4.

        Returns
        -------
        Tensor
            (B, outputs, h/4, w/4).
        """
        x = self.patch_embed(x)
        for layer in self.layers:
            x = layer(x)
        return self.neck(x)


def fold_batch_norms(module: nn.Module) -> nn.Module:
    """Replace every `ConvNorm` below `module`, in place, by the one convolution that computes the same.

    For inference only: the result cannot load or train the original parameters. Returns `module`.
    """
    for name, child in module.named_children():
        if isinstance(child, ConvNorm):
            setattr(module, name, child.fold())
        else:
            fold_batch_norms(child)
    return module.eval()
