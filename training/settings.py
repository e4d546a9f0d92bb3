"""Every number of the training, and where its files lie; change one here and say so in the model card."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STARTER = ROOT / "generation" / "starter"  # what ships
HOME = Path(os.environ.get("TRAINING_DIR", ROOT / "var" / "training"))  # data, caches and checkpoints
DATA = HOME / "data"

SEED = 0
THREADS = int(os.environ.get("TRAINING_THREADS", os.cpu_count() or 1))

# Pictures
STYLES = ("3d", "flat")  # what the denoiser learns; noto, noto-v1 and twemoji are held out for evaluation
ICON_PIXELS = 256
STYLE_WEIGHTS = {"3d": 8.0, "flat": 1.0}  # how often each is seen
GROUPS = (0, 1, 3, 4, 5, 6, 7)  # of emojibase: without components, symbols and flags

# Autoencoder
AUTOENCODER_MINUTES = 11
AUTOENCODER_BATCH = 16
AUTOENCODER_CROP_PIXELS = 128
AUTOENCODER_LEARNING_RATE = 1e-3
LATENT_NOISE = 0.05  # the decoder learns to forgive small errors of the denoiser

# Text encoder, distilled from a sentence encoder and then left as it is
VOCABULARY = 8000
TEXT_WIDTH = 192
TEXT_LAYERS = 3
TEXT_HEADS = 4
TEXT_STEPS = 500
TEXT_BATCH = 64
TEXT_LEARNING_RATE = 2e-3
WORDS = 9000  # common English words, beside the captions' own, that get a meaning

# Judge of the evaluation
CLASSIFIER_STEPS = 700

# Denoiser
EVERYDAY_ONLY = True  # the subjects of everyday.txt
OTHERS_WEIGHT = 0.02  # how often one that is not in first.txt, the first curriculum, is seen beside one that is
VARIANTS = 6  # scale, flip, place and background of each icon, drawn once and cached as latents
FLIPPED = 0.0  # share of icons drawn in mirror image; each side is one more thing to learn
LARGE_VARIANTS = 2  # the same at 512 x 512
BLOCK_OUT_CHANNELS = (64, 128, 192, 256, 256)
BETA_START, BETA_END = 0.00085, 0.02  # scaled linear; at the last timestep the mean colour has drowned too
STEPS = 16_000
BATCH = 32
LARGE_EVERY = 4  # one batch in so many is of BATCH / 4 pictures of 512 x 512, which costs the same
LEARNING_RATE = 1e-3
WARMUP_STEPS = 100
COOLDOWN_STEPS = 3_500  # the last ones, linearly to nothing
MIN_SNR_GAMMA = 5.0
NOISY_POWERS = (0.1, 0.85)  # of evenly drawn timesteps, as shares of all: first and last; see `denoiser.noisy_power`
NOISE_ONLY_STEPS = 2_000
NOISE_RAMP_STEPS = 2_500
EMA_DECAY = 0.998
EMPTY_CAPTIONS = 0.1
CUTOFF_STEP_RATIO = 0.5  # guidance ends after this share of the steps: in the later ones it only overdoes the picture
CHECKPOINT_SECONDS = 240
SHEET_SECONDS = 1200
