"""What ships in `assets/`: its manifest, checksums, and `load()`.

`manifest.json` names every file with its SHA-256, its size, what made it and its measured
figures. Nothing is used before its checksum holds, and nothing is downloaded unless a person names
a repository on the hub.
"""

import os
import re
from pathlib import Path
from typing import Any

from img2prompt.core.errors import UserError
from img2prompt.core.files import is_plain, is_web_page, misfit, read_json, sha256_of
from img2prompt.core.forms import Manifest
from img2prompt.core.hub import HubRepository, is_repo_id
from img2prompt.core.transfers import login_page
from img2prompt.embedding.vectors import EMBEDDING_FILE, WordVectors
from img2prompt.inference.decoder import DECODER_SUFFIX, Decoder
from img2prompt.inference.predictor import Predictor, load_model

# In a checkout assets/ lies beside the package; an installed package carries no models.
ASSETS = Path(__file__).resolve().parents[2] / "assets"
MANIFEST = "manifest.json"
DEFAULT_PRESET = "gaze"
NO_MODELS = (
    "This installation of img2prompt holds no models, which only a checkout of the repository has; "
    'name its folder, as in load("CHECKOUT/assets"), or a repository on the hub, as in '
    'load("user/name") (on the command line, --preset CHECKOUT/assets).'
)


class Assets:
    """A folder of artifacts with a manifest, or a repository on the hub with the same files.

    Args:
        folder: where the manifest lies; unset, `assets/` of the checkout.
        repository: where the files that `folder` lacks come from, each when it is first asked for.

    Raises:
        UserError: no manifest, one that cannot be read, or one that names more than plain files.
    """

    def __init__(
        self, folder: str | os.PathLike | None = None, repository: HubRepository | None = None
    ) -> None:
        self.folder = Path(folder) if folder is not None else ASSETS
        self._repository = repository
        if folder is None and not (self.folder / MANIFEST).is_file():
            raise UserError(NO_MODELS)
        if not (self.folder / MANIFEST).is_file():
            raise UserError(
                f"{self.folder} holds no {MANIFEST}; give a folder of artifacts, "
                "or use the assets/ of a checkout."
            )
        self.manifest = read_json(self.folder / MANIFEST)
        where = self._where(MANIFEST)
        mend = "build it again" if repository is None else "whoever published it must do so again"
        if not isinstance(self.manifest, dict) or not isinstance(self.manifest.get("files"), dict):
            raise UserError(f"{where} lists no files; {mend}.")
        for name, entry in self.files.items():
            if not is_plain(name):
                raise UserError(f"{where} lists {name!r}, which is no plain file name; {mend}.")
            if not _is_entry(entry):
                raise UserError(f"{where} lacks the SHA-256 or size of {name}; {mend}.")
        if reason := misfit(self.manifest, Manifest):
            raise UserError(f"{where} is not what it should be ({reason}); {mend}.")
        self._checked: dict[str, Path] = {}

    @classmethod
    def from_hub(cls, repo: str, revision: str | None = None) -> "Assets":
        """The artifacts of a repository on the hub, of one commit whatever its branches do.

        The manifest is fetched now, every other file when it is asked for, through
        huggingface_hub's cache (`HF_HOME`) and with its token.

        Args:
            repo: `user/name`.
            revision: a branch, a tag or a commit; unset, the main branch. Only a commit is the
                same tomorrow.

        Raises:
            UserError: as `HubRepository`, or a manifest that is none.
        """
        repository = HubRepository(repo, MANIFEST, revision)
        return cls(repository.fetch(MANIFEST).parent, repository)

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
        """The path of a listed file, its size and SHA-256 verified once; may download.

        Raises:
            UserError: not listed, missing, changed, or not to be had from the hub.
        """
        if name not in self.files:
            raise UserError(f"{self._where(MANIFEST)} does not list {name}.")
        if name not in self._checked:
            self._checked[name] = self._verified(name)
        return self._checked[name]

    def _verified(self, name: str) -> Path:
        entry = self.files[name]
        if self._repository is None:
            path = self.folder / name
            if not path.is_file():
                raise UserError(f"{path} is missing; check the repository out again.")
            if not _is_of(path, entry):
                if _starts_as_web_page(path):
                    raise UserError(
                        f"{path} is a web page and not the file that {MANIFEST} names; a network "
                        "that asks to log in may have sent it: check the repository out again."
                    )
                raise UserError(
                    f"{path} is not the file that {MANIFEST} names (SHA-256 differs); "
                    "check the repository out again."
                )
            return path
        path = self._repository.fetch(name, most=entry["size"])
        if not _is_of(path, entry):
            # The cache may have been damaged here; what is wrong on the hub stays wrong.
            path = self._repository.fetch(name, again=True, most=entry["size"])
        if not _is_of(path, entry):
            if _starts_as_web_page(path):
                raise login_page(self._where(name))
            raise UserError(
                f"{self._where(name)} is not the file that its {MANIFEST} names (SHA-256 differs, "
                "fetched anew too) and is not used; tell whoever published it."
            )
        return path

    def _where(self, name: str) -> str:
        """A file in a sentence."""
        return (
            str(self.folder / name) if self._repository is None else f"{name} of {self._repository}"
        )

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
        decoder = self.decoder(preset, vectors)  # first: it is small, and may be another model's
        return Predictor(load_model(self.path(f"{preset}.keras")), vectors, preset, decoder)

    def decoder(self, preset: str, vectors: WordVectors) -> Decoder | None:
        """The decoder of a preset, if it ships with one.

        Raises:
            UserError: not to be had, damaged, or of another embedding or model.
        """
        name = preset + DECODER_SUFFIX
        if name not in self.files:
            return None
        return Decoder.load(self.path(name), vectors, self.files[f"{preset}.keras"]["sha256"])


