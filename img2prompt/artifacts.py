"""What ships in `assets/`: its manifest, checksums, and `load()`.

`manifest.json` names every file with its SHA-256, its size, what made it and its measured
figures. Nothing is used before its checksum holds, and nothing is downloaded.
"""

import os
import sys
from pathlib import Path

from img2prompt.decoding import DECODER_SUFFIX, Decoder
from img2prompt.embedding import EMBEDDING_FILE, WordVectors
from img2prompt.errors import UserError
from img2prompt.files import read_json, sha256_of
from img2prompt.prediction import Predictor, load_model

# In a checkout assets/ lies beside the package; an installed package carries no models.
ASSETS = Path(__file__).resolve().parent.parent / "assets"
MANIFEST = "manifest.json"
DEFAULT_PRESET = "gaze"


class Assets:
    """A folder of artifacts with a manifest.

    Raises:
        UserError: no manifest, or one that cannot be read.
    """

    def __init__(self, folder: str | os.PathLike | None = None) -> None:
        self.folder = Path(folder) if folder is not None else ASSETS
        if not (self.folder / MANIFEST).is_file():
            raise UserError(
                f"{self.folder} holds no {MANIFEST}; give a folder of artifacts, "
                "or use the assets/ of a checkout."
            )
        self.manifest = read_json(self.folder / MANIFEST)
        if not isinstance(self.manifest, dict) or not isinstance(self.manifest.get("files"), dict):
            raise UserError(f"{self.folder / MANIFEST} lists no files; build it again.")
        for name, entry in self.files.items():
            if not isinstance(entry, dict) or not {"sha256", "size"} <= entry.keys():
                raise UserError(
                    f"{self.folder / MANIFEST} lacks the SHA-256 or size of {name}; build it again."
                )
        self._checked: set[str] = set()

    @property
    def presets(self) -> list[str]:
        """The models here, the default first."""
        names = [name.removesuffix(".keras") for name in self.files if name.endswith(".keras")]
        return sorted(names, key=lambda name: (name != self.default, name))

    @property
    def default(self) -> str:
        """The preset that answers when none is named."""
        return self.manifest.get("default", DEFAULT_PRESET)

    @property
    def files(self) -> dict[str, dict]:
        """Manifest entries by file name."""
        return self.manifest["files"]

    def path(self, name: str) -> Path:
        """The path of a listed file, its size and SHA-256 verified once.

        Raises:
            UserError: not listed, missing, or changed.
        """
        if name not in self.files:
            raise UserError(f"{self.folder / MANIFEST} does not list {name}.")
        path = self.folder / name
        if name not in self._checked:
            if not path.is_file():
                raise UserError(f"{path} is missing; check the repository out again.")
            entry = self.files[name]
            if path.stat().st_size != entry["size"] or sha256_of(path) != entry["sha256"]:
                raise UserError(
                    f"{path} is not the file that {MANIFEST} names (SHA-256 differs); "
                    "check the repository out again."
                )
            self._checked.add(name)
        return path

    def embedding(self) -> WordVectors:
        """The embedding all models here belong to."""
        return WordVectors.load(self.path(EMBEDDING_FILE))

    def predictor(self, preset: str | None = None, vectors: WordVectors | None = None) -> Predictor:
        """A predictor by preset name.

        Raises:
            UserError: unknown preset, or a file that is missing or changed.
        """
        preset = preset or self.default
        if preset not in self.presets:
            raise UserError(f"Unknown preset {preset!r}; choose one of {', '.join(self.presets)}.")
        vectors = vectors if vectors is not None else self.embedding()
        decoder = preset + DECODER_SUFFIX
        return Predictor(
            load_model(self.path(f"{preset}.keras")),
            vectors,
            preset,
            Decoder.load(self.path(decoder), vectors) if decoder in self.files else None,
        )


def load(preset: str | os.PathLike | None = None) -> Predictor:
    """A ready `Predictor`: model, embedding and preprocessing in one, so that they cannot drift.

    Args:
        preset: the name of a shipped preset (unset: the default), or a folder: one with a
            manifest like `assets/`, or what `scripts/train_model.py` wrote.

    Raises:
        UserError: unknown name, or files that are missing, changed or don't belong together.
    """
    if preset is None:
        return Assets().predictor()
    folder = Path(preset)
    # A shipped name means the shipped preset, whatever folders the current directory has.
    named = isinstance(preset, str) and folder.name == preset
    if named and (ASSETS / MANIFEST).is_file() and preset in (shipped := Assets()).presets:
        return shipped.predictor(preset)
    if folder.is_dir():
        if (folder / MANIFEST).is_file():
            return Assets(folder).predictor()
        vectors = WordVectors.load(folder / EMBEDDING_FILE)
        decoder = folder / ("model" + DECODER_SUFFIX)
        return Predictor(
            load_model(folder / "model.keras"),
            vectors,
            folder.name,
            Decoder.load(decoder, vectors) if decoder.is_file() else None,
        )
    if named:
        return Assets().predictor(preset)
    raise UserError(f"There is no folder {folder}; give a preset's name or a folder with a model.")


def quiet_tensorflow() -> None:
    """Silence TensorFlow's start-up log lines; call before the first import of TensorFlow.

    TensorFlow 2.21 writes two of them before it reads any setting; those stay.
    """
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
