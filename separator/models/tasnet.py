"""The analog separation network of Wu et al. 2021 (section 6.3.2), after Conv-TasNet: encoder, separator, decoder."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from separator.models.exact import (
    MOST_FEATURES,
    EightBitLinear,
    ExactLayerNorm,
    ExactLinear,
    MaskingWeights,
    StepWeight,
    masked,
)
from separator.models.window_norm import MOST_FRAMES, WindowNorm
from separator.snn.layers.analog import RELU, AnalogLayer
from separator.snn.stack.stack import Stack
from separator.snn.synapses.affine import CausalConv2d


@dataclass(frozen=True)
class TasNetConfig:
    """Sizes of the network, by the paper's symbols; the defaults are the paper's."""

    filters: int = 512  # N, encoder filters
    filter_length: int = 20  # L, samples; the stride is L/2
    channels: int = 512  # filters of the 1x1 and the dilated convolutions
    dilations: tuple[int, ...] = tuple(2**i for i in range(10))  # one for each dilated convolution
    kernel: int = 3  # frames that a dilated convolution sees
    n_src: int = 2  # C, talkers
    sample_rate: int = 8000  # Hz
    causal: bool = False  # no frame sees a later one
    look_back: tuple[int, ...] = ()  # dilations of further layers, behind the others, that see earlier frames only
    skips: bool = False  # layers of equal width add their input to their sums: a = ReLU(x + norm(conv(x)))
    norm_window: float = 0.0  # s to either side of a frame that it is normalised over; 0 for the frame by itself, as published
    slope: float = 0.0  # of the activations of layers that fire, below zero, as in LeakyReLU; 0 for ReLU

    def __post_init__(self) -> None:
        for name in ("dilations", "look_back"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.filter_length < 2 or self.filter_length % 2:
            raise ValueError(f"filter_length must be even and at least 2 samples, not {self.filter_length}")
        if self.filters > MOST_FEATURES:
            raise ValueError(f"there are at most {MOST_FEATURES} filters, not {self.filters}")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, so that frames stay where they are, not {self.kernel}")
        if min(self.filters, self.channels, self.n_src, self.sample_rate, *self.dilations, *self.look_back) < 1:
            raise ValueError("filters, channels, dilations, look_back, n_src and sample_rate must be at least 1")
        if not self.dilations + self.look_back:
            raise ValueError("dilations and look_back are both empty; give at least one of either")
        if not 0 <= 2 * self.norm_window * self.sample_rate / self.stride < MOST_FRAMES:
            most = (MOST_FRAMES - 1) // 2 * self.stride / self.sample_rate
            raise ValueError(f"norm_window is 0 to {most:g} s, not {self.norm_window}")
        if not 0 <= self.slope < 1:
            raise ValueError(f"the slope below zero is from 0 to below 1, not {self.slope}")

    @property
    def stride(self) -> int:
        """Samples from one frame to the next, L/2."""
        return self.filter_length // 2

    @property
    def receptive_field(self) -> int:
        """Samples of the mixture that one sample of an estimate depends on."""
        frames = 1 + (self.kernel - 1) * sum(self.dilations + self.look_back) + sum(self.norm_frames)
        # A sample lies in two frames; each looks `frames` around itself.
        return frames * self.stride + self.filter_length

    @property
    def look_ahead(self) -> int:
        """Samples after it that a sample of an estimate depends on."""
        frames = 0 if self.causal else (self.kernel - 1) // 2 * sum(self.dilations) + self.norm_frames[1]
        return frames * self.stride + self.filter_length - 1

    @property
    def norm_frames(self) -> tuple[int, int]:
        """Frames before and after each that it is normalised over."""
        frames = round(self.norm_window * self.sample_rate / self.stride)
        return frames, 0 if self.causal else frames

    def frames(self, samples: int) -> int:
        """Frames K that `samples` samples make, the last one padded."""
        return max(1, math.ceil((samples - self.filter_length) / self.stride) + 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for metadata."""
        return asdict(self) | {"dilations": list(self.dilations), "look_back": list(self.look_back)}


