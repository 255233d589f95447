//! Grafana's dashboards as code, and the page that lists every metric. `dashboards` writes them; a test says when they
//! were forgotten. What they show is proved by `tests/prometheus.rs`, which asks a real Prometheus for every panel.

mod board;
mod business;
mod machine_room;
mod metrics_page;
mod orders;
mod panel;
mod payments;

use std::path::{Path, PathBuf};

pub use crate::metrics_page::metrics_page;

/// Every file that is written from code: where it lies, from the repository's root, and what is in it.
pub fn files() -> Vec<(PathBuf, String)> {
    let boards = [orders::board(), payments::board(), machine_room::board(), business::board()];
    let mut files: Vec<_> = boards
        .iter()
        .map(|board| (Path::new("grafana/dashboards").join(format!("{}.json", board.file)), board.json()))
        .collect();
    files.push((PathBuf::from("docs/metrics.md"), metrics_page()));
    files
}

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
