"""The studies run, write what they say, and their smallest cells hold what theory says of them."""

import json
import math

import numpy as np
import pytest
import torch

from theory_checks.studies import (
    cuts,
    estimator_cases,
    estimator_measure,
    estimator_plot,
    estimator_report,
    estimators,
    record,
    relaxation,
    relaxation_cases,
    relaxation_measure,
    relaxation_plot,
    relaxation_report,
)
from theory_checks.wrong_signs import closed_form_share, simulated_share

SHARE = {"n": 12, "share": 0.16, "standard_error": 0.01, "closed_form": 0.161}


def test_estimator_study_writes_json_markdown_and_a_plot(monkeypatch, tmp_path, capsys) -> None:
    few = {
        name: estimator_cases.LOSSES[name]
        for name in ("quadratic, A_ii = 0", "quadratic, A_ii = 1", "two ReLU units")
    }
    for module in (estimators, estimator_report, estimator_plot):
        monkeypatch.setattr(module, "LOSSES", few)
        monkeypatch.setattr(module, "CORRELATIONS", (0.0, 0.75, 1.0))
    monkeypatch.setattr(
        estimators,
        "_deterministic",
        lambda seed: [SHARE],
    )
    arguments = ["--output", str(tmp_path), "--repeats", "1", "--draws", "2000", "--seed", "3"]
    assert estimators.main(arguments) == 0
    written = {path.suffix: path for path in tmp_path.iterdir()}
    assert set(written) == {".json", ".md", ".png"}
    assert capsys.readouterr().out.strip() == str(written[".md"])
    study = json.loads(written[".json"].read_text())
    assert study["seed"] == 3
    assert written[".png"].read_bytes()[:4] == b"\x89PNG"
    cells = {(c["loss"], c["correlation"], c["estimator"]): c for c in study["cells"]}
    plain, curved, _ = few
    # Independent weights, no diagonal: only the deterministic estimator may have a wrong sign (S2, S10).
    for name in estimator_measure.ESTIMATORS:
        cell = cells[plain, 0.0, name]
        assert cell["wrong_signs"] == 0.0 or name.startswith("deterministic")
    # With correlation or curvature those that condition, or take differences, stay right (S4, S6).
    for loss in (plain, curved):
        for correlation in (0.0, 0.75):
            assert cells[loss, correlation, "conditional"]["wrong_signs"] == 0.0
            assert cells[loss, correlation, "local"]["wrong_signs"] == 0.0
            assert cells[loss, correlation, "conditional"]["cosine"] > 0.95
    assert cells[plain, 1.0, "conditional"]["cosine"] > 0.95
    assert cells[plain, 0.75, "straight-through"]["cosine"] < 0.98
    assert cells[curved, 0.0, "rao-blackwell"]["cosine"] < 0.98
    assert (plain, 1.0, "score") not in cells
    assert cells[plain, 0.0, "local"]["evaluations"] == pytest.approx(17)
    assert cells[plain, 0.0, "deterministic"]["evaluations"] == 1
    text = written[".md"].read_text()
    assert "torch" in text
    assert "nan" not in text


def test_an_interrupted_estimator_study_keeps_what_is_finished(monkeypatch) -> None:
    finished = []

    def interrupted(loss, correlation, *rest):
        if finished:
            raise KeyboardInterrupt
        finished.append(correlation)
        return {(loss, correlation, "score"): [estimator_measure.Quality(1, 1, 0, 0, 1, 1, 1e-6)]}

    monkeypatch.setattr(estimators, "_cells", interrupted)
    monkeypatch.setattr(
        estimators,
        "_deterministic",
        lambda seed: [SHARE],
    )
    study = estimators.run(repeats=1, draws=400)
    assert [cell["estimator"] for cell in study["cells"]] == ["score"]
    assert estimator_report.report(study)[0].startswith("# ")


def test_closed_form_of_wrong_signs_is_met_by_simulation() -> None:
    rng = np.random.default_rng(0)
    for n in (2, 3, 12):
        share, error = simulated_share(rng, n, problems=400)
        expected = closed_form_share(rng.uniform(-1, 1, size=(20_000, n)))
        assert abs(share - expected) <= 5 * error + 1e-3
    assert closed_form_share(rng.uniform(-1, 1, size=(50, 5000))) == pytest.approx(1 / 6, abs=1e-3)


