"""What preparing parts from the hub costs: downloads, hours and disk space."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from img2prompt.core.errors import UserError
from img2prompt.core.files import existing_folder, format_bytes

PICTURES = 1_000  # of one part, at most


@dataclass(frozen=True)
class DownloadPlan:
    """What preparing parts from the hub costs; all sizes in bytes.

    Attributes:
        prepared: how many of the `parts` have their shards already.
        download, cached: of what remains, what has to come and what is here.
        shards, raw: disk space of the shards to come, and of the zips at most at once.
        disks: a folder on each disk that is written to, what it needs and what is free there.
    """

    repository: str
    revision: str
    parts: int
    prepared: int
    download: int
    cached: int
    shards: int
    raw: int
    keep: bool
    bandwidth: float
    disks: tuple[tuple[Path, int, int], ...]

    @property
    def hours(self) -> float:
        """Of the download at the given bandwidth."""
        return self.download * 8 / (self.bandwidth * 1e6) / 3600

    def lines(self) -> list[str]:
        """The plan for a person to read."""
        zips = "all zips are kept" if self.keep else "each zip goes when its shard is whole"
        return [
            f"from        {self.repository} at {self.revision}",
            f"parts       {self.parts:,}, of which {self.prepared:,} are prepared",
            f"to download {format_bytes(self.download)}; "
            f"{format_bytes(self.cached)} are here already",
            f"time        {self.hours:.1f} hours of download at {self.bandwidth:g} Mbit/s",
            f"shards      {format_bytes(self.shards)}",
            f"zips        {format_bytes(self.raw)} at most at once; {zips}",
            *(
                f"disk        {format_bytes(needed)} needed, {format_bytes(free)} free at {folder}"
                for folder, needed, free in self.disks
            ),
        ]

    def check(self) -> None:
        """Raise UserError unless there is room."""
        for folder, needed, free in self.disks:
            if needed > free:
                raise UserError(
                    "data.too_little_disk",
                    folder=folder,
                    free=format_bytes(free),
                    needed=format_bytes(needed),
                )


def shard_bytes(size: int) -> int:
    """Bytes of the pixels of one full part at a side of `size` pixels."""
    return PICTURES * size * size * 3


def by_disk(needs: list[tuple[Path, int]]) -> tuple[tuple[Path, int, int], ...]:
    """Folders with the bytes they need → a folder on each disk, what it needs and what is free."""
    disks: dict[int, tuple[Path, int, int]] = {}
    for folder, needed in needs:
        place = existing_folder(folder)
        disk, free = place.stat().st_dev, shutil.disk_usage(place).free
        first, before, free = disks.get(disk, (folder, 0, free))
        disks[disk] = (first, before + needed, free)
    return tuple(disks.values())
