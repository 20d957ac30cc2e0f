"""The ablations train what is missing, measure everything, and go on where they were stopped."""

from pathlib import Path

import ablate
import pytest
from commands import run_here
from toy_chain import EMBEDDING, write_two_sources

from img2prompt.core.errors import UserError
from img2prompt.training import trainer


@pytest.mark.usefixtures("small_backbone")
def test_ablations_train_measure_and_go_on(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = write_two_sources(world, tmp_path / "main", ("features",))
    auxiliary = tmp_path / "auxiliary"
    run_here("scripts/prepare_data.py", "--data", world / "data", "--out", auxiliary, "--size",
             "32", "--train-only")  # fmt: skip
    rows = (ablate.LADDER[0], ablate.LADDER[-1])

    def measure() -> dict:
        plan = ablate.Plan(
            ready, auxiliary, world / EMBEDDING, tmp_path / "runs", epochs=1,
            images_per_epoch=64, held_out=("elsewhere",), rows=rows, seeds=(1, 2),
        )  # fmt: skip
        return ablate.run_ablations(plan)

    report = measure()
    names = [row["name"] for row in report["rows"]]
    assert names[:3] == ["constant", "ordered", "whole"]
    assert {"no-prior", "csls", "centred", "mirrored", "knn", "ensemble"} <= set(names)
    found = {row["name"]: row for row in report["rows"]}
    assert found["whole"]["runs"] == 2 and "deviation" in found["whole"]["home"]
    assert found["constant"]["home"]["gain"] == pytest.approx(0)
    assert report["settings"]["pictures"]["abroad"] == 45
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "ordered-1", "whole-1", "whole-2"]  # fmt: skip
    page = ablate.markdown(report)
    assert all(row["title"] in page for row in report["rows"])

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("a finished row was trained again")

    monkeypatch.setattr(trainer, "train", never)
    assert measure() == report
    config = tmp_path / "runs" / "whole-1" / "config.json"
    config.write_text(config.read_text().replace('"prior": 0.01', '"prior": 0.02'))
    with pytest.raises(UserError, match="trained otherwise"):
        measure()
