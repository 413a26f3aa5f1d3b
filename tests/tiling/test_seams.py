"""The bundled model's maps on a rendered scene: the halo takes away most of the seams between tiles."""

from __future__ import annotations

from pathlib import Path

from helpers import ArraySink, load_benchmark

from schanger_edge.model.bundled import model_path
from schanger_edge.run.predict import predict
from schanger_edge.scene import Pair, open_pair
from schanger_edge.sessions import Session, open_session
from schanger_edge.synthetic import write_pair
from schanger_edge.tiling.plan import TilePlan

SIDE, SEED = 448, 700_004  # four tiles, whose borders cross built-up ground


def test_the_cards_halo_bounds_the_seams(tmp_path: Path) -> None:
    """The mean jump of probability across the borders of cores, as a ratio to that elsewhere."""
    scene = write_pair(tmp_path, width=SIDE, height=SIDE, seed=SEED, nodata_wedge=False)
    with open_pair(scene.before, scene.after) as pair, open_session(model_path(None)) as session:
        without, ratio = (seam_ratio(pair, session, halo) for halo in (0, session.card.halo))
    assert ratio < 2
    assert without > 5  # so seams would show


def seam_ratio(pair: Pair, session: Session, halo: int) -> float:
    sink = ArraySink(SIDE, SIDE)
    predict(pair, session, sink, halo=halo)
    plan = TilePlan(SIDE, SIDE, session.tile_for(SIDE, SIDE), halo)
    across, elsewhere = load_benchmark("stitching").jumps(sink.probability, sink.valid, plan)
    return float(across.mean() / elsewhere.mean())