def test_relaxation_study_writes_json_markdown_and_a_plot(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(relaxation_cases, "SIZE", 8)
    for name, value in (("HIDDEN", 2), ("INPUTS", 2), ("NETWORK_SIZE", 6)):
        monkeypatch.setattr(relaxation_cases, name, value)
    for module in (relaxation_measure, relaxation_report, relaxation_plot):
        monkeypatch.setattr(module, "RANKS", (0, 1))
        monkeypatch.setattr(module, "MIXTURES", (0, 4))
        monkeypatch.setattr(module, "WIDTHS", (2, 5))
    monkeypatch.setattr(relaxation_measure, "STARTS", 2)
    monkeypatch.setattr(relaxation_measure, "SAMPLES", 400)
    full = relaxation_measure.vispa.minimize

    def shorter(*arguments, **options):
        return full(*arguments, **{**options, "max_iterations": 20})

    monkeypatch.setattr(relaxation_measure.vispa, "minimize", shorter, raising=False)
    assert relaxation.main(["--output", str(tmp_path), "--repeats", "1"]) == 0
    written = {path.suffix: path for path in tmp_path.iterdir()}
    assert set(written) == {".json", ".md", ".png"}
    study = json.loads(written[".json"].read_text())
    for family in study["quadratics"].values():
        for found in family:
            assert found["bound"] <= found["sdp"] + 1e-6
            assert found["sdp"] <= 1e-6  # the relaxation is below the optimum, height 0
            assert found["rank"] <= found["barvinok_pataki"]
            wide = found["widths"]["5"]  # k(k+1)/2 > N: no spurious ends
            assert wide["reached"] == 1.0
            assert wide["bound"] <= wide["value"] <= found["widths"]["2"]["value"] + 1e-6
            for at in (found["rounded"], wide["rounded"]):
                assert -1e-9 <= at["searched"] <= at["expected"]
            assert found["factorised"]["best"] >= -1e-9
    (network,) = study["networks"]
    assert 0 < network["explained"] <= 1
    for at in network["ranks"].values():
        assert all(-1e-9 <= entry["best"] <= entry["centre"] + 1e-9 for entry in at.values())
    for found in study["entropies"].values():
        for at in found["ranks"].values():
            assert at["true"] is None or at["true"] >= -1e-9
            assert at["bounds"]["0"]["gap"] >= (at["true"] or 0.0) - 1e-9  # V1
    assert "nan" not in written[".md"].read_text()


def test_quadratic_part_of_a_quadratic_is_itself() -> None:
    points = estimator_measure.all_signs(5).astype(float)
    rng = np.random.default_rng(1)
    A, b = rng.normal(size=(5, 5)), rng.normal(size=5)
    values = ((points @ A) * points).sum(axis=1) + points @ b
    part, explained = relaxation_cases.quadratic_part(values, points)
    np.testing.assert_allclose(part.evaluate(points), values, atol=1e-12)
    assert explained == pytest.approx(1.0)
    parity, share = relaxation_cases.quadratic_part(points.prod(axis=1), points)
    assert share == pytest.approx(0.0, abs=1e-12)
    assert np.abs(parity.evaluate(points)).max() < 1e-12


def test_multilinear_loss_is_affine_in_each_weight_and_any_table_on_the_cube() -> None:
    loss = estimator_cases.multilinear(np.random.default_rng(4))
    points = torch.from_numpy(estimator_measure.all_signs(estimator_cases.SIZE).astype(float))
    values = loss(points)
    assert float(values.std()) == pytest.approx(1.0, abs=0.2)
    centre = torch.zeros((1, estimator_cases.SIZE), dtype=torch.float64)
    assert float(loss(centre)[0]) == pytest.approx(float(values.mean()), abs=1e-12)
    for i in (0, 3):
        ends = torch.zeros((2, estimator_cases.SIZE), dtype=torch.float64)
        ends[:, i] = torch.tensor([1.0, -1.0])
        assert float(loss(ends).mean()) == pytest.approx(float(loss(centre)[0]), abs=1e-12)


def test_a_record_refuses_numbers_that_json_has_not(tmp_path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        record.write(tmp_path, "study", {"date": "2000-01-01", "value": math.nan}, ["# x"])


@pytest.mark.parametrize("study", [estimators, relaxation])
def test_a_study_wants_to_know_where_its_files_go(study, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        study.main([])
    assert stopped.value.code == 2
    assert "--output" in capsys.readouterr().err


def test_the_study_of_cuts_writes_its_files_and_no_bound_exceeds_the_optimum(
    monkeypatch, tmp_path, capsys
) -> None:
    monkeypatch.setattr(cuts, "SIZE", 14)
    monkeypatch.setattr(cuts, "SIDE", 4)
    rng = np.random.default_rng(0)
    inputs = np.maximum(rng.normal(size=(60, 10)), 0.0)
    np.savez(tmp_path / "layer.npz", weights=rng.normal(size=(3, 10)), gram=inputs.T @ inputs)
    folder = tmp_path / "out"
    options = ["--output", str(folder), "--repeats", "2", "--layer", str(tmp_path / "layer.npz")]
    assert cuts.main(options) == 0
    written = {path.suffix: path for path in folder.iterdir()}
    assert set(written) == {".json", ".md", ".png"}
    study = json.loads(written[".json"].read_text())
    assert set(study["families"]) == {*cuts.FAMILIES, cuts.LAYER}
    for found in study["families"].values():
        for each in found:
            assert each["proved"]
            assert max(each["bounds"]) <= each["value"] + 1e-9 * abs(each["value"])
            assert min(each["bounds"]) >= each["shor"] - 1e-6 * abs(each["value"])
    assert "100.0" in written[".md"].read_text()
    assert written[".png"].read_bytes()[:4] == b"\x89PNG"


def test_the_rows_of_a_layer_are_their_errors(tmp_path) -> None:
    rng = np.random.default_rng(1)
    inputs = np.maximum(rng.normal(size=(30, 6)), 0.0)
    inputs[:, 2] = 0.0
    weights = rng.normal(size=(2, 6))
    np.savez(tmp_path / "layer.npz", weights=weights, gram=inputs.T @ inputs)
    row = cuts.layer_rows(tmp_path / "layer.npz", 1)[0]
    live = np.flatnonzero(inputs.any(axis=0))
    signs = rng.choice([-1.0, 1.0], live.size)
    scale = math.sqrt(row.A[0, 0] / (inputs[:, live[0]] @ inputs[:, live[0]]))
    error = inputs[:, live] @ (weights[0, live] - scale * signs)
    assert float(row.evaluate(signs)) == pytest.approx(float(error @ error))