def open_assets(place: str | os.PathLike | None = None, revision: str | None = None) -> Assets:
    """The artifacts of a folder or, where a text `user/name` names no folder, of the hub.

    Args:
        place: unset, `assets/` of the checkout.
        revision: of a repository on the hub, as `Assets.from_hub`.

    Raises:
        UserError: as `Assets` and `Assets.from_hub`, or a revision of a folder.
    """
    if _is_on_hub(place):
        return Assets.from_hub(str(place), revision)
    _refuse(revision, place)
    return Assets(place)


def load(preset: str | os.PathLike | None = None, *, revision: str | None = None) -> Predictor:
    """A ready `Predictor`: model, embedding and preprocessing in one, so that they cannot drift.

    Args:
        preset: the name of a shipped preset (unset: the default); or a folder: one with a
            manifest like `assets/`, or what `scripts/train_model.py` wrote; or, where a text
            `user/name` is no folder, a repository on the hub that `scripts/publish.py` wrote, of
            which the default preset is fetched (`Assets.from_hub(…).predictor(name)` takes
            another). The first that fits, in this order.
        revision: a branch, a tag or a commit of that repository; unset, its main branch. A commit
            pins every byte, and once fetched needs no network.

    Raises:
        UserError: unknown name, or files that are missing, changed or don't belong together; a
            repository, revision or file that cannot be had; a revision of something not on the hub.
    """
    if _is_on_hub(preset):
        return Assets.from_hub(str(preset), revision).predictor()
    _refuse(revision, preset)
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
        return _of_run(folder)
    if named:
        return Assets().predictor(preset)
    raise UserError(
        f"There is no folder {folder}; give a preset's name, a folder with a model, or user/name "
        "of the hub."
    )


def _of_run(folder: Path) -> Predictor:
    """A predictor of what `scripts/train_model.py` wrote."""
    vectors = WordVectors.load(folder / EMBEDDING_FILE)
    path, decoder = folder / "model.keras", folder / ("model" + DECODER_SUFFIX)
    model = load_model(path)
    fitted = Decoder.load(decoder, vectors, sha256_of(path)) if decoder.is_file() else None
    return Predictor(model, vectors, folder.name, fitted)


def _is_on_hub(place: str | os.PathLike | None) -> bool:
    return is_repo_id(place) and not Path(place).exists()


def _refuse(revision: str | None, place: str | os.PathLike | None) -> None:
    if revision is not None:
        named = "the default preset" if place is None else place
        raise UserError(
            f"Only a repository on the hub has revisions, and {named} is none; "
            "leave the revision out, or name user/name."
        )


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and type(entry.get("size")) is int  # True is one of isinstance
        and isinstance(entry.get("sha256"), str)
        and re.fullmatch("[0-9a-f]{64}", entry["sha256"]) is not None
    )


def _starts_as_web_page(path: Path) -> bool:
    with path.open("rb") as file:
        return is_web_page(file.read(1_024))


def _is_of(path: Path, entry: dict[str, Any]) -> bool:
    return path.stat().st_size == entry["size"] and sha256_of(path) == entry["sha256"]