def paper(n_src: int = 2) -> TasNetConfig:
    """The published network: N = 512, L = 20, 512 channels, dilations 1..512."""
    return TasNetConfig(n_src=n_src)


def small(n_src: int = 2, causal: bool = False) -> TasNetConfig:
    """A network that two CPU cores train in an hour or two: N = 256, L = 64, 128 channels.

    Frames are 3.2 times as far apart as the paper's, so that dilations up to 128 span about as many seconds.
    """
    dilations = (1, 2, 4, 8, 16, 32, 64, 128, 2, 16)
    return TasNetConfig(filters=256, filter_length=64, channels=128, dilations=dilations, n_src=n_src, causal=causal)


def medium(n_src: int = 2) -> TasNetConfig:
    """The network for anybody's voice: N = 512, L = 128, 256 channels, skips, memory of six seconds, level kept within two.

    The last nine layers to both sides were added to a trained network. Two layers that look back span what the others
    cannot; the look-ahead, 3.9 s, is that of the layers before them.
    """
    dilations = (1, 2, 4, 8, 16, 32, 64, 1, 8, 4, 32, 128, 1, 2, 4, 8, 16, 32)
    return TasNetConfig(512, 128, 256, dilations, n_src=n_src, look_back=(128, 256), skips=True, norm_window=1.0)


class TasNet(nn.Module):
    """Encoder, mask-estimating separator and decoder; the separator's stack of layers is what PTL converts.

    Inside, frames come before features: encoded mixtures are (B, K, N). The stack sees one-row images (B, channels, 1, K)
    stored channels last, for which a training step on a CPU takes about 0.6 of the time of (B, channels, K).

    Args:
        config: sizes.
    """

    def __init__(self, config: TasNetConfig) -> None:
        super().__init__()
        self.config = config
        n, channels = config.filters, config.channels
        self.encoder = ExactLinear(config.filter_length, n, bias=False)
        self.norm: ExactLayerNorm | WindowNorm = ExactLayerNorm(n, eps=1e-8)
        if config.norm_window:
            self.norm = WindowNorm(n, *config.norm_frames, eps=1e-8)
        layers = [(d, config.causal) for d in config.dilations] + [(d, True) for d in config.look_back]
        self.stack = Stack(
            [_layer(n, channels, 1, 1, False, False, config.slope)]
            + [_layer(channels, channels, config.kernel, d, causal, config.skips, config.slope) for d, causal in layers]
        )
        self.stack.layers[-1].activation = RELU  # masks are from what it rectifies: it is read out, and never fires
        self.mask = EightBitLinear(channels, config.n_src * n)
        self.decoder = ExactLinear(n, config.filter_length, bias=False)
        self.stack.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.reset_filters()

    def reset_filters(self) -> None:
        """Start encoder and decoder as a windowed sine-cosine transform and its inverse.

        With a mask of 1/2 everywhere the new network returns half the mixture, so that training starts with separating,
        not with learning to resynthesise. Filters come in pairs of opposite sign, since the encoder is rectified. Where
        N is not a multiple of 4 or is under 2 L, the transform is not invertible and the filters stay random.
        """
        n, length = self.config.filters, self.config.filter_length
        if n % 4 or n < 2 * length:
            return
        quarter = n // 4
        time = torch.arange(length) + 0.5
        window = torch.sin(math.pi * time / length)  # its square overlap-adds to one at a stride of L/2
        phase = math.pi * (torch.arange(quarter) + 0.5)[:, None] / quarter * time
        filters = torch.cat([window * phase.cos(), window * phase.sin()]) * math.sqrt(2 / length)
        signed = torch.cat([filters, -filters])
        with torch.no_grad():
            self.encoder.weight.copy_(signed)
            self.decoder.weight.copy_(signed.T * (length / (2 * quarter)))

    def forward(self, mixture: Tensor) -> Tensor:
        """Estimate the sources. Shape: (B, T) -> (B, C, T), any T of at least 1 sample."""
        features = self.encode(mixture)  # (B, K, N)
        frames = self.decode(self.stack(self.stack_input(features)), features)  # (B, C, K, L)
        return torch.cat(overlap_add(frames), -1)[..., : mixture.shape[-1]].float()

    @property
    def exact(self) -> bool:
        """True where all that is not spikes is computed to the bit: in a spiking network, where no gradient is asked for."""
        return self.stack.dynamics is not None and not self.training

    def encode(self, mixture: Tensor) -> Tensor:
        """Features of each frame of a mixture, the last frame padded. Shape: (B, T) -> (B, K, N)."""
        config = self.config
        samples = (config.frames(mixture.shape[-1]) - 1) * config.stride + config.filter_length
        padded = F.pad(mixture, (0, samples - mixture.shape[-1]))
        return self.features(padded.unfold(-1, config.filter_length, config.stride))

    def features(self, frames: Tensor, exact: StepWeight | None = None) -> Tensor:
        """Rectified filter outputs A. Shape: (B, K, L) -> (B, K, N).

        Args:
            frames: of the mixture.
            exact: weights of the encoder where all is computed to the bit, those that it has now if None.
        """
        if exact is None and self.exact:
            exact = self.encoder.in_steps()
        features: Tensor = self.encoder(frames, exact)
        return features.relu_()

    def stack_input(self, features: Tensor, exact: bool | None = None) -> Tensor:
        """Features normalised, with gain and bias. Shape: (B, K, N) -> (B, N, 1, K).

        Args:
            features: of the mixture.
            exact: whether all is computed to the bit, as the network has it now if None.
        """
        normalised: Tensor = self.norm(features, exact=self.exact if exact is None else exact)
        return frames_last(normalised)

    def masks(self, activation: Tensor) -> Tensor:
        """Masks between 0 and 1. Shape: (B, channels, 1, K) -> (B, C, K, N)."""
        masks: Tensor = self.mask(_frames_first(activation)).sigmoid()
        return masks.view(*masks.shape[:2], self.config.n_src, self.config.filters).transpose(1, 2)

    def decode(self, activation: Tensor, features: Tensor, exact: MaskingWeights | None = None) -> Tensor:
        """Frames of the estimates. Shapes: activation (B, channels, 1, K), features (B, K, N) -> (B, C, K, L).

        Args:
            activation: of the stack.
            features: of the mixture.
            exact: weights of mask and decoder where all is computed to the bit, those that they have now if None.
        """
        if exact is None and not self.exact:
            frames: Tensor = self.decoder(self.masks(activation) * features[:, None])
            return frames
        rows = masked(self.mask, self.decoder, _frames_first(activation).flatten(0, 1), features.flatten(0, 1), exact)
        return rows.view(*features.shape[:2], *rows.shape[1:]).transpose(1, 2)


