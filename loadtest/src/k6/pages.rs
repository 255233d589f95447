//! The report as files: `report.json`, `report.md` with its plots, and `index.html`, which holds all it shows.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::outcome::Report;
use super::{html, markdown, plots};

/// Writes them below `out`.
pub(super) fn write(report: &Report, out: &Path) -> Result<()> {
    fs::create_dir_all(out.join("plots"))?;
    for outcome in &report.outcomes {
        for plot in plots::of(outcome) {
            fs::write(out.join("plots").join(plot.file(outcome.scenario)), plot.svg())?;
        }
    }
    fs::write(out.join("report.json"), serde_json::to_string_pretty(report)?)?;
    fs::write(out.join("report.md"), markdown::page(report))?;
    Ok(fs::write(out.join("index.html"), html::page(report))?)
}
