"""The autoencoder of the built-in model: all convolutions run at 1/16 resolution, so a CPU encodes in milliseconds."""

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import AutoencoderMixin, DecoderOutput, IdentityDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional


class PatchAutoencoder(ModelMixin, AutoencoderMixin, ConfigMixin):
    """A linear code of 16x16 pixel patches, plus what a few residual blocks add to it on both sides.

    Images are (B, 3, H, W) in [-1, 1] with H and W multiples of 16, latents (B, 32, H/16, W/16) with a standard
    deviation of about 1 / `scaling_factor`. The code is deterministic: sampling `latent_dist` twice gives the same.
    """

    _supports_gradient_checkpointing = False

    @register_to_config
    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        latent_channels: int = 32,
        encoder_channels: int = 160,
        decoder_channels: int = 256,
        encoder_layers: int = 1,
        decoder_layers: int = 3,
        # One entry per halving and one more, as pipelines count them: 2 ** (5 - 1) pixels a patch.
        block_out_channels: tuple[int, ...] = (256, 256, 256, 256, 256),
        scaling_factor: float = 0.78998,
        shift_factor: float | None = None,
        force_upcast: bool = False,
    ):
        super().__init__()
        self.patch_size = 2 ** (len(block_out_channels) - 1)
        self.use_slicing = self.use_tiling = False  # accepted and without effect: there is no large activation to split
        pixels_in, pixels_out = in_channels * self.patch_size**2, out_channels * self.patch_size**2

        self.encoder_linear = nn.Conv2d(pixels_in, latent_channels, 1)
        self.encoder_in = nn.Conv2d(pixels_in, encoder_channels, 1)
        self.encoder_blocks = nn.Sequential(*(ResidualBlock(encoder_channels) for _ in range(encoder_layers)))
        self.encoder_out = nn.Conv2d(encoder_channels, latent_channels, 1)

        self.decoder_linear = nn.Conv2d(latent_channels, pixels_out, 1)
        self.decoder_in = nn.Conv2d(latent_channels, decoder_channels, 3, padding=1)
        self.decoder_blocks = nn.Sequential(*(ResidualBlock(decoder_channels) for _ in range(decoder_layers)))
        self.decoder_out = nn.Conv2d(decoder_channels, pixels_out, 1)

    def encode(self, x: Tensor, return_dict: bool = True) -> AutoencoderKLOutput | tuple[IdentityDistribution]:
        """Return the latents (B, 32, H/16, W/16) of images (B, 3, H, W), as a distribution of one value."""
        posterior = IdentityDistribution(self._latents(x))
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    def decode(
        self, z: Tensor, return_dict: bool = True, generator: torch.Generator | None = None
    ) -> DecoderOutput | tuple[Tensor]:
        """Return the images (B, 3, H, W) of latents (B, 32, H/16, W/16); `generator` is there for pipelines."""
        patches = self.decoder_linear(z) + self.decoder_out(self.decoder_blocks(self.decoder_in(z)))
        image = functional.pixel_shuffle(patches, self.patch_size)
        return DecoderOutput(sample=image) if return_dict else (image,)

    def forward(self, sample: Tensor, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """Return images (B, 3, H, W) as the latents remember them."""
        return self.decode(self._latents(sample), return_dict=return_dict)

    def _latents(self, x: Tensor) -> Tensor:
        patches = functional.pixel_unshuffle(x, self.patch_size)
        return self.encoder_linear(patches) + self.encoder_out(self.encoder_blocks(self.encoder_in(patches)))

    @torch.no_grad()
    def start_from_pca(self, mean: Tensor, components: Tensor, variances: Tensor) -> None:
        """Make the linear code the principal components of patches, partly whitened; the blocks add nothing yet.

        Args:
            mean: (P,) of the patches, P = 3 * 16 * 16 in `pixel_unshuffle` order.
            components: (P, latent_channels or more), largest variance first.
            variances: one for each component.
        """
        count = self.config.latent_channels
        components, scale = components[:, :count], variances[:count] ** -0.375
        encode, decode = components * scale, components / scale
        self.encoder_linear.weight.copy_(encode.T[:, :, None, None])
        self.encoder_linear.bias.copy_(-(mean @ encode))
        self.decoder_linear.weight.copy_(decode[:, :, None, None])
        self.decoder_linear.bias.copy_(mean)
        for branch in (self.encoder_out, self.decoder_out):
            nn.init.zeros_(branch.weight)
            nn.init.zeros_(branch.bias)


class ResidualBlock(nn.Module):
    """Adds two 3x3 convolutions to their input (B, C, h, w); the identity until trained."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, h, w)."""
        return x + self.conv2(functional.silu(self.conv1(functional.silu(self.norm(x)))))