def frames_last(normalised: Tensor) -> Tensor:
    """Shape: (B, K, N) -> (B, N, 1, K)."""
    return normalised.transpose(1, 2).unsqueeze(2)


def _frames_first(activation: Tensor) -> Tensor:
    """Shape: (B, channels, 1, K) -> (B, K, channels)."""
    return activation.squeeze(2).transpose(1, 2)


def overlap_add(frames: Tensor, tail: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Waves from frames of which each shares one half with the next.

    Args:
        frames: (..., K, L).
        tail: second half of the frame before them, (..., L / 2); zeros if None.

    Returns:
        The wave up to where frames to come have their share, (..., K L / 2), and the tail of the last frame, (..., L / 2).
    """
    first, second = frames.chunk(2, -1)
    before = torch.zeros_like(second[..., 0, :]) if tail is None else tail
    shifted = torch.cat([before[..., None, :], second[..., :-1, :]], -2)
    return (first + shifted).flatten(-2), second[..., -1, :]


def _layer(c_in: int, c_out: int, kernel: int, dilation: int, causal: bool, skip: bool, slope: float) -> AnalogLayer:
    make = CausalConv2d if causal else nn.Conv2d
    padding = (0, dilation * (kernel // 2))
    convolution = make(c_in, c_out, (1, kernel), padding=padding, dilation=(1, dilation), bias=False)
    activation = nn.LeakyReLU(slope) if slope else RELU
    return AnalogLayer(convolution, nn.BatchNorm2d(c_out), activation=activation, shortcut=nn.Identity() if skip else None)
