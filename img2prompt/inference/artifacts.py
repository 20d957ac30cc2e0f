"""The files in `assets/`, their manifest and checksums, and `load()`.

`manifest.json` names every file with its SHA-256, its size, the command that made it and its
measured figures. No file is used before its checksum is verified, and nothing is downloaded unless
a repository on the hub is named.
"""

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

from img2prompt.core.errors import UserError
from img2prompt.core.files import is_plain, is_web_page, misfit, read_json, sha256_of
from img2prompt.core.forms import DEFAULT_PRESET, Manifest
from img2prompt.core.hub import HubRepository, is_repo_id
from img2prompt.core.transfers import login_page
from img2prompt.embedding.lexicon import LEXICON_FILE, Lexicon
from img2prompt.embedding.taxonomy import TAXONOMY_FILE, Taxonomy
from img2prompt.embedding.vectors import EMBEDDING_FILE, WordVectors
from img2prompt.inference.decoder import DECODER_SUFFIX, Decoder
from img2prompt.inference.gallery import GALLERY_FILE, Gallery
from img2prompt.inference.hedging import Hedger
from img2prompt.inference.predictor import Predictor, load_model

PathLike = str | os.PathLike[str]

# In a checkout assets/ lies beside the package; an installed package carries no models.
ASSETS = Path(__file__).resolve().parents[2] / "assets"
MANIFEST = "manifest.json"


class Assets:
    """A folder of artifacts with a manifest, or a repository on the hub with the same files.

    Args:
        folder: where the manifest lies; unset, `assets/` of the checkout.
        repository: where the files that `folder` lacks come from, each when it is first asked for.

    Raises:
        UserError: no manifest, one that cannot be read, or one that names more than plain files.
    """

    def __init__(
        self, folder: PathLike | None = None, repository: HubRepository | None = None
    ) -> None:
        self.folder = Path(folder) if folder is not None else ASSETS
        self._repository = repository
        if folder is None and not (self.folder / MANIFEST).is_file():
            raise UserError("inference.installed_without_models")
        if not (self.folder / MANIFEST).is_file():
            raise UserError("inference.no_manifest", folder=self.folder, manifest=MANIFEST)
        self.manifest = read_json(self.folder / MANIFEST)
        self._checked: dict[str, Path] = {}
        self._gallery: Gallery | None = None
        self._check_manifest()

    def _check_manifest(self) -> None:
        mend = "inference.build_again" if self._repository is None else "inference.publish_again"

        def refused(key: str, **values: Any) -> UserError:
            where = self._where(MANIFEST)
            return UserError(f"inference.{key}", where=where, mend=UserError(mend), **values)

        if not isinstance(self.manifest, dict) or not isinstance(self.manifest.get("files"), dict):
            raise refused("manifest_lists_nothing")
        for name, entry in self.files.items():
            if not is_plain(name):
                raise refused("manifest_lists_path", name=repr(name))
            if not _is_entry(entry):
                raise refused("manifest_lacks_checksum", name=name)
        if reason := misfit(self.manifest, Manifest):
            raise refused("unfit_manifest", reason=reason)

    @classmethod
    def from_hub(cls, repo: str, revision: str | None = None) -> "Assets":
        """The artifacts of a repository on the hub, all of the same commit.

        The manifest is fetched now, every other file on first use, through huggingface_hub's cache
        (`HF_HOME`) and with its token.

        Args:
            repo: `user/name`.
            revision: a branch, a tag or a commit; unset, the main branch. Only a commit always
                gives the same files.

        Raises:
            UserError: as `HubRepository` and `Assets`.
        """
        repository = HubRepository(repo, MANIFEST, revision)
        return cls(repository.fetch(MANIFEST).parent, repository)

    @property
    def presets(self) -> list[str]:
        """The names of the models, the default first."""
        names = [name.removesuffix(".keras") for name in self.files if name.endswith(".keras")]
        return sorted(names, key=lambda name: (name != self.default, name))

    @property
    def default(self) -> str:
        """The name of the model that is used when none is named."""
        return str(self.manifest.get("default", DEFAULT_PRESET))

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """Manifest entries by file name."""
        files: dict[str, dict[str, Any]] = self.manifest["files"]
        return files

    def path(self, name: str) -> Path:
        """The path of a listed file, its size and SHA-256 verified once; may download.

        Raises:
            UserError: not listed, missing, changed, or not to be had from the hub.
        """
        if name not in self.files:
            raise UserError("inference.not_listed", where=self._where(MANIFEST), name=name)
        if name not in self._checked:
            self._checked[name] = self._verified(name)
        return self._checked[name]

    def _verified(self, name: str) -> Path:
        entry = self.files[name]
        if self._repository is None:
            path = self.folder / name
            if not path.is_file():
                raise UserError("inference.missing_artifact", path=path)
            if not _is_of(path, entry):
                kind = "web_page" if _starts_as_web_page(path) else "changed_artifact"
                raise UserError(f"inference.{kind}", path=path, manifest=MANIFEST)
            return path
        path = self._repository.fetch(name, most=entry["size"])
        if not _is_of(path, entry):
            # The cache may have been damaged here; what is wrong on the hub stays wrong.
            path = self._repository.fetch(name, again=True, most=entry["size"])
        if not _is_of(path, entry):
            if _starts_as_web_page(path):
                raise login_page(self._where(name))
            where = self._where(name)
            raise UserError("inference.changed_on_hub", where=where, manifest=MANIFEST)
        return path

    def _where(self, name: str) -> str | UserError:
        """A file's place, for a sentence."""
        if self._repository is None:
            return str(self.folder / name)
        return UserError("inference.file_of", name=name, repository=self._repository)

    def embedding(self) -> WordVectors:
        """The embedding that all models belong to."""
        return WordVectors.load(self.path(EMBEDDING_FILE))

    def predictor(self, preset: str | None = None, vectors: WordVectors | None = None) -> Predictor:
        """A predictor by preset name.

        Raises:
            UserError: unknown preset, or a file that is missing or changed.
        """
        preset = preset or self.default
        if preset not in self.presets:
            raise UserError("models.no_preset", name=preset, names=", ".join(self.presets))
        vectors = vectors if vectors is not None else self.embedding()
        decoder = self.decoder(preset, vectors)  # first: it is small, and may be another model's
        model = load_model(self.path(f"{preset}.keras"))
        gallery = self.gallery if GALLERY_FILE in self.files else None
        return Predictor(model, vectors, preset, decoder, gallery, self.hedger(vectors))

    def hedger(self, vectors: WordVectors) -> Hedger | None:
        """What names the nouns above torn classes; None where the manifest lists no taxonomy.

        Raises:
            UserError: not to be had, damaged, or of another embedding.
        """
        if TAXONOMY_FILE not in self.files:
            return None
        return Hedger(Taxonomy.load(self.path(TAXONOMY_FILE), vectors), vectors)

    def gallery(self) -> Gallery:
        """The gallery that the models answer with, read once.

        Raises:
            UserError: not to be had, or damaged.
        """
        if self._gallery is None:
            self._gallery = Gallery.load(self.path(GALLERY_FILE))
        return self._gallery

    def decoder(self, preset: str, vectors: WordVectors) -> Decoder:
        """The decoder of a preset, with the lexicon where the preset sorts words.

        Raises:
            UserError: not to be had, damaged, or of another embedding or model.
        """
        name, decoder = preset + DECODER_SUFFIX, Decoder.plain(vectors)
        if name in self.files:
            model = self.files[f"{preset}.keras"]["sha256"]
            decoder = Decoder.load(self.path(name), vectors, model)
        if (lexicon := self.lexicon(vectors)) is None:
            return decoder
        from img2prompt.models.presets import PRESETS  # brings Keras with it

        sorts = preset not in PRESETS or PRESETS[preset].sorts_words
        return dataclasses.replace(decoder, lexicon=lexicon) if sorts else decoder

    def lexicon(self, vectors: WordVectors) -> Lexicon | None:
        """What prompts say of single words; None where the folder has no such file.

        Raises:
            UserError: not to be had, damaged, or of another embedding.
        """
        if LEXICON_FILE not in self.files:
            return None
        return Lexicon.load(self.path(LEXICON_FILE), vectors)


def open_assets(place: PathLike | None = None, revision: str | None = None) -> Assets:
    """The artifacts of a folder, or of a repository `user/name` if there is no such folder.

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


def load(
    name_or_path: PathLike | None = None,
    *,
    revision: str | None = None,
    preset: PathLike | None = None,
) -> Predictor:
    """A `Predictor` ready for use: a model with its embedding, decoder and preprocessing.

    Args:
        name_or_path: the first of these that fits: the name of a shipped preset; a folder with a
            manifest like `assets/`; a folder that `scripts/train_model.py` wrote; a repository
            `user/name` on the hub that `scripts/publish.py` wrote. Of a manifest's presets the
            default one is loaded (`Assets(…).predictor(name)` loads another). Unset, the default
            shipped preset.
        revision: a branch, a tag or a commit of a repository on the hub; unset, its main branch. A
            commit fixes every byte, and once fetched needs no network.
        preset: the earlier name of `name_or_path`.

    Raises:
        UserError: unknown name; files that are missing, changed or don't belong together; a
            repository, revision or file that cannot be fetched; a revision without a repository.
        TypeError: both `name_or_path` and `preset` are given.
    """
    if preset is not None:
        if name_or_path is not None:
            raise TypeError("load() takes name_or_path or preset, not both")
        name_or_path = preset
    if _is_on_hub(name_or_path):
        return Assets.from_hub(str(name_or_path), revision).predictor()
    _refuse(revision, name_or_path)
    if name_or_path is None:
        return Assets().predictor()
    folder = Path(name_or_path)
    # A shipped name means the shipped preset, whatever folders the current directory has.
    name = name_or_path if isinstance(name_or_path, str) and folder.name == name_or_path else None
    if name and (ASSETS / MANIFEST).is_file() and name in (shipped := Assets()).presets:
        return shipped.predictor(name)
    if folder.is_dir():
        return Assets(folder).predictor() if (folder / MANIFEST).is_file() else _of_run(folder)
    if name:
        return Assets().predictor(name)
    raise UserError("inference.no_folder", folder=folder)


def _of_run(folder: Path) -> Predictor:
    """The predictor of a folder that `scripts/train_model.py` wrote."""
    vectors = WordVectors.load(folder / EMBEDDING_FILE)
    path, fitted = folder / "model.keras", folder / ("model" + DECODER_SUFFIX)
    model, decoder = load_model(path), Decoder.plain(vectors)
    if fitted.is_file():
        decoder = Decoder.load(fitted, vectors, sha256_of(path))
    if (folder / LEXICON_FILE).is_file():  # of a preset that sorts words
        lexicon = Lexicon.load(folder / LEXICON_FILE, vectors)
        decoder = dataclasses.replace(decoder, lexicon=lexicon)
    return Predictor(model, vectors, folder.name, decoder)


def _is_on_hub(place: PathLike | None) -> bool:
    return place is not None and is_repo_id(place) and not Path(place).exists()


def _refuse(revision: str | None, place: PathLike | None) -> None:
    if revision is not None:
        named = UserError("inference.default_preset") if place is None else place
        raise UserError("inference.no_revision", named=named)


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
